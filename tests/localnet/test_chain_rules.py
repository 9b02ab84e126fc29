"""The chain's rules, stepped by hand, without sockets."""

import json
import math
from dataclasses import replace

import pytest
from allora_sdk.rpc_client.protos.cosmos.bank.v1beta1 import MsgSend
from allora_sdk.rpc_client.protos.cosmos.base.v1beta1 import Coin
from allora_sdk.rpc_client.protos.emissions import v3, v9
from allora_sdk.rpc_client.protos.emissions import v10 as e

from crucible.errors import StoreError
from crucible.localnet.client import sign_bundle, sign_transaction, submit
from crucible.localnet.core import Core
from crucible.localnet.events import Query, index
from crucible.localnet.keys import Key, address_of, is_address, verifies
from crucible.localnet.state import last_block_time, restore, save


def step_to(core, height):
    while core.height < height:
        core.step(float(core.height + 1))


def last(core):
    return list(core.results.values())[-1]


def register(core, key, *, is_reputer=False):
    assert (
        submit(core, key, e.RegisterRequest(sender=key.address, topic_id=77, owner=key.address, is_reputer=is_reputer))
        == ""
    )
    core.step(float(core.height + 1))


def inference(key, nonce, value="101.5", *, topic=77, signed=None, sender=None):
    inner = e.InputInferenceForecastBundle(
        inference=e.InputInference(
            topic_id=topic, block_height=nonce, inferer=key.address, value="0",
            values=[e.InputLabeledValue(label="y", value=value)],
        )
    )  # fmt: skip
    bundle = e.InputWorkerDataBundle(
        worker=key.address, nonce=v3.Nonce(block_height=nonce), topic_id=topic, inference_forecasts_bundle=inner,
        inferences_forecasts_bundle_signature=sign_bundle(key, signed or inner), pubkey=key.public.hex(),
    )  # fmt: skip
    return e.InsertWorkerPayloadRequest(sender=(sender or key).address, worker_data_bundle=bundle)


def losses(key, nonce, inferers, combined="-1", without="-0.5"):
    bundle = v9.InputValueBundle(
        topic_id=77, reputer_request_nonce=v3.ReputerRequestNonce(v3.Nonce(nonce)), reputer=key.address,
        combined_value=combined, naive_value=combined,
        inferer_values=[v9.InputWorkerAttributedValue(address, "-0.8") for address in inferers],
        one_out_inferer_values=[v9.InputWithheldWorkerAttributedValue(address, without) for address in inferers],
    )  # fmt: skip
    wrapped = v9.InputReputerValueBundle(bundle, sign_bundle(key, bundle), key.public.hex())
    return e.InsertReputerPayloadRequest(sender=key.address, reputer_value_bundle=wrapped)


def signed(core, key, message, **changes):
    account = core.pending_account(key.address)
    values = {"chain_id": core.chain_id, "number": account.number, "sequence": account.sequence, **changes}
    return sign_transaction(key, message, **values)


@pytest.fixture
def send(worker, reputer):
    return MsgSend(from_address=worker.address, to_address=reputer.address, amount=[Coin("uallo", "5")])


def test_keys_agree_with_cosmpy(worker):
    from cosmpy.aerial.wallet import LocalWallet

    wallet = LocalWallet.from_mnemonic(
        "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about", prefix="allo"
    )
    secret = int(wallet.signer().private_key_hex, 16)
    key = Key(secret)
    assert key.address == str(wallet.address())
    assert key.public == wallet.public_key().public_key_bytes
    assert key.sign(b"message") == wallet.signer().sign(b"message")
    assert verifies(key.public, key.sign(b"message"), b"message")
    assert not verifies(key.public, key.sign(b"message"), b"another")
    assert is_address(address_of(worker.public))
    assert not is_address("cosmos1nothing")


def test_a_transfer_moves_coins_and_takes_fee_and_sequence(core, worker, reputer, send):
    before = core.ledger.accounts[worker.address].balance
    assert submit(core, worker, send) == ""
    core.step(1.0)
    account = core.ledger.accounts[worker.address]
    assert (last(core).code, account.sequence) == (0, 1)
    assert account.balance == before - 5 - 3_000_000
    assert core.ledger.accounts[reputer.address].balance == 10**18 + 5


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"sequence": 7}, 32, "account sequence mismatch, expected 0, got 7: incorrect account sequence"),
        ({"number": 9}, 4, "signature verification failed"),
        ({"chain_id": "allora-mainnet-1"}, 4, "signature verification failed"),
        ({"fee": 10}, 13, "insufficient fee"),
        ({"fee": 10**19}, 5, "insufficient funds"),
    ],
)
def test_checktx_refuses_with_the_chains_code(core, worker, send, changes, code, words):
    _, refusal = core.broadcast(signed(core, worker, send, **changes))
    assert refusal.code == code
    assert words in refusal.log
    core.step(1.0)
    assert core.results == {}


def test_more_checktx_refusals(core, worker, reputer, send):
    step_to(core, 3)
    _, late = core.broadcast(signed(core, worker, send, timeout_height=3))
    assert (late.code, "timeout height: 3" in late.log) == (30, True)
    assert core.broadcast(b"\x0a\x03abc")[1].code == 2
    stranger = Key.from_name("stranger", 0)
    foreign = MsgSend(from_address=stranger.address, to_address=reputer.address, amount=[Coin("uallo", "5")])
    content = sign_transaction(stranger, foreign, chain_id=core.chain_id, number=0, sequence=0)
    assert core.broadcast(content)[1].code == 9
    not_ours = MsgSend(from_address=reputer.address, to_address=worker.address, amount=[Coin("uallo", "5")])
    assert core.broadcast(signed(core, worker, not_ours))[1].code == 8
    good = signed(core, worker, send)
    assert core.broadcast(good)[1] is None
    assert core.broadcast(good)[1].code == 19
    core.step(4.0)
    assert core.broadcast(good)[1].code == 19


def test_checktx_keeps_a_pending_sequence_so_several_fit_one_block(core, worker, send):
    for _ in range(3):
        assert submit(core, worker, send) == ""
    core.step(1.0)
    assert [result.code for result in core.results.values()] == [0, 0, 0]
    assert core.ledger.accounts[worker.address].sequence == 3


def test_a_transaction_that_waits_past_its_timeout_is_dropped(core, worker, send):
    core.faults.inclusion_delay = 5
    assert core.broadcast(signed(core, worker, send, timeout_height=3))[1] is None
    step_to(core, 8)
    assert core.results == {}
    assert core.ledger.accounts[worker.address].sequence == 0


def test_a_failing_message_costs_fee_and_sequence_and_changes_nothing_else(core, worker):
    before = core.ledger.accounts[worker.address].balance
    assert submit(core, worker, e.RegisterRequest(sender=worker.address, topic_id=5, owner=worker.address)) == ""
    core.step(1.0)
    result = last(core)
    assert result.code == 23
    assert result.log.startswith("failed to execute message; message index: 0: ")
    account = core.ledger.accounts[worker.address]
    assert (account.sequence, account.balance) == (1, before - 3_000_000)


def test_an_epoch_from_window_to_score(core, worker, reputer):
    opened = []
    core.listeners.append(lambda height, events: opened.extend((height, event["type"]) for event in events))
    register(core, worker)
    register(core, reputer, is_reputer=True)
    submit(core, reputer, e.AddStakeRequest(sender=reputer.address, topic_id=77, amount="50000"))
    step_to(core, 12)
    topic = core.topics[77]
    assert topic.worker_nonces() == [12]
    assert (12, "emissions.v10.EventWorkerSubmissionWindowOpened") in opened
    assert submit(core, worker, inference(worker, 12)) == ""
    core.step(13.0)
    assert (last(core).code, last(core).log) == (0, "")
    step_to(core, 20)
    topic = core.topics[77]
    assert topic.worker_nonces() == []
    assert (topic.nonces[12].combined, topic.reputer_nonces()) == (101.5, [12])
    step_to(core, 24)
    assert submit(core, reputer, losses(reputer, 12, [worker.address])) == ""
    step_to(core, 36)
    nonce = core.topics[77].nonces[12]
    assert nonce.network_losses["combined"] == -1
    assert nonce.scores == {worker.address: 0.0}  # a single inferer has nothing to be compared with
    kinds = [kind.removeprefix("emissions.v10.") for _, kind in opened]
    for kind in ("EventWorkerSubmissionWindowClosed", "EventReputerSubmissionWindowOpened", "EventScoresSet",
                 "EventEMAScoresSet", "EventNetworkLossSet", "EventReputerSubmissionWindowClosed"):  # fmt: skip
        assert kind in kinds


@pytest.mark.parametrize(
    ("height", "nonce", "changes", "code"),
    [(22, 12, {}, 75), (14, 13, {}, 75), (14, 12, {"topic": 5}, 6), (14, 12, {"value": "1E+50"}, 26)],
)
def test_refused_worker_payloads(core, worker, height, nonce, changes, code):
    register(core, worker)
    step_to(core, height)
    assert submit(core, worker, inference(worker, nonce, **changes)) == ""
    core.step(float(core.height + 1))
    assert last(core).code == code


def test_who_may_submit_and_once_only(core, worker, reputer):
    step_to(core, 12)
    submit(core, worker, inference(worker, 12))
    core.step(13.0)
    assert last(core).code == 13  # not registered
    register(core, worker)
    submit(core, worker, inference(worker, 12))
    core.step(15.0)
    assert last(core).code == 0
    submit(core, worker, inference(worker, 12, "99"))
    core.step(16.0)
    assert (last(core).codespace, last(core).code) == ("undefined", 1)
    assert "already submitted" in last(core).log
    assert core.topics[77].nonces[12].inferences == {worker.address: "101.5"}
    # the payload vouches for itself, so anybody may carry it; but nobody may sign it for another
    submit(core, reputer, inference(worker, 12, sender=reputer))
    core.step(17.0)
    assert "already submitted" in last(core).log


def test_tampered_and_non_canonical_payloads_do_not_verify(core, worker):
    register(core, worker)
    step_to(core, 12)
    honest = inference(worker, 12, "2.5E-7").worker_data_bundle.inference_forecasts_bundle
    submit(core, worker, inference(worker, 12, "2.6E-7", signed=honest))
    core.step(13.0)
    assert last(core).code == 4
    # the chain would write 2.5E-7, so a signature over other text for the same number fails as it does there
    submit(core, worker, inference(worker, 12, "2.5e-07"))
    core.step(14.0)
    assert last(core).code == 4
    submit(core, worker, inference(worker, 12, "2.5E-7"))
    core.step(15.0)
    assert last(core).code == 0


def test_refused_reputer_payloads(core, worker, reputer):
    register(core, worker)
    step_to(core, 12)
    submit(core, worker, inference(worker, 12))
    core.step(13.0)
    for height, expected in ((15, 45), (21, 68)):
        step_to(core, height)
        submit(core, reputer, losses(reputer, 12, [worker.address]))
        core.step(float(core.height + 1))
        assert last(core).code == expected
    step_to(core, 24)
    submit(core, reputer, losses(reputer, 12, [worker.address]))
    core.step(25.0)
    assert last(core).code == 13
    register(core, reputer, is_reputer=True)
    submit(core, reputer, losses(reputer, 12, [worker.address]))
    core.step(27.0)
    assert last(core).code == 17  # no stake


def test_the_state_survives_a_restart_to_the_last_coin(core, worker, reputer, send, tmp_path):
    register(core, worker)
    step_to(core, 12)
    submit(core, worker, inference(worker, 12))
    step_to(core, 30)
    save(tmp_path, core)
    again = restore(tmp_path)
    assert again.to_json() == core.to_json()
    assert last_block_time(tmp_path).timestamp() == 30.0
    for chain in (core, again):
        submit(chain, worker, send)
        chain.step(31.0)
    assert again.to_json() == core.to_json()
    (tmp_path / "state.json").write_text('{"height": 3')
    with pytest.raises(StoreError, match="delete"):
        restore(tmp_path)
    assert restore(tmp_path / "nowhere") is None


def test_event_values_are_json_text_and_queries_compare_it(core, worker):
    seen = []
    core.listeners.append(lambda height, events: seen.append(events))
    step_to(core, 12)
    event = seen[-1][0]
    values = {attribute["key"]: attribute["value"] for attribute in event["attributes"]}
    assert values["topic_id"] == '"77"'
    assert json.loads(values["window_end_block"]) == "20"
    assert list(values) == ["nonce_block_height", "topic_id", "window_end_block", "mode"]
    name = "emissions.v10.EventWorkerSubmissionWindowOpened.topic_id"
    present = index("NewBlockEvents", seen[-1])
    assert Query(f"tm.event='NewBlockEvents' AND {name} = '\"77\"'").matches("NewBlockEvents", present)
    assert not Query(f"tm.event='NewBlockEvents' AND {name} = '\"78\"'").matches("NewBlockEvents", present)
    assert not Query(f"tm.event='Tx' AND {name} = '\"77\"'").matches("NewBlockEvents", present)
    with pytest.raises(ValueError, match="failed to parse query"):
        Query("tm.event EXISTS")


def test_out_of_gas_is_the_chains_code_11(core, worker):
    content = signed(
        core, worker, e.RegisterRequest(sender=worker.address, topic_id=77, owner=worker.address), gas=50_000
    )
    assert core.broadcast(content)[1] is None
    core.step(1.0)
    assert last(core).code == 11
    assert "out of gas" in last(core).log
    assert math.isclose(core.simulate(content), 120_000)


def test_a_chain_that_grows_long_forgets_old_nonces(spec):
    chain = Core("allora-testnet-1")
    chain.add_topic(spec)
    for _ in range(12 * 230):
        chain.step(float(chain.height + 1))
    assert len(chain.topics[77].nonces) <= 201
    assert min(chain.topics[77].nonces) > 12


def test_a_lag_of_broken_epochs_opens_the_reputer_window_on_the_grid(spec):
    odd = replace(spec, ground_truth_lag=18)
    assert (odd.reputer_start(12), odd.reputer_end(12)) == (36, 48)
    assert (spec.reputer_start(12), spec.reputer_end(12)) == (24, 36)
    for wrong in ({"worker_window": 13}, {"worker_window": 0}, {"ground_truth_lag": 11}):
        with pytest.raises(ValueError, match="must fit into"):
            replace(spec, **wrong)
