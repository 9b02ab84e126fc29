"""One nonce at a time against a node whose blocks the test makes: every way in which a submission can go wrong."""

import asyncio
import os
import random
from collections import Counter

import pytest
from journal_steps import read_steps
from worker_desk import MISMATCH, Steady, included, run_scene

from crucible.chain.client import ChainClient
from crucible.chain.error_table import ERROR_TABLE, Kind
from crucible.chain.wallet import Wallet, new_mnemonic
from crucible.errors import BundleError, NodeUnreachable, StaleError, StoreError, Withheld
from crucible.worker.journal import TERMINAL, read_journal


@pytest.fixture(scope="module")
def wallet():
    return Wallet(new_mnemonic())


@pytest.fixture
def play(tmp_path, wallet):
    return lambda scene, predictor=None: run_scene(scene, tmp_path, wallet, predictor)


def test_the_plain_way(play):
    async def scene(desk):
        assert (await desk.handle()).state == "broadcast"
        await included(desk)
        assert [step.state for step in read_steps(desk.path)] == [
            "seen",
            "features",
            "predicted",
            "signed",
            "broadcast",
            "included",
        ]
        # a second look at the same nonce does nothing
        assert (await desk.handle()).state == "included"
        assert desk.predictor.calls == 1

    play(scene)


def test_a_lost_answer_is_looked_up_and_never_signed_again(play):
    async def scene(desk):
        desk.core.faults.lose_responses = 1
        first = await desk.handle()
        assert first.state == "signed"
        # another node, whose mempool knows of our transaction only by the account's next number
        desk.core.faults.refuse = ("sdk", 32, MISMATCH.format(2, 1))
        await desk.submitter.settle()
        assert desk.row().tx_hash == first.tx_hash
        await included(desk)
        assert desk.row().tx_hash == first.tx_hash

    play(scene)


def test_another_transaction_of_the_wallet_costs_nothing(play):
    async def scene(desk):
        await desk.send_other()
        row = await desk.handle()  # refused: expected 2, got 1; these bytes are nowhere, so it is signed anew at once
        assert (row.state, row.sequence) == ("broadcast", 2)
        await included(desk)

    play(scene)


def test_a_transaction_that_the_mempool_forgot_is_sent_again_as_it_was(play):
    async def scene(desk):
        first = await desk.handle()
        desk.forget_mempool()
        desk.step(2)
        await desk.submitter.settle()
        await included(desk)
        assert desk.row().tx_hash == first.tx_hash

    play(scene)


def test_a_forgotten_transaction_whose_number_was_taken_is_signed_anew_with_its_value(play):
    async def scene(desk):
        first = await desk.handle()
        desk.forget_mempool()
        await desk.send_other()
        desk.step(2)
        await desk.submitter.settle()
        await included(desk)
        assert desk.row().tx_hash != first.tx_hash
        assert desk.predictor.calls == 1

    play(scene)


def test_a_node_that_lags_behind_does_not_turn_an_accepted_submission_into_a_missed_one(play, monkeypatch):
    async def scene(desk):
        first = await desk.handle()
        asked = []
        look_up = ChainClient.find

        async def lagging(client, tx_hash):
            # the node that answers first has not heard of the block; the one that is asked everything has
            asked.append(client is desk.submitter._client)
            return None if asked[-1] else await look_up(client, tx_hash)

        monkeypatch.setattr(ChainClient, "find", lagging)
        desk.step(10)
        await desk.submitter.settle()
        row = desk.row()
        assert (row.state, row.tx_hash, row.code, row.reason) == ("included", first.tx_hash, 0, None)
        assert row.height is not None
        assert asked == [True, False]

    play(scene)


def test_a_transaction_that_no_block_takes_is_a_missed_window_and_not_a_second_payload(play):
    async def scene(desk):
        desk.core.faults.inclusion_delay = 1000
        first = await desk.handle()
        for _ in range(9):
            desk.step()
            await desk.submitter.settle()
        row = desk.row()
        assert (row.state, row.tx_hash) == ("missed", first.tx_hash)
        assert row.reason == "not in a block before the window ended"
        assert desk.core.topics[77].nonces[12].inferences == {}
        desk.core.faults.inclusion_delay = 0
        desk.step(3)
        assert (await desk.handle(24)).state == "broadcast"
        desk.step()
        assert [moved.state for moved in await desk.submitter.settle()] == ["included"]

    play(scene)


@pytest.mark.parametrize(("share", "state"), [(0.6, "included"), (0.1, "rejected")])
def test_running_out_of_gas_in_a_block_is_cured_by_more_or_given_up(play, monkeypatch, share, state):
    async def scene(desk):
        simulate = desk.core.simulate
        monkeypatch.setattr(desk.core, "simulate", lambda content: int(simulate(content) * share))
        await desk.handle()
        for _ in range(9):
            desk.step()
            await desk.submitter.settle()
        row = desk.row()
        assert row.state == state, row
        assert row.value == 100.0
        paid = [log for log in desk.delivered() if "out of gas" in log]
        assert len(paid) == (1 if state == "included" else 4)
        if state == "rejected":
            assert "the gas limit was too low" in row.reason

    play(scene)


def test_the_failure_of_an_older_signature_makes_no_second_payload_beside_the_newest(play):
    async def scene(desk):
        desk.core.faults.arm("out-of-gas", count=1)
        await desk.handle()
        desk.step()
        for _ in range(3):  # looks come faster than blocks
            await desk.submitter.settle()
        assert len(desk.core._pending) == 1
        await included(desk)

    play(scene)


@pytest.mark.parametrize(("code", "outcome"), [(68, "missed"), (75, "missed"), (78, "rejected")])
def test_what_a_block_says_against_the_simulation_is_tried_again_four_times_at_most(play, code, outcome):
    async def scene(desk):
        desk.core.faults.arm(f"code-{code}", count=2)
        await desk.handle()
        for _ in range(6):
            desk.step()
            await desk.submitter.settle()
        assert desk.row().state == "included"
        desk.step(24 - desk.core.height)
        desk.core.faults.arm(f"code-{code}")
        await desk.handle(24)
        for _ in range(9):
            desk.step()
            await desk.submitter.settle()
        row = desk.row(24)
        assert (row.state, row.code) == (outcome, code), row
        assert len([log for log in desk.delivered() if log]) == 2 + 4
        assert desk.predictor.calls == 2

    play(scene)


def test_a_value_that_the_chain_holds_already_is_included_whatever_the_code(play):
    async def scene(desk):
        await desk.handle()
        desk.core.faults.arm("code-78", count=1)
        other = desk.core.topics[77].nonces[12]
        other.inferences[desk.wallet.address] = "100.0"
        desk.step()
        await desk.submitter.settle()
        assert (desk.row().state, desk.row().reason_code) == ("included", "duplicate")

    play(scene)


@pytest.mark.parametrize("row", ERROR_TABLE, ids=lambda row: f"{row.codespace}-{row.code}")
def test_every_refusal_at_checktx_ends_as_the_error_table_says(play, row):
    async def scene(desk):
        log = f"refused: {row.words}" if row.kind is not Kind.SEQUENCE else MISMATCH.format(1, 0)
        desk.core.faults.refuse = (row.codespace, row.code, log)
        if row.kind is Kind.FUNDS:
            signed = await desk.handle()
            assert signed.state == "signed"
            desk.restart()
            await desk.submitter.settle()  # funded in the meantime: the same bytes
            await included(desk)
            assert desk.row().tx_hash == signed.tx_hash
            return
        after = await desk.handle()
        match row.kind:
            case Kind.MISSED:
                assert (after.state, after.code, after.reason_code) == ("missed", row.code, row.reason)
            case Kind.FATAL | Kind.ALREADY:
                assert (after.state, after.code, after.reason_code) == ("rejected", row.code, row.reason)
                assert row.meaning in after.reason
            case Kind.PENDING:
                assert after.state == "broadcast"
            case Kind.SEQUENCE:
                assert after.state == "broadcast"  # signed anew with the number that was expected
                await included(desk)
            case _:
                assert after.state == ("broadcast" if row.reason == "fee_too_low" else "signed")
                await desk.submitter.settle()  # the next look sends what was not sent at once
                await included(desk)
        assert after.state in (*TERMINAL, "signed", "broadcast")

    play(scene)


def test_a_crash_between_signing_and_sending_sends_the_very_bytes(play):
    async def scene(desk):
        row = desk.journal.seen(12, 20)
        row = desk.journal.move(12, "predicted", value=55.5, predicted_for="t", bundle="b", model_version=1)
        row = await desk.submitter._sender.sign(row)
        desk.restart()
        [moved] = await desk.submitter.settle()
        assert (moved.state, moved.tx_hash) == ("broadcast", row.tx_hash)
        await included(desk, 55.5)
        assert desk.predictor.calls == 0

    play(scene)


def test_a_crash_after_predicting_keeps_the_value(play):
    async def scene(desk):
        desk.journal.seen(12, 20)
        desk.journal.move(12, "predicted", value=55.5, predicted_for="t", bundle="b", model_version=1)
        desk.restart()
        assert (await desk.handle()).state == "broadcast"
        await included(desk, 55.5)
        assert desk.predictor.calls == 0

    play(scene)


def test_a_lost_journal_finds_its_value_on_the_chain(play, tmp_path):
    async def scene(desk):
        await desk.handle()
        desk.step()
        desk.restart(tmp_path / "new.db")
        row = await desk.handle()
        assert (row.state, row.reason) == ("included", "the chain holds an earlier value of this worker")
        assert [nonce.inferences for nonce in desk.core.topics[77].nonces.values()] == [{desk.wallet.address: "100.0"}]

    play(scene)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (StaleError("The newest bar is old."), "The newest bar is old."),
        (BundleError("The model fell over."), "fell over"),
        (Withheld("model_hung", "The prediction took too long."), "took too long"),
    ],
)
def test_a_prediction_that_fails_is_tried_again_and_then_the_window_is_missed_with_the_reason(play, error, words):
    async def scene(desk):
        assert (await desk.handle()).state == "seen"
        assert desk.submitter.patience() < 1
        desk.predictor.error = None
        assert (await desk.handle()).state == "broadcast"
        await included(desk)
        desk.step(11)
        desk.predictor.error = error
        assert (await desk.handle(24)).state == "seen"
        desk.step(8)
        assert [row.state for row in await desk.submitter.settle()] == ["missed"]
        assert desk.row(24).reason.startswith("nothing was sent before the window ended: ")
        assert words in desk.row(24).reason

    play(scene, Steady(error=error))


def test_nothing_is_sent_when_the_disk_is_full(play):
    async def scene(desk):
        limit = desk.journal._connection.execute("PRAGMA page_count").fetchone()[0]
        for nonce in range(10_000, 10_100):  # fill what is left of the pages
            desk.journal._connection.execute(f"PRAGMA max_page_count = {limit}")
            try:
                desk.journal.seen(nonce, 8)
                desk.journal.move(nonce, "missed", reason="x" * 500)
            except StoreError:
                break
        with pytest.raises(StoreError, match="nothing is sent"):
            await desk.handle()
        assert desk.core._pending == []
        assert desk.row() is None or desk.row().state in ("seen", "predicted")

    play(scene)


def test_no_fault_and_no_crash_at_any_await_makes_a_second_payload(play):
    """Epochs of random faults, with the submitter abandoned at random awaits and started anew."""
    epochs = 1000 if os.environ.get("CRUCIBLE_PROVE") else 40
    generator = random.Random(11)
    faults = (
        lambda desk: setattr(desk.core.faults, "lose_responses", generator.randint(1, 2)),
        lambda desk: setattr(desk.core.faults, "refuse", ("sdk", 32, MISMATCH.format(generator.randint(0, 99), 0))),
        lambda desk: setattr(desk.core.faults, "refuse", ("sdk", 13, "insufficient fee")),
        lambda desk: setattr(desk.core.faults, "refuse", ("sdk", 20, "mempool is full")),
        lambda desk: setattr(desk.core.faults, "inclusion_delay", generator.randint(0, 5)),
        lambda desk: desk.forget_mempool(),
        lambda desk: None,
        lambda desk: None,
    )

    async def life(desk):
        await desk.submitter.settle()
        for nonce in await desk.client.open_nonces(77):
            await desk.submitter.handle(nonce, desk.predictor)

    async def scene(desk):
        values, crashes, states = {}, 0, Counter()
        for _ in range(epochs * 12):
            if generator.random() < 0.25:
                generator.choice(faults)(desk)
            try:
                patience = generator.uniform(0, 0.03) if generator.random() < 0.3 else 5
                await asyncio.wait_for(life(desk), patience)
            except TimeoutError:
                crashes += 1
                desk.restart()
            except NodeUnreachable:
                states["unreachable"] += 1
            for row in desk.journal.unfinished():
                if row.tx_hash:
                    assert values.setdefault(row.nonce, row.value) == row.value
            desk.step()
        desk.core.faults.inclusion_delay = 0
        for _ in range(30):
            await life(desk)
            desk.step()
        rows = [row for row in read_journal(desk.path) if row.nonce <= epochs * 12]
        states += Counter(row.state for row in rows)
        assert len(rows) == epochs
        assert states["seen"] == states["predicted"] == states["signed"] == states["broadcast"] == 0
        for row in rows:
            held = desk.core.topics[77].nonces.get(row.nonce)  # the chain keeps the newest
            if held is not None and desk.wallet.address in held.inferences:
                assert float(held.inferences[desk.wallet.address]) == row.value
                assert row.state in ("included", "unscored")
            elif held is not None:
                assert row.state == "missed", row
                assert row.reason
        # a second payload would have been refused in a block, for its fee
        assert [log for log in desk.delivered() if "already submitted" in log] == []
        assert states["missed"] < epochs / 5, states
        assert crashes > epochs / 4

    play(scene)
