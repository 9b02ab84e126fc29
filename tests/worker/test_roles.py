"""The forecaster and the reputer, through a life on localnet."""

import asyncio
import json
import math
from dataclasses import dataclass, replace

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from worker_desk import SPEC, Desk, run_scene
from worker_world import stop

from crucible.chain.answers import NetworkInference, NetworkLosses
from crucible.chain.fees import FeePolicy
from crucible.chain.payloads import add_stake, losses, registration
from crucible.chain.transaction import sign, unsigned
from crucible.chain.wallet import Wallet, new_mnemonic
from crucible.errors import Withheld
from crucible.worker.deployment import read_desired, write_desired
from crucible.worker.introduction import ensure_stake
from crucible.worker.journal import read_journal
from crucible.worker.journal_file import wallet_journal
from crucible.worker.reasons import Reason
from crucible.worker.roles.forecaster import Epoch, Forecaster
from crucible.worker.roles.network_forecaster import LearningForecast
from crucible.worker.roles.reputer import Reputer, flat, unflat


@pytest.fixture(scope="module")
def wallet():
    return Wallet(new_mnemonic())


@dataclass
class Mean:
    """Forecasts the mean of past losses."""

    seen: int = 0
    answer: dict[str, float] | None = None

    def forecast(self, history):
        self.seen = len(history)
        if self.answer is not None:
            return self.answer
        names = {name for epoch in history for name in epoch.losses}
        return {name: sum(epoch.losses.get(name, 0.0) for epoch in history) / len(history) for name in names}


async def send(desk, message):
    account = await desk.client.account(desk.wallet.address)
    gas = await desk.client.simulate(unsigned(message, desk.wallet, account.sequence))
    made = sign(
        message, desk.wallet, chain_id="allora-testnet-1", number=account.number, sequence=account.sequence, gas=gas,
        fee=FeePolicy().amount(gas, 10.0), timeout_height=0,
    )  # fmt: skip
    await desk.client.broadcast(made.content, made.hash)
    desk.step()
    found = await desk.client.find(made.hash)
    assert found is not None
    return found


async def staked(desk):
    assert (await send(desk, registration(desk.wallet.address, 77, reputer=True))).code == 0
    assert (await send(desk, add_stake(desk.wallet.address, 77, 20_000))).code == 0


def topic():
    from types import SimpleNamespace

    return SimpleNamespace(
        id=77, epoch_length=SPEC.epoch_length, ground_truth_lag=SPEC.ground_truth_lag, worker_window=SPEC.worker_window,
        loss_method="sqe",
    )  # fmt: skip


async def one_epoch(desk, value_of=100.0):
    """An inference and its losses, so that there is a history."""
    await staked(desk)
    assert (await desk.handle()).state == "broadcast"
    while desk.core.height < 24:
        desk.step()
    network = await desk.client.network(77, 12)
    assert network.inferers == {desk.wallet.address: value_of}
    found = await send(desk, losses(desk.wallet, 77, 12, unflat(dict.fromkeys(flat(network), -2.5e-07))))
    assert found.code == 0, found
    while desk.core.height < 36:
        desk.step()


def test_losses_are_taken_and_make_a_history_that_is_forecast_from(tmp_path, wallet):
    async def scene(desk):
        await one_epoch(desk)
        assert await desk.client.losses(77, 12) == NetworkLosses(-2.5e-7, {desk.wallet.address: -2.5e-7})
        model = Mean()
        forecaster = Forecaster(model)
        answer = await forecaster.answer(desk.client, topic(), 36)
        assert json.loads(answer.payload) == {desk.wallet.address: -2.5e-7}
        assert model.seen == 1
        [epoch] = await forecaster.history(desk.client, topic(), 36)
        assert isinstance(epoch, Epoch)
        assert epoch.network.combined == 100.0

        # the same state machine carries it
        desk.submitter._role = desk.submitter._sender._role = forecaster

        async def ask(nonce, seconds):
            return await forecaster.answer(desk.client, topic(), nonce)

        row = await desk.submitter.handle(36, ask)
        assert (row.state, row.value, json.loads(row.payload)) == ("broadcast", None, {desk.wallet.address: -2.5e-7})
        desk.step()
        [moved] = [row for row in await desk.submitter.settle() if row.nonce == 36]
        assert (moved.state, moved.code) == ("included", 0)

        for bad in ({}, {"a": math.nan}):
            model.answer = bad
            with pytest.raises(Withheld) as caught:
                await forecaster.answer(desk.client, topic(), 36)
            assert caught.value.reason == Reason.MODEL_ABSURD
        with pytest.raises(Withheld, match="no losses yet"):
            await Forecaster(model).answer(desk.client, topic(), 24)

    run_scene(scene, tmp_path, wallet)


def test_the_forecaster_learns_who_does_well():
    import numpy as np

    generator = np.random.default_rng(2)
    history, model = [], LearningForecast()
    for nonce in range(12, 12 * 60, 12):
        inferers = {name: float(generator.normal()) for name in ("good", "bad", "usual")}
        losses = {"good": -3.0, "bad": 1.0, "usual": -1.0}
        found = {name: loss + 0.1 * float(generator.normal()) for name, loss in losses.items()}
        history.append(Epoch(nonce, NetworkInference(nonce, 0.0, 0.0, inferers), found, -2.0))
    for length in range(20, len(history) + 1):  # as a worker calls it: the newest 24 epochs, again and again
        forecast = model.forecast(history[max(length - 24, 0) : length])
    assert sorted(forecast, key=forecast.get) == ["good", "usual", "bad"]
    assert all(map(math.isfinite, forecast.values()))


def test_a_stake_below_the_minimum_is_filled_up(tmp_path, wallet):
    async def scene(desk: Desk):
        assert (await send(desk, registration(desk.wallet.address, 77, reputer=True))).code == 0

        async def stake():
            task = asyncio.create_task(ensure_stake(desk.account, 77))
            while not task.done():
                await asyncio.sleep(0.05)
                if desk.core._pending:
                    await asyncio.to_thread(desk.step)
            await task

        await stake()
        assert await desk.client.stake(77, desk.wallet.address) == 12_000
        await stake()
        assert await desk.client.stake(77, desk.wallet.address) == 12_000

    run_scene(scene, tmp_path, wallet)


def test_the_reputers_window_is_one_epoch_on_the_grid():
    role = Reputer(None, "r")
    assert role.window(topic(), 12) == (24, 36)
    uneven = topic()
    uneven.ground_truth_lag = 15
    assert role.window(uneven, 12) == (36, 48)


values = st.dictionaries(st.text("abc", min_size=1, max_size=3), st.floats(-9, 9), max_size=3)


@given(
    st.builds(NetworkInference, st.just(1), st.floats(-9, 9), st.floats(-9, 9), values, values, values, values, values)
)
def test_every_value_has_one_name_and_finds_its_place_again(network):
    found = unflat(flat(network))
    for part in ("combined", "naive", "inferers", "forecasters", "without", "without_forecaster", "with_only"):
        assert getattr(found, part) == getattr(network, part)


@pytest.mark.processes
def test_a_reputer_reports_losses_by_its_own_bars(world):
    world.deploy(1, world.bundle("zero"))
    write_desired(world.settings, replace(read_desired(world.settings, world.recipe.name), role="reputer"))
    worker = world.start("worker", "run", "--wallet", "test")
    try:
        path = wallet_journal(world.settings, "test")

        def accepted():
            return [row for row in read_journal(path) if row.role == "reputer" and row.state in ("included", "scored")]

        row = world.wait(accepted, "losses that a block took", 60)[0]
    finally:
        output = stop(worker)
    nonce = world.node.core.topics[77].nonces[row.nonce]
    address = world.actual().address
    assert "Traceback" not in output
    ours, house = nonce.losses[address], next(value for name, value in nonce.losses.items() if name != address)
    assert set(ours) == set(house)
    answer = requests.get(
        f"{world.settings.exchange_url}/api/v3/klines", timeout=10,
        params={"symbol": "BTCUSDT", "interval": "5m", "startTime": str(int(nonce.time * 1000)), "limit": "1"},
    )  # fmt: skip
    truth = float(answer.json()[0][4])  # the close of the bar that opened with the epoch
    for name, value in {"combined": nonce.combined, "naive": float(nonce.network["naive"]), **named(nonce)}.items():
        assert ours[name] == pytest.approx(math.log10((value - truth) ** 2), abs=1e-6), name


def named(nonce):
    inferers = {f"inferer:{name}": float(value) for name, value in nonce.inferences.items()}
    return {**inferers, **{f"without:{name}": value for name, value in nonce.without.items()}}
