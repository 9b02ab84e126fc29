"""Shadow, promotion after live epochs, and roll-back: registry, bars, journal and monitor together, all real."""

import asyncio
import shutil
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from conftest_monitor import FIVE, NOW, closes

from crucible import stages
from crucible.errors import RecipeError
from crucible.monitor.admission import waiting, why_not
from crucible.monitor.champions import note_deployment, previous_champion, tenures
from crucible.monitor.collect import collect
from crucible.monitor.contract import CHECKED, _topic
from crucible.monitor.cycle import live_round, shadow_versions
from crucible.monitor.retrain import Waiting
from crucible.monitor.rollback import FIRST_LOOK, review
from crucible.monitor.shadow import catch_up
from crucible.monitor.store import Event, monitor_store
from crucible.recipe import parse_recipe
from crucible.registry.models import CHALLENGER, CHAMPION, alias_version, get_version, set_alias
from crucible.registry.store import client
from crucible.settings import Settings


@pytest.fixture(scope="module")
def empty_registry(tmp_path_factory):
    """MLflow's database, made once: its tables take seconds."""
    settings = Settings(home=tmp_path_factory.mktemp("registry"), recipes=Path("recipes"))
    client(settings)
    return settings.mlruns / "mlflow.db"


@pytest.fixture
def registered(home, empty_registry):
    """Register a bundle as a version that passed its gates."""
    home.mlruns.mkdir()
    shutil.copy(empty_registry, home.mlruns / "mlflow.db")

    def act(bundle, **tags):
        mlflow = client(home)
        name = bundle.manifest.recipe.name
        if not mlflow.search_registered_models(f"name = '{name}'"):
            mlflow.create_registered_model(name)
        every = {"verdict": "passed", "bundle_sha256": bundle.digest, "registered_at": NOW.isoformat(), **tags}
        return int(mlflow.create_model_version(name, str(bundle.path), tags=every).version)

    return act


@pytest.fixture
def patient(recipe_text, recipe):
    """The same recipe, asking for 50 live epochs."""
    return parse_recipe(recipe_text + "live_epochs = 50\n", recipe.name)


def test_a_challenger_must_live_before_it_is_promoted(
    home, patient, stored, make_bundle, registered, deploy, submit
):  # fmt: skip
    champion, challenger = make_bundle(), make_bundle("ridge")
    first, second = registered(champion), registered(challenger)
    set_alias(home, patient.name, CHAMPION, first)
    set_alias(home, patient.name, CHALLENGER, second)
    deploy(champion, version=first)
    price = closes(stored)
    times = [NOW - timedelta(hours=10) + at * FIVE for at in range(60)]
    submit(champion, times, [price[time] for time in times], version=first)
    refused = stages.promote_challenger(home, patient)
    assert (refused.champion, refused.sentence) == (first, "version 2 has 0 of 50 live epochs; it goes on as a shadow")
    assert waiting(home, patient) == Waiting(refused.sentence, NOW + 100 * FIVE)
    assert shadow_versions(home, patient) == [second]
    done = live_round(home, patient)  # without a node: what the chain says stays unknown
    assert done.shadows == {second: 60}
    assert any("node" in sentence for sentence in done.trouble)
    assert why_not(home, patient, second) == ""
    assert waiting(home, patient) == Waiting("version 2 may be promoted now", NOW + 100 * FIVE)
    detail = {"topic": _topic(home, patient), "broken": ["the window was 8 blocks and is 4 now"]}
    monitor_store(home).add_event(Event("c", home.clock.now().isoformat(), CHECKED, patient.name, detail))
    assert (
        "the topic is not what the recipe says: the window was 8" in stages.promote_challenger(home, patient).sentence
    )
    assert waiting(home, patient) is None
    mended = {**detail, "broken": []}
    monitor_store(home).add_event(Event("d", home.clock.now().isoformat(), CHECKED, patient.name, mended))
    assert stages.promote_challenger(home, patient).champion == second
    assert alias_version(home, patient.name, CHAMPION) == second


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (
            lambda values: values * (1 + 0.01 * np.random.default_rng(1).normal(size=60)),
            "does worse live than champion 1",
        ),
        (lambda values: np.append(values[:-1], 1e200), "what its loss is infinite for"),
        (lambda values: values, ""),
    ],
)
def test_a_challenger_that_does_worse_live_is_not_promoted(
    home, patient, stored, make_bundle, registered, deploy, submit, spoil, words
):  # fmt: skip
    champion, challenger = make_bundle(), make_bundle("ridge")
    first, second = registered(champion), registered(challenger)
    set_alias(home, patient.name, CHAMPION, first)
    deploy(champion, version=first)
    price = closes(stored)
    times = [NOW - timedelta(hours=10) + at * FIVE for at in range(60)]
    values = np.array([price[time] for time in times])
    submit(champion, times, values, version=first)
    submit(challenger, times, spoil(values), version=second, first=50_000)
    asyncio.run(collect(home, patient, None))
    assert words in why_not(home, patient, second)
    assert bool(words) == bool(why_not(home, patient, second))


def test_a_worse_champion_gives_way_and_is_not_taken_again(
    home, recipe, stored, make_bundle, registered, deploy, submit
):  # fmt: skip
    good, bad = make_bundle(), make_bundle("ridge")
    first, second = registered(good, promoted_at="2026-01-01"), registered(bad, promoted_at="2026-01-07")
    deploy(good, version=first, at=NOW - timedelta(days=2))
    note_deployment(home, recipe.name)
    deploy(bad, generation=2, version=second, at=NOW - timedelta(hours=12))
    note_deployment(home, recipe.name)
    note_deployment(home, recipe.name)
    set_alias(home, recipe.name, CHAMPION, second)
    assert [item.version for item in tenures(home, recipe.name)] == [first, second]
    price, generator = closes(stored), np.random.default_rng(1)
    times = [NOW - timedelta(hours=11) + at * FIVE for at in range(FIRST_LOOK)]
    submit(bad, times[:-1], [price[at] * (1 + 0.01 * generator.normal()) for at in times[:-1]], version=second)
    catch_up(home, recipe, good, version=first)
    asyncio.run(collect(home, recipe, None))
    assert "95 of 96 epochs" in review(home, recipe).verdict.sentence
    submit(bad, times[-1:], [price[times[-1]]], version=second, first=50_000)
    catch_up(home, recipe, good, version=first)
    asyncio.run(collect(home, recipe, None))
    decided = review(home, recipe)
    assert (decided.verdict.back, decided.from_version, decided.to_version) == (True, second, first)
    done = stages.roll_back(home, recipe, decided)
    assert done.champion == first
    assert alias_version(home, recipe.name, CHAMPION) == first
    tags = get_version(home, recipe.name, first).tags
    assert "rolled back from version 2: worse" in tags["override_reason"]
    assert tags["promoted_by"] == "roll-back"
    # asked twice, for instance by a run that is tried again
    assert "champion no more" in stages.roll_back(home, recipe, decided).sentence
    assert len(monitor_store(home).events("rolled back", recipe.name)) == 1
    deploy(good, generation=3, version=first, at=home.clock.now())
    note_deployment(home, recipe.name)
    assert previous_champion(home, recipe.name) is None
    assert review(home, recipe) is None


def test_a_misspelt_key_is_refused_with_the_nearest(recipe_text):
    with pytest.raises(RecipeError, match=r"unknown key 'deploy.live_epoch'; the nearest valid one is 'live_epochs'"):
        parse_recipe(recipe_text + "live_epoch = 5\n", "r")
    with pytest.raises(RecipeError, match="live_epochs"):
        parse_recipe(recipe_text + "live_epochs = -1\n", "r")


def test_a_recipe_that_says_nothing_of_it_keeps_its_identity(recipe, patient):
    assert "live_epochs" not in recipe.canonical()
    assert parse_recipe(patient.canonical(), "r") == patient
    assert patient.digest != recipe.digest
