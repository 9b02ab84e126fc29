"""Who answers when the champion cannot, and what is never submitted whoever answers."""

import asyncio
import math
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crucible.chain.answers import NetworkInference, TopicInfo
from crucible.deploy_settings import RUNGS
from crucible.errors import ChainError, CrucibleError, RecipeError, Withheld
from crucible.recipe import parse_recipe
from crucible.worker.deployment import Deployment
from crucible.worker.ladder import Ladder
from crucible.worker.metrics import METRICS, SECONDS, Metrics, MetricsServer
from crucible.worker.pace import Pace
from crucible.worker.pool import Loaded, Predicted
from crucible.worker.predictor import _drift, _linear
from crucible.worker.reasons import Reason
from crucible.worker.sanity import require_sane_return, require_sane_value, require_units, units_of

NOW = Deployment("r", 2, "b" * 64, "/b", 2, 77, "w", "now")
BEFORE = replace(NOW, generation=1, bundle="a" * 64, model_version=1)
NETWORK = NetworkInference(12, 100.0, 100.0, {"a": 99.0, "b": 101.0})
TOPIC = TopicInfo(77, "BTC/USD price", "sqe", 12, 12, 8)


@dataclass
class Pool:
    """Says what each rung answers."""

    answers: dict[str, float | CrucibleError]
    asked: list[tuple[str, str, float]] = field(default_factory=list)

    async def predict(self, recipe, digest, rung, seconds):
        self.asked.append((rung, digest[:1], seconds))
        answer = self.answers.get(rung, Withheld(Reason.MODEL_FAILED, f"{rung} fell over"))
        if isinstance(answer, CrucibleError):
            raise answer
        return Predicted(answer, "t", 100.0, 0.01)


@dataclass
class Client:
    found: NetworkInference | None = None

    async def network(self, topic_id):
        if self.found is None:
            raise ChainError("none")
        return self.found


def ask(pool, rungs, seconds=3.0, previous=BEFORE, network=None, window=10.0):
    async def act():
        ladder = Ladder(pool, Client(network), 77, lambda: window)
        await ladder.look()
        return await ladder.ask(seconds, Loaded(NOW, 300.0, "price", "sqe", tuple(rungs), 25.0, ""), previous)

    return asyncio.run(act())


def test_the_first_rung_that_can_answers_and_says_so():
    pool = Pool({"previous": 101.0, "zero": 100.0})
    found = ask(pool, ("champion", "previous", "zero"))
    assert (found.value, found.rung, found.bundle, found.model_version) == (101.0, "previous", BEFORE.bundle, 1)
    assert [rung for rung, *_ in pool.asked] == ["champion", "previous"]
    assert sum(seconds for *_, seconds in pool.asked) < 3.0
    found = ask(Pool({"zero": 100.0}), ("champion", "previous", "linear", "zero"), previous=None)
    assert (found.rung, found.bundle) == ("zero", NOW.bundle)


def test_the_champion_has_the_first_half_of_the_window_for_itself():
    pool = Pool({"zero": 100.0})
    with pytest.raises(Withheld, match="champion fell over"):
        ask(pool, ("champion", "zero"), seconds=9.0)
    assert pool.asked == [("champion", "b", 4.0)]
    assert ask(pool, ("champion", "zero"), seconds=4.9).rung == "zero"
    pool = Pool({})
    with pytest.raises(Withheld):  # alone on its ladder it may take the whole window, but not hang for minutes
        ask(pool, ("champion",), seconds=500.0, window=600.0)
    assert pool.asked == [("champion", "b", 30.0)]


def test_the_network_is_repeated_without_a_model_and_absurd_values_fall_through():
    found = ask(Pool({"champion": 1e5}), ("champion", "network"), network=NETWORK)
    assert (found.value, found.rung, found.bundle) == (100.0, "network", "")
    with pytest.raises(Withheld, match="champion fell over"):
        ask(Pool({}), ("champion", "network"))


def test_abstaining_is_a_reason_of_its_own():
    with pytest.raises(Withheld) as caught:
        ask(Pool({}), ("champion", "abstain"))
    assert caught.value.reason == Reason.ABSTAINED
    assert "champion fell over" in str(caught.value)


def test_the_recipe_names_the_ladder_and_unknown_rungs_are_refused(recipe):
    text = recipe.canonical()
    assert recipe.deploy.fallback == ("champion", "previous")
    assert "fallback" not in text  # recipes that do not speak of it keep their identity
    made = parse_recipe(text.replace('"deploy":{', '"deploy":{"fallback":["champion","zero"],"distance":9,'), "r")
    assert (made.deploy.fallback, made.deploy.distance) == (("champion", "zero"), 9.0)
    assert made.digest != recipe.digest
    assert parse_recipe(made.canonical(), "r") == made
    for bad, words in (
        ('["champion","prevous"]', "did you mean 'previous'"), ('["zero"]', "begins with 'champion'"),
        ("[]", "begins with"), ('["champion","champion"]', "once"),
        ('["champion","abstain","zero"]', "only be the last"),
    ):  # fmt: skip
        with pytest.raises(RecipeError, match=words):
            parse_recipe(text.replace('"deploy":{', f'"deploy":{{"fallback":{bad},'), "r")
    assert RUNGS[0] == "champion"


@given(st.floats(), st.sampled_from(["price", "log_return"]), st.floats(0, 10), st.floats(0.1, 100))
def test_what_passes_is_finite_of_its_unit_and_near(value, target, scale, distance):
    try:
        require_sane_value(value, target, NETWORK, close=100.0, scale=scale, distance=distance)
    except Withheld:
        return
    assert math.isfinite(value)
    assert value > 0 or target == "log_return"
    spread = max(1.0, scale * 100.0 if target == "price" else scale)
    assert abs(value - 100.0) <= distance * spread


def test_a_venue_that_is_wrong_by_a_thousand_is_not_believed():
    for wrong in (100_000.0, 0.1):
        with pytest.raises(Withheld, match="spreads from the network"):
            require_sane_value(wrong, "price", NETWORK, close=wrong, scale=0.0001, distance=25)
    require_sane_value(1e9, "price", None, close=0.0, scale=0.0, distance=1)  # nobody has answered before
    for bad in (math.nan, math.inf, 0.51, -0.51):
        with pytest.raises(Withheld):
            require_sane_return(bad)


@pytest.mark.parametrize(
    ("metadata", "unit"),
    [
        ("BTC/USD - 8h Log-Return", "log_return"), ("ETH 5 min price prediction", "price"), ("volatility", None),
        ("log return of the price", "log_return"), ("", None),
    ],
)  # fmt: skip
def test_the_unit_is_what_the_metadata_says(metadata, unit):
    assert units_of(metadata) == unit
    require_units(metadata, unit or "price")
    if unit:
        with pytest.raises(Withheld, match="asks for a"):
            require_units(metadata, "price" if unit == "log_return" else "log_return")


def test_the_simple_rungs_are_what_they_say():
    import numpy as np

    steady = np.arange(100) * 0.001
    assert _drift(steady, 5) == pytest.approx(0.005)
    assert _linear(steady, 5) == pytest.approx(0.005)
    swing = np.array([0.0, 1, 0, 1, 0, 1, 0]) * 0.01
    assert _linear(swing, 1) == pytest.approx(0.01)  # it fell, so it rises
    assert _linear(swing[:2], 1) == 0.0
    assert _linear(np.zeros(50), 5) == 0.0


def test_looks_are_close_together_around_a_window_and_far_apart_elsewhere():
    pace = Pace(1.0)
    assert pace.pause(TOPIC, 0) == 1.0  # nothing is known yet
    for height in range(100, 105):
        pace.note(height)
    assert pace.pause(TOPIC, 94) == 0.5  # the next window opens with block 106
    assert pace.pause(TOPIC, 96) == pytest.approx(2.0, abs=0.1)
    assert pace.pause(replace(TOPIC, epoch_length=1000, worker_window=600), 96) == 10.0
    assert pace.block == 1.0  # measured only over twenty blocks


def test_the_metrics_are_prometheus_text_on_loopback():
    import aiohttp

    metrics = Metrics()
    metrics.count("crucible_missed_total", reason='a "b"\n', topic="77")
    metrics.set("crucible_runway_days", math.inf, wallet="w")
    for seconds in (0.01, 0.2, 1e9):
        metrics.observe("crucible_window_to_broadcast_seconds", seconds, topic="77")
    assert metrics.value("crucible_missed_total", reason='a "b"\n', topic="77") == 1.0
    with pytest.raises(KeyError):
        metrics.count("crucible_other")

    async def fetch():
        async with (
            MetricsServer(metrics) as server,
            aiohttp.ClientSession() as session,
            session.get(server.url) as response,
        ):
            assert server.url.startswith("http://127.0.0.1:")
            return await response.text(), response.headers["Content-Type"]

    text, kind = asyncio.run(fetch())
    assert kind.startswith("text/plain; version=0.0.4")
    assert 'crucible_missed_total{reason="a \\"b\\"\\n",topic="77"} 1.0' in text
    assert 'crucible_runway_days{wallet="w"} +Inf' in text
    assert 'crucible_window_to_broadcast_seconds_bucket{topic="77",le="0.25"} 2' in text
    assert 'crucible_window_to_broadcast_seconds_bucket{topic="77",le="+Inf"} 3' in text
    assert 'crucible_window_to_broadcast_seconds_count{topic="77"} 3' in text
    assert text.count("# TYPE") == 3
    assert all(name.startswith("crucible_") for name in METRICS)
    assert list(SECONDS) == sorted(SECONDS)
