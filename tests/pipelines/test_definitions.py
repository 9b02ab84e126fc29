import subprocess
import sys
from itertools import pairwise

import dagster as dg
import pytest


@pytest.fixture(scope="module")
def defs():
    from pipelines.definitions import defs

    return defs


def test_everything_resolves(defs):
    dg.Definitions.validate_loadable(defs)


def test_loading_the_definitions_imports_nothing_heavy(pytestconfig):
    heavy = "{'mlflow', 'great_expectations', 'lightgbm', 'catboost', 'matplotlib', 'ccxt', 'sklearn', 'pandas'}"
    script = (
        f"import sys, pipelines.definitions; bad = {heavy} & set(sys.modules);"
        "sys.exit(f'imported {bad}' if bad else 0)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=pytestconfig.rootpath)


def test_the_graph_reads_as_the_picture(defs):
    graph = defs.resolve_asset_graph()
    order = [
        "bar_months",
        "bars",
        "features",
        "walk_forward",
        "evaluation",
        "challenger",
        "champion",
        "deployment",
        "submissions",
    ]
    more = {"champion": "contract"}
    for left, right in pairwise(order):
        parents = {left, more.get(right, left)}
        assert graph.get(dg.AssetKey(right)).parent_keys == {dg.AssetKey(name) for name in parents}
    watched = {"live": {"bars", "submissions"}, "drift": {"live"}, "contract": set()}
    for name, parents in watched.items():
        assert graph.get(dg.AssetKey(name)).parent_keys == {dg.AssetKey(parent) for parent in parents}
    assert {key.to_user_string() for key in graph.get_all_asset_keys()} == {*order, *watched}


def test_every_recipe_is_a_partition_and_has_a_retraining_schedule(defs):
    names = ["btc_usd_1d", "btc_usd_5min", "btc_usd_8h"]
    assert sorted(defs.resolve_asset_graph().get(dg.AssetKey("bars")).partitions_def.get_partition_keys()) == names
    schedules = {f"retrain_{name}": defs.resolve_schedule_def(f"retrain_{name}").cron_schedule for name in names}
    assert schedules == {
        "retrain_btc_usd_1d": "30 3 * * 1",
        "retrain_btc_usd_5min": "0 3 * * *",
        "retrain_btc_usd_8h": "15 3 * * *",
    }


def test_the_job_stops_at_the_champion_and_the_deploy_job_deploys(defs):
    graph = defs.resolve_asset_graph()
    selected = {key.to_user_string() for key in defs.resolve_job_def("answer_topic").asset_layer.selected_asset_keys}
    assert selected == {"contract", "bars", "features", "walk_forward", "evaluation", "challenger", "champion"}
    assert {key.to_user_string() for key in defs.resolve_job_def("deploy").asset_layer.selected_asset_keys} == {
        "deployment"
    }
    assert len(graph.asset_check_keys) > 15
