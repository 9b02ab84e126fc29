"""One process for a wallet and its topics: what is added, swapped and taken away, while the others go on."""

import json
import re
import subprocess
import sys
import urllib.request
from dataclasses import replace
from datetime import timedelta

import psutil
import pytest
from worker_world import BLOCK, NOW, SPEED, World, stop

from crucible.clock import ScaledClock
from crucible.localnet.embedded import EmbeddedLocalnet
from crucible.localnet.run import topic_of
from crucible.monitor.submissions import rewards_of
from crucible.practice.embedded import EmbeddedExchange
from crucible.practice.signal import plant
from crucible.practice.simulate import SimulatedMarket
from crucible.settings import Settings
from crucible.worker.deployment import Deployment, read_actual, remove_desired, write_desired
from crucible.worker.journal import read_journal
from crucible.worker.journal_file import wallet_journal

pytestmark = pytest.mark.processes
TOPICS = (77, 78, 79)


@pytest.fixture
def home(tmp_path, recipe, pytestconfig):
    clock = ScaledClock.starting(NOW, SPEED)
    market = SimulatedMarket(("BTCUSDT",), NOW - timedelta(days=3), 1, plant(0.0, timedelta(minutes=5)))
    recipes = [
        recipe.model_copy(update={"name": f"t{topic}", "topic": recipe.topic.model_copy(update={"testnet": topic})})
        for topic in TOPICS
    ]
    specs = [topic_of(item, "testnet", BLOCK) for item in recipes]
    with (
        EmbeddedExchange(market, clock) as exchange,
        EmbeddedLocalnet(specs, block_seconds=25.0, clock=clock, exchange_url=exchange.url, competitors=2) as node,
    ):
        settings = Settings.load(
            {
                "CRUCIBLE_HOME": str(tmp_path), "CRUCIBLE_RECIPES": str(pytestconfig.rootpath / "recipes"),
                "CRUCIBLE_CLOCK": clock.text(), "CRUCIBLE_EXCHANGE_URL": exchange.url,
                # a node that is not there, before the one that is
                "CRUCIBLE_GRPC_URL": f"grpc+http://127.0.0.1:9,{node.grpc_url}",
                "CRUCIBLE_WEBSOCKET_URL": node.websocket_url, "CRUCIBLE_FAUCET_URL": node.faucet_url,
            }
        )  # fmt: skip
        yield [World(settings, item, node, pytestconfig.rootpath) for item in recipes]


def deploy(world, topic, generation, made_of, **changes):
    made = Deployment(
        recipe=world.recipe.name, generation=generation, bundle=made_of.digest, bundle_path=str(made_of.path),
        model_version=generation, topic_id=topic, wallet="shared", written_at="now",
    )  # fmt: skip
    write_desired(world.settings, replace(made, **changes))


def test_a_wallet_serves_its_topics_from_one_process(home):
    first, second, third = home
    settings = first.settings
    deploy(first, 77, 1, first.bundle("zero"))
    deploy(second, 78, 1, second.bundle("zero"))
    deploy(third, 79, 1, third.bundle("zero"), wallet="another")
    worker = first.start("worker", "run", "--wallet", "shared")
    try:
        for world in (first, second):
            world.wait(lambda world=world: world.rows("included", "scored"), "a submission", 60)
        assert third.actual() is None
        assert first.actual().pid == second.actual().pid == worker.pid
        # together: the processes that sign and predict for two topics
        tree = [psutil.Process(worker.pid), *psutil.Process(worker.pid).children(recursive=True)]
        assert len(tree) == 2
        assert sum(process.memory_info().rss for process in tree) < 350 * 2**20

        # a third topic comes, the first one is swapped, and a bundle that does not verify harms nobody
        deploy(third, 79, 1, third.bundle("last_value"))
        deploy(first, 77, 2, first.bundle("last_value"))
        deploy(second, 78, 2, second.bundle("last_value"), bundle="f" * 64)
        third.wait(lambda: third.rows("included", "scored"), "the new topic")
        second.wait(lambda: second.actual().refused_generation == 2, "a refusal")
        first.wait(lambda: [row for row in first.rows("included", "scored") if row.model_version == 2], "the new model")
        assert "was asked for" in second.actual().refusal
        assert (second.actual().generation, second.actual().state) == (1, "ready")

        # the whole wallet in one journal, each recipe through its own link
        rows = read_journal(wallet_journal(settings, "shared"))
        assert {row.topic_id for row in rows} == set(TOPICS)
        assert {row.topic_id for row in first.rows()} == {77}
        sequences = [row.sequence for row in rows if row.state in ("included", "scored")]
        assert len(set(sequences)) == len(sequences)
        assert {row.rung for row in rows if row.value is not None} == {"champion"}

        # what is no longer wanted ends, and the others do not notice
        remove_desired(settings, third.recipe.name)
        third.wait(lambda: third.actual().state == "stopped", "the end of the third")
        done = len(first.rows("included", "scored"))
        first.wait(lambda: len(first.rows("included", "scored")) > done, "life to go on")

        url = json.loads((settings.fleet / "metrics" / "shared.json").read_text())["url"]
        text = urllib.request.urlopen(url, timeout=5).read().decode()
        for name in (
            "crucible_window_to_broadcast_seconds_count", "crucible_broadcast_to_inclusion_seconds_count",
            "crucible_submissions_total", "crucible_balance_uallo", "crucible_runway_days", "crucible_bar_age_seconds",
            "crucible_score_ema", "crucible_fee_uallo",
        ):  # fmt: skip
            assert f"\n{name}" in text, text

        pays = lambda: what_it_earns(first, url, rows[0].address)  # noqa: E731
        first.wait(pays, "score, average and reward as the chain has them", 90)
        [(paid_to, nonce), paid] = sorted(rewards_of(settings, first.recipe).items(), key=lambda item: item[0][1])[-1]
        told = first.node.core.topics[77].nonces[nonce].rewards["inferer"]
        assert (paid_to, paid) == (rows[0].address, pytest.approx(told[paid_to]))

        second_try = first.start("worker", "run", "--wallet", "shared")
        output = second_try.communicate(timeout=20)[0]
        assert "Another process serves wallet shared already" in output
    finally:
        output = stop(worker)
    assert worker.returncode == 0, output

    assert "Traceback" not in output
    assert {read_actual(settings, world.recipe.name).state for world in home} == {"stopped"}
    duplicates = [result for result in first.node.core.results.values() if "already submitted" in result.log]
    assert duplicates == []


def what_it_earns(world, url, address):
    """Whether the figures for Prometheus are, at one moment, those of the newest epoch that the chain has settled."""
    text = urllib.request.urlopen(url, timeout=5).read().decode()
    figures = dict(re.findall(r"^(crucible_(?:score|score_ema|reward_uallo)){.*topic=\"77\".*} (.*)$", text, re.M))
    topic = world.node.core.topics[77]
    settled = [nonce for nonce in topic.nonces.values() if nonce.rewards.get("inferer", {}).get(address)]
    if len(figures) < 3 or not settled:
        return False
    newest = settled[-1]
    assert newest.rewards["inferer"][address] > 0
    return [float(figures[f"crucible_{name}"]) for name in ("score", "score_ema", "reward_uallo")] == pytest.approx(
        [newest.scores[address], topic.emas[address], newest.rewards["inferer"][address]], rel=1e-6
    )


def test_neither_or_both_of_recipe_and_wallet_is_a_usage_error(home):
    for arguments in ([], ["t77", "--wallet", "shared"]):
        process = home[0].start("worker", "run", *arguments)
        assert "name either a recipe or, with --wallet, a wallet" in process.communicate(timeout=20)[0]
        assert process.returncode == 2


def test_the_process_that_signs_imports_no_laboratory():
    program = (
        "import sys; import crucible.worker.wallet_worker; print([name for name in ('numpy', 'pyarrow', 'duckdb', "
        "'lightgbm', 'catboost', 'sklearn', 'pandas', 'ccxt', 'allora_sdk.worker', 'allora_sdk.api_client', 'mlflow', "
        "'dagster') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
    # and whoever wants the SDK itself still gets it
    program = (
        "from crucible.chain.protos import e; from allora_sdk import AlloraWorker; import allora_sdk.rpc_client.protos "
        "as p; from allora_sdk.rpc_client.protos.emissions import v10; assert v10 is e; AlloraWorker.inferer"
    )
    subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
