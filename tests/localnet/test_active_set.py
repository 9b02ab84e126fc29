"""Who gets into the active set, and what becomes of those that do not."""

from dataclasses import replace

import pytest
from allora_sdk.rpc_client.protos.emissions import v10 as e
from chain_world import SPEC, chain, done, key, payload, register, report, run, stake, step_to

from crucible.localnet.mechanism_state import with_score_average

WORKERS = [key(f"worker {number}") for number in range(5)]
REPUTER = key("reputer")
SMALL = replace(SPEC, changes=(("max_top_inferers", 2), ("max_top_forecasters", 1), ("max_top_reputers", 1),
                               ("max_elements_per_forecast", 2)))  # fmt: skip


@pytest.fixture
def core():
    made = chain(SMALL, funded=(*WORKERS, REPUTER))
    register(made, *WORKERS)
    register(made, REPUTER, is_reputer=True)
    stake(made, REPUTER)
    step_to(made, 12)
    return made


def averages(core, **scores):
    topic = core.topics[77]
    for name, score in scores.items():
        address = WORKERS[int(name[1:])].address
        topic.mechanism = with_score_average(topic.mechanism, "inferer", address, score)


def active(core, nonce=12):
    return set(core.topics[77].nonces[nonce].inferences)


def test_first_come_first_served_and_the_next_is_left_out_although_its_transaction_succeeds(core):
    for worker in WORKERS[:3]:
        done(core, worker, payload(worker, 12))
    assert active(core) == {worker.address for worker in WORKERS[:2]}
    # somebody new that is left out starts from the topic's quantile
    assert core.topics[77].emas[WORKERS[2].address] == 0.0
    told = [item for item in core.included[0].events if item["type"].endswith("EventEMAScoresSet")]
    assert {row["key"]: row["value"] for row in told[0]["attributes"]}["is_active"] == "[false]"


def test_a_better_average_takes_the_place_of_the_lowest(core):
    averages(core, w0=0.5, w1=-0.5, w2=0.1)
    for worker in WORKERS[:3]:
        done(core, worker, payload(worker, 12))
    assert active(core) == {WORKERS[0].address, WORKERS[2].address}
    assert core.topics[77].emas[WORKERS[1].address] == pytest.approx(0.9 * -0.5)  # a tenth of the way to the quantile


def test_an_equal_average_does_not(core):
    averages(core, w0=0.5, w1=0.1, w2=0.1)
    for worker in WORKERS[:3]:
        done(core, worker, payload(worker, 12))
    assert active(core) == {WORKERS[0].address, WORKERS[1].address}


@pytest.mark.parametrize("again", [1, 2])
def test_a_second_try_in_the_same_window_is_code_78(core, again):
    averages(core, w0=0.5, w1=-0.5, w2=0.1, w3=-1.0)
    for worker in WORKERS[:4]:
        done(core, worker, payload(worker, 12))
    loser = {1: WORKERS[1], 2: WORKERS[3]}[again]  # one that lost its place, and one that never had it
    before = core.topics[77].emas[loser.address]
    result = run(core, loser, payload(loser, 12))
    assert (result.codespace, result.code) == ("emissions", 78)
    assert core.topics[77].emas[loser.address] == before
    # the window after, it may try again
    step_to(core, 24)
    done(core, loser, payload(loser, 24))
    assert loser.address in active(core, 24)


def test_an_active_one_that_submits_again_is_told_so(core):
    done(core, WORKERS[0], payload(WORKERS[0], 12))
    result = run(core, WORKERS[0], payload(WORKERS[0], 12, "7"))
    assert (result.codespace, result.code) == ("undefined", 1)
    assert "already submitted" in result.log
    result = run(core, WORKERS[0], payload(WORKERS[0], 12, None, {WORKERS[1].address: "-1"}))
    assert result.code == 0  # a forecast is another thing
    result = run(core, WORKERS[0], payload(WORKERS[0], 12, None, {WORKERS[1].address: "-1"}))
    assert "already submitted" in result.log


def test_forecasts_keep_the_elements_of_the_best_inferers_and_the_first_of_two(core):
    averages(core, w0=0.1, w1=0.3, w2=0.2)
    elements = [(WORKERS[place].address, str(-place)) for place in range(3)] + [(WORKERS[1].address, "9")]
    message = payload(WORKERS[0], 12, None, {})
    inner = message.worker_data_bundle.inference_forecasts_bundle
    inner.forecast.forecast_elements = [e.InputForecastElement(*item) for item in elements]
    signature = WORKERS[0].sign(bytes(inner))
    message.worker_data_bundle.inferences_forecasts_bundle_signature = signature
    done(core, WORKERS[0], message)
    kept = core.topics[77].nonces[12].forecasts[WORKERS[0].address]
    assert kept == {WORKERS[1].address: "-1", WORKERS[2].address: "-2"}
    # forecasts of nobody that is known are taken, and play no part
    done(core, WORKERS[1], payload(WORKERS[1], 12, None, {REPUTER.address: "-1"}))
    assert set(core.topics[77].nonces[12].forecasts) == {WORKERS[0].address}
    assert run(core, WORKERS[2], payload(WORKERS[2], 12, None, {})).code == 26


def test_reputers_have_an_active_set_too(core):
    second = key("second reputer")
    core.fund(second.address, 10**18)
    register(core, second, is_reputer=True)
    stake(core, second)
    done(core, WORKERS[0], payload(WORKERS[0], 12))
    step_to(core, 24)
    losses = {"combined": -1.0, "naive": -1.0, f"inferer:{WORKERS[0].address}": -1.0, "inferer:stranger": 5.0}
    done(core, REPUTER, report(REPUTER, 12, losses))
    done(core, second, report(second, 12, losses))
    held = core.topics[77].nonces[12].losses
    assert set(held) == {REPUTER.address}
    assert "inferer:stranger" not in held[REPUTER.address]
    assert run(core, second, report(second, 12, losses)).code == 78
    assert "already submitted" in run(core, REPUTER, report(REPUTER, 12, losses)).log
