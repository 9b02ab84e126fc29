"""Inferences, losses, regrets, scores and rewards of a chain are those of the verified mechanism, and it tells so."""

import json
import math

import numpy as np
import pytest
from allora_sdk.rpc_client.protos.emissions import v10 as e
from chain_world import chain, done, key, kinds, payload, register, report, run, stake, step_to, values

from crucible.localnet import bundles
from crucible.localnet.core import Core
from crucible.localnet.decimals import payable
from crucible.localnet.state import restore, save
from crucible.network.epoch import step
from crucible.network.inputs import EpochInputs
from crucible.network.state import TopicState

WORKERS = [key(f"worker {number}") for number in range(3)]
FORECASTERS = [key(f"forecaster {number}") for number in range(2)]
REPUTERS = [key(f"reputer {number}") for number in range(2)]
BLUR = (0.0, 0.02)  # what each reputer adds to its losses


def truth(nonce: int) -> float:
    return 100.0 + nonce % 7


def answer(place: int, nonce: int) -> float:
    return truth(nonce) + (place + 1) * math.sin(nonce + place)


def loss(value: float, nonce: int, blur: float = 0.0) -> float:
    return math.log10((value - truth(nonce)) ** 2 + 1e-9) + blur


@pytest.fixture(scope="module")
def played():
    """Six epochs with everybody in them: the chain, and every block's events by height."""
    core = chain(funded=(*WORKERS, *FORECASTERS, *REPUTERS))
    events = {}
    core.listeners.append(lambda height, found: events.__setitem__(height, found))
    register(core, *WORKERS, *FORECASTERS)
    register(core, *REPUTERS, is_reputer=True)
    stake(core, *REPUTERS)
    for epoch in range(1, 9):
        nonce = 12 * epoch
        step_to(core, nonce)
        play(core, nonce)
    step_to(core, 120)
    return core, events


def play(core: Core, nonce: int) -> None:
    for place, worker in enumerate(WORKERS):
        done(core, worker, payload(worker, nonce, repr(answer(place, nonce))))
    for place, forecaster in enumerate(FORECASTERS):
        expected = {worker.address: repr(-1.0 + index + place / 8) for index, worker in enumerate(WORKERS)}
        done(core, forecaster, payload(forecaster, nonce, None, expected))
    for due in core.topics[77].reputer_nonces():
        if core.topics[77].reputer_window_open(due, core.height + 1):
            for reputer, blur in zip(REPUTERS, BLUR, strict=True):
                network = core.topics[77].nonces[due].network
                losses = {name: loss(value, due, blur) for name, value in network.items()}
                done(core, reputer, report(reputer, due, losses))


def test_everything_is_what_the_mechanism_computes_epoch_by_epoch(played):
    core, _ = played
    topic = core.topics[77]
    settled = [nonce for _, nonce in sorted(topic.nonces.items()) if nonce.network_losses]
    assert len(settled) >= 6
    # one settlement lies between the closing and the settling of a nonce: the mechanism's two halves, interleaved
    inferers, forecasters = sorted(w.address for w in WORKERS), sorted(f.address for f in FORECASTERS)
    keys = bundles.names(inferers, forecasters)
    full = [nonce for nonce in settled if nonce.mode == "full"]
    assert [nonce.mode for nonce in settled[:2]] == ["median", "median"]
    assert len(full) >= 4
    for nonce in full:
        assert set(nonce.network) == set(keys)
        mean = np.mean([answer(place, nonce.height) for place in range(3)])
        assert nonce.combined == pytest.approx(mean)  # everybody is new until somebody was rewarded ten times
        assert nonce.network_losses["combined"] == pytest.approx(loss(mean, nonce.height, sum(BLUR) / 2), abs=1e-3)
        for worker in inferers:
            gained = nonce.network_losses[f"without:{worker}"] - nonce.network_losses["combined"]
            assert nonce.scores[worker] == pytest.approx(gained)
        assert set(nonce.forecaster_scores) == set(forecasters)
        assert set(nonce.reputer_scores) == {r.address for r in REPUTERS}


def test_a_replay_through_the_mechanism_gives_the_chains_numbers_to_the_last_digit():
    """With a lag of one epoch and no overlap the chain's two halves are one step of the mechanism."""
    core = chain(funded=(*WORKERS, *REPUTERS))
    register(core, *WORKERS)
    register(core, *REPUTERS, is_reputer=True)
    stake(core, *REPUTERS)
    params = core.topics[77].spec.parameters
    state, expected = TopicState.new(params), {}
    for nonce in range(12, 200, 36):  # every third epoch: settled before the next one is inferred
        step_to(core, nonce)
        for place, worker in enumerate(WORKERS):
            done(core, worker, payload(worker, nonce, repr(answer(place, nonce))))
        step_to(core, nonce + 13)
        network = core.topics[77].nonces[nonce].network
        reports = {
            reputer.address: {name: loss(value, nonce, blur) for name, value in network.items()}
            for reputer, blur in zip(REPUTERS, BLUR, strict=True)
        }
        stakes = {reputer.address: float(core.topics[77].stake_of(reputer.address)) for reputer in REPUTERS}
        for reputer in REPUTERS:
            done(core, reputer, report(reputer, nonce, reports[reputer.address]))
        step_to(core, nonce + 24)
        found = core.topics[77].nonces[nonce]
        inferers = sorted(worker.address for worker in WORKERS)
        answers = {worker.address: answer(place, nonce) for place, worker in enumerate(WORKERS)}
        matrix = np.array([bundles.row(reports[name], bundles.names(inferers, [])) for name in sorted(reports)])
        reward = sum(sum(paid.values()) for paid in found.rewards.values())
        state, result = step(state, EpochInputs.of(answers, {}, stakes, matrix, reward), params)
        expected[nonce] = (result.payout.inferer_scores, result.payout.inferer_rewards)
        scores = [found.scores.get(name, math.nan) for name in inferers]
        np.testing.assert_allclose(scores, expected[nonce][0], rtol=1e-12)
        paid = [found.rewards.get("inferer", {}).get(name, math.nan) for name in inferers]
        np.testing.assert_allclose(paid, expected[nonce][1], rtol=1e-9)
    np.testing.assert_allclose(core.topics[77].mechanism.regrets, state.regrets, rtol=1e-12)
    np.testing.assert_allclose(core.topics[77].mechanism.reputers.listening, state.reputers.listening, rtol=1e-12)
    assert core.topics[77].emas


def test_every_event_of_an_epoch_is_told_in_the_chains_form(played):
    core, events = played
    full = min(nonce.height for nonce in core.topics[77].nonces.values() if nonce.mode == "full")
    opened, closed, due, settled = (events[height] for height in (full, full + 8, full + 12, full + 24))
    assert values(opened, "EventWorkerSubmissionWindowOpened") == [
        {"nonce_block_height": f'"{full}"', "topic_id": '"77"', "window_end_block": f'"{full + 8}"', "mode": "EndBlock"}
    ]
    assert kinds(closed)[:2] == ["EventActiveInferersSet", "EventActiveForecastersSet"]
    assert kinds(closed)[-2:] == ["EventWorkerLastCommitSet", "EventWorkerSubmissionWindowClosed"]
    assert "EventNetworkInferenceBundle" in kinds(closed)
    assert json.loads(values(closed, "EventWorkerLastCommitSet")[0]["nonce"]) == {"block_height": str(full)}
    assert "EventReputerSubmissionWindowOpened" in kinds(due)
    expected = ["EventNetworkLossSet", "EventInfererNetworkRegretSet", "EventNaiveInfererNetworkRegretSet",
                "EventForecasterNetworkRegretSet", "EventListeningCoefficientsSet", "EventForecastTaskScoreSet",
                "EventTopicRewardsSet", "EventReputerLastCommitSet",
                "EventReputerSubmissionWindowClosed"]  # fmt: skip
    assert [kind for kind in kinds(settled) if kind in expected] == expected
    types = {"inferer": "ACTOR_TYPE_INFERER_UNSPECIFIED", "forecaster": "ACTOR_TYPE_FORECASTER",
             "reputer": "ACTOR_TYPE_REPUTER"}  # fmt: skip
    for kind in ("EventScoresSet", "EventEMAScoresSet", "EventRewardsSettled"):
        assert [json.loads(item["actor_type"]) for item in values(settled, kind)] == list(types.values())
    paid = values(settled, "EventRewardsSettled")[0]
    nonce = core.topics[77].nonces[full]
    addresses, rewards = json.loads(paid["addresses"]), json.loads(paid["rewards"])
    assert dict(zip(addresses, map(float, rewards), strict=True)) == pytest.approx(nonce.rewards["inferer"])
    assert json.loads(paid["block_height_tx"]) == str(full + 24)
    assert json.loads(values(settled, "EventEMAScoresSet")[0]["is_active"]) == [True] * 3
    bundle = json.loads(values(settled, "EventNetworkLossSet")[0]["bundle"])
    assert len(bundle["inferer_addresses"]) == len(bundle["one_out_inferer_values"]) == 3
    assert len(json.loads(bundle["one_out_inferer_forecaster_values"][0])) == 3


def test_workers_are_paid_in_coin_and_reputers_in_stake(played):
    core, _ = played
    topic = core.topics[77]
    paid = [nonce.rewards for nonce in topic.nonces.values() if nonce.rewards]
    assert len(paid) >= 4
    for worker in WORKERS:
        earned = sum(payable(rewards["inferer"].get(worker.address, 0.0)) for rewards in paid)
        account = core.ledger.accounts[worker.address]
        fees = account.sequence * 3_000_000 + 200 + 10 * (account.sequence - 1)
        assert account.balance == 10**18 - fees + earned
    for reputer in REPUTERS:
        earned = sum(payable(rewards["reputer"].get(reputer.address, 0.0)) for rewards in paid)
        assert topic.stakes[reputer.address] == 50_000 + earned
    given = sum(sum(part.values()) for rewards in paid for part in rewards.values())
    assert given == pytest.approx(12 * core.module.block_emission * len(paid))  # the only topic gets all


def test_the_sdk_reads_these_events(played):
    from allora_sdk.rpc_client.event_utils import EventMarshaler

    _, events = played

    class Registry:
        """The SDK's, without the seconds in which it imports every protocol there is."""

        def get_event_class(self, event_type):
            return getattr(e, event_type.removeprefix("emissions.v10."), None)

    marshal = EventMarshaler(Registry())
    seen = set()
    for found in events.values():
        for event in found:
            message = marshal.marshal_event(event)
            # the SDK's registry spells EventEMAScoresSet otherwise, and so never finds it
            assert message is not None or event["type"].endswith("EventEMAScoresSet"), event
            seen.add(event["type"])
            if event["type"].endswith("EventRewardsSettled"):
                assert message.topic_id == 77
                assert len(message.addresses) == len(message.rewards) > 1
    assert len(seen) >= 20


def test_a_saved_chain_goes_on_exactly_as_the_one_that_was_not(played, tmp_path):
    save(tmp_path, played[0])
    core, again = Core.from_json(json.loads(json.dumps(played[0].to_json()))), restore(tmp_path)
    assert again.to_json() == core.to_json() == played[0].to_json()
    told = {}
    for name, each in (("first", core), ("second", again)):
        seen = told.setdefault(name, [])
        for epoch in range(11, 14):
            while each.height < 12 * epoch:
                seen.append(each.step(float(each.height + 1)))
            play(each, each.height)
    assert told["first"] == told["second"]
    assert sum(map(len, told["first"])) > 40
    assert again.to_json() == core.to_json()


def test_nobody_reports_and_nobody_is_paid():
    core = chain(funded=(WORKERS[0],))
    register(core, WORKERS[0])
    step_to(core, 12)
    done(core, WORKERS[0], payload(WORKERS[0], 12))
    step_to(core, 40)
    nonce = core.topics[77].nonces[12]
    assert (nonce.settled, nonce.rewards) == (True, {})
    assert "no reputer" in nonce.failure


def test_absurd_values_end_an_epoch_and_not_the_chain(caplog):
    core = chain(funded=(*WORKERS, *REPUTERS))
    register(core, *WORKERS)
    register(core, *REPUTERS, is_reputer=True)
    stake(core, *REPUTERS)
    for epoch in range(1, 7):
        nonce = 12 * epoch
        step_to(core, nonce)
        for place, worker in enumerate(WORKERS):
            done(core, worker, payload(worker, nonce, ("1E+40", "-1E+40", "1E-40")[place]))
        for due in core.topics[77].reputer_nonces():
            if core.topics[77].reputer_window_open(due, core.height + 1):
                network = core.topics[77].nonces[due].network
                run(core, REPUTERS[0], report(REPUTERS[0], due, dict.fromkeys(network, 80.0)))
                wild = {name: float(place - 40) for place, name in enumerate(network)}
                run(core, REPUTERS[1], report(REPUTERS[1], due, wild))
    step_to(core, 100)
    assert core.height == 100
