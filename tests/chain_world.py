"""Hands for a chain that is stepped by hand: registering, inferring, forecasting, reporting losses."""

from __future__ import annotations

from dataclasses import replace

from allora_sdk.rpc_client.protos.emissions import v3, v9
from allora_sdk.rpc_client.protos.emissions import v10 as e

from crucible.localnet import bundles
from crucible.localnet.client import sign_bundle, sign_transaction, submit
from crucible.localnet.core import Core
from crucible.localnet.keys import Key
from crucible.localnet.topic import TopicSpec

SPEC = TopicSpec(
    id=77, metadata="test", loss_method="sqe", asset="BTC/USD", target="price", symbol="BTCUSDT", interval_seconds=300,
    horizon_seconds=12, cadence_seconds=12, epoch_length=12, ground_truth_lag=12, worker_window=8,
)  # fmt: skip
FUNDS = 10**18


def key(name: str) -> Key:
    return Key.from_name(name, 0)


def chain(*specs: TopicSpec, funded: tuple[Key, ...] = ()) -> Core:
    core = Core("allora-testnet-1")
    for spec in specs or (SPEC,):
        core.add_topic(replace(spec))
    for each in funded:
        core.fund(each.address, FUNDS)
    return core


def step_to(core: Core, height: int) -> list[dict]:
    """Make blocks of a second up to ``height``; return the events of the last one."""
    events: list[dict] = []
    while core.height < height:
        events = core.step(float(core.height + 1))
    return events


def run(core: Core, signer: Key, message):
    """Send a message, make a block, and return the transaction's result."""
    assert submit(core, signer, message) == ""
    core.step(float(core.height + 1))
    return list(core.results.values())[-1]


def done(core: Core, signer: Key, message):
    """As :func:`run`, for what must succeed."""
    result = run(core, signer, message)
    assert (result.code, result.log) == (0, ""), result
    return result


def signed(core: Core, signer: Key, message, **changes) -> bytes:
    account = core.pending_account(signer.address)
    values = {"chain_id": core.chain_id, "number": account.number, "sequence": account.sequence, **changes}
    return sign_transaction(signer, message, **values)


def register(core: Core, *signers: Key, is_reputer: bool = False, topic: int = 77) -> None:
    for each in signers:
        request = e.RegisterRequest(sender=each.address, topic_id=topic, owner=each.address, is_reputer=is_reputer)
        assert submit(core, each, request) == ""
    core.step(float(core.height + 1))
    assert [result.code for result in core.included] == [0] * len(signers)


def stake(core: Core, *signers: Key, amount: int = 50_000, topic: int = 77) -> None:
    for each in signers:
        assert submit(core, each, e.AddStakeRequest(sender=each.address, topic_id=topic, amount=str(amount))) == ""
    core.step(float(core.height + 1))


def payload(signer: Key, nonce: int, value: str | None = "101.5", forecast: dict[str, str] | None = None, *, topic=77,
            signed=None, sender=None) -> e.InsertWorkerPayloadRequest:  # fmt: skip
    common = {"topic_id": topic, "block_height": nonce}
    inner = e.InputInferenceForecastBundle()
    if value is not None:
        values = [e.InputLabeledValue(label="y", value=value)]
        inner.inference = e.InputInference(inferer=signer.address, value="0", values=values, **common)
    if forecast is not None:
        elements = [e.InputForecastElement(inferer=name, value=loss) for name, loss in forecast.items()]
        inner.forecast = e.InputForecast(forecaster=signer.address, forecast_elements=elements, **common)
    bundle = e.InputWorkerDataBundle(
        worker=signer.address, nonce=v3.Nonce(block_height=nonce), topic_id=topic, inference_forecasts_bundle=inner,
        inferences_forecasts_bundle_signature=sign_bundle(signer, signed or inner), pubkey=signer.public.hex(),
    )  # fmt: skip
    return e.InsertWorkerPayloadRequest(sender=(sender or signer).address, worker_data_bundle=bundle)


def report(signer: Key, nonce: int, losses: dict[str, float], topic: int = 77) -> e.InsertReputerPayloadRequest:
    bundle = bundles.write_losses(topic, nonce, signer.address, losses)
    wrapped = v9.InputReputerValueBundle(bundle, sign_bundle(signer, bundle), signer.public.hex())
    return e.InsertReputerPayloadRequest(sender=signer.address, reputer_value_bundle=wrapped)


def kinds(events: list[dict]) -> list[str]:
    return [event["type"].removeprefix("emissions.v10.") for event in events]


def values(events: list[dict], kind: str) -> list[dict[str, str]]:
    """The attributes of every event of one kind."""
    return [
        {item["key"]: item["value"] for item in event["attributes"]}
        for event in events
        if event["type"] == f"emissions.v10.{kind}"
    ]
