"""The chain's bundles of values as one dictionary: names for what a network infers and what it loses.

``combined`` · ``naive`` · ``without:<inferer>`` · ``without_forecaster:<forecaster>`` · ``only:<forecaster>`` ·
``inferer:<address>`` · ``forecaster:<address>`` · ``withheld:<forecaster>:<inferer>``, in the order of
:class:`crucible.network.layout.Layout`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from allora_sdk.rpc_client.protos.emissions import v3, v9
from allora_sdk.rpc_client.protos.emissions import v10 as e

from crucible.localnet.decimals import decimal_text

Values = dict[str, float]


def names(inferers: Sequence[str], forecasters: Sequence[str]) -> list[str]:
    """Return the names of all ``layout(n, K).size`` values of an epoch; addresses ascending."""
    return [
        "combined",
        "naive",
        *(f"without:{inferer}" for inferer in inferers),
        *(f"without_forecaster:{forecaster}" for forecaster in forecasters),
        *(f"only:{forecaster}" for forecaster in forecasters),
        *(f"inferer:{inferer}" for inferer in inferers),
        *(f"forecaster:{forecaster}" for forecaster in forecasters),
        *(f"withheld:{forecaster}:{inferer}" for forecaster in forecasters for inferer in inferers),
    ]


def named(values: np.ndarray, keys: Sequence[str]) -> Values:
    """Return ``values`` (x,) by name, without those that are NaN; of ``keys`` the first x count."""
    return {key: float(value) for key, value in zip(keys, values.tolist(), strict=False) if np.isfinite(value)}


def row(values: Mapping[str, float], keys: Sequence[str]) -> list[float]:
    """Return ``values`` in the order of ``keys``, NaN where there is none."""
    return [values.get(key, np.nan) for key in keys]


def of(values: Mapping[str, float], kind: str) -> dict[str, float]:
    """Return the values of one kind by address, ascending: ``of(losses, "inferer")``."""
    size = len(kind) + 1
    return {key[size:]: value for key, value in sorted(values.items()) if key.startswith(f"{kind}:")}


def read_losses(bundle: v9.InputValueBundle) -> Values:
    """Return what a reputer reports. Of a name that appears twice the first counts."""
    found: Values = {}
    lists = (
        ("inferer", bundle.inferer_values),
        ("forecaster", bundle.forecaster_values),
        ("without", bundle.one_out_inferer_values),
        ("without_forecaster", bundle.one_out_forecaster_values),
        ("only", bundle.one_in_forecaster_values),
    )
    for kind, items in lists:
        for item in items:
            found.setdefault(f"{kind}:{item.worker}", float(item.value))
    for group in bundle.one_out_inferer_forecaster_values:
        for item in group.one_out_inferer_values:
            found.setdefault(f"withheld:{group.forecaster}:{item.worker}", float(item.value))
    return {"combined": float(bundle.combined_value), "naive": float(bundle.naive_value), **found}


def write_losses(topic_id: int, nonce: int, reputer: str, losses: Mapping[str, float]) -> v9.InputValueBundle:
    """Return the bundle in which a reputer reports ``losses`` (log10)."""
    return v9.InputValueBundle(
        **_fields(
            topic_id, nonce, reputer, losses, v9.InputWorkerAttributedValue, v9.InputWithheldWorkerAttributedValue,
            v9.InputOneOutInfererForecasterValues,
        )
    )  # fmt: skip


def loss_bundle(topic_id: int, nonce: int, losses: Mapping[str, float], reputer: str = "") -> v3.ValueBundle:
    """Return ``losses`` as queries answer them; of the network, or of one ``reputer``."""
    return v3.ValueBundle(
        **_fields(
            topic_id, nonce, reputer, losses, v3.WorkerAttributedValue, v3.WithheldWorkerAttributedValue,
            v3.OneOutInfererForecasterValues,
        )
    )  # fmt: skip


def _fields(
    topic_id: int, nonce: int, reputer: str, losses: Mapping[str, float], given: Any, withheld: Any, group: Any
) -> dict[str, Any]:
    texts = {key: decimal_text(value) for key, value in losses.items()}
    groups: dict[str, list[Any]] = {}
    for pair, text in _texts(texts, "withheld"):
        forecaster, _, inferer = pair.partition(":")
        groups.setdefault(forecaster, []).append(withheld(inferer, text))
    return {
        "topic_id": topic_id,
        "reputer_request_nonce": v3.ReputerRequestNonce(v3.Nonce(nonce)),
        "reputer": reputer,
        "combined_value": texts["combined"],
        "naive_value": texts["naive"],
        "inferer_values": [given(*item) for item in _texts(texts, "inferer")],
        "forecaster_values": [given(*item) for item in _texts(texts, "forecaster")],
        "one_out_inferer_values": [withheld(*item) for item in _texts(texts, "without")],
        "one_out_forecaster_values": [withheld(*item) for item in _texts(texts, "without_forecaster")],
        "one_in_forecaster_values": [given(*item) for item in _texts(texts, "only")],
        "one_out_inferer_forecaster_values": [group(*item) for item in sorted(groups.items())],
    }


def event_bundle(losses: Mapping[str, float]) -> e.EventValueBundle:
    """Return ``losses`` as events carry them: addresses once, values in their order, NaN where one is missing."""
    inferers, forecasters = list(of(losses, "inferer")), list(of(losses, "forecaster"))

    def column(kind: str, addresses: list[str]) -> list[str]:
        found = of(losses, kind)
        return [decimal_text(found[item]) if item in found else "NaN" for item in addresses] if found else []

    pairs = of(losses, "withheld")
    withheld = [
        [decimal_text(pairs[f"{k}:{j}"]) if f"{k}:{j}" in pairs else "NaN" for j in inferers] for k in forecasters
    ]
    return e.EventValueBundle(
        combined_value=decimal_text(losses["combined"]),
        naive_value=decimal_text(losses["naive"]),
        inferer_addresses=inferers,
        forecaster_addresses=forecasters,
        inferer_values=column("inferer", inferers),
        forecaster_values=column("forecaster", forecasters),
        one_out_inferer_values=column("without", inferers),
        one_out_forecaster_values=column("without_forecaster", forecasters),
        one_in_forecaster_values=column("only", forecasters),
        one_out_inferer_forecaster_values=[json.dumps(line, separators=(",", ":")) for line in withheld if pairs],
    )


def network_bundle(topic_id: int, nonce: int, values: Mapping[str, float]) -> e.NetworkInferenceBundle:
    """Return what the network inferred as queries answer it; scalar topics have the one label ``y``."""
    if "combined" not in values:
        return e.NetworkInferenceBundle(topic_id=topic_id, nonce=nonce)
    return e.NetworkInferenceBundle(
        topic_id=topic_id,
        nonce=nonce,
        combined_value=_label(values["combined"]),
        naive_value=_label(values["naive"]),
        inferer_values=[e.WorkerInference(key, _label(value)) for key, value in of(values, "inferer").items()],
        forecaster_values=[e.WorkerInference(key, _label(value)) for key, value in of(values, "forecaster").items()],
        one_out_inferer_values=[
            e.OneOutInfererValue(key, _label(value)) for key, value in of(values, "without").items()
        ],
        one_out_forecaster_values=[
            e.OneOutForecasterValue(key, _label(value)) for key, value in of(values, "without_forecaster").items()
        ],
        one_in_forecaster_values=[
            e.OneInForecasterValue(key, _label(value)) for key, value in of(values, "only").items()
        ],
        one_out_inferer_forecaster_values=[
            e.OneOutInfererForecasterValue(*pair.split(":"), _label(value))
            for pair, value in of(values, "withheld").items()
        ],
    )


def event_network(topic_id: int, nonce: int, values: Mapping[str, float]) -> e.EventNetworkInferenceBundle:
    """Return what the network inferred as its event carries it: every family one JSON array, one row per worker."""
    inferers, forecasters = list(of(values, "inferer")), list(of(values, "forecaster"))

    def rows(kind: str) -> str:
        return json.dumps([[decimal_text(value)] for value in of(values, kind).values()], separators=(",", ":"))

    return e.EventNetworkInferenceBundle(
        topic_id=topic_id,
        nonce=nonce,
        label_names=["y"],
        inferer_addresses=inferers,
        forecaster_addresses=forecasters,
        combined_value=json.dumps([decimal_text(values["combined"])]),
        naive_value=json.dumps([decimal_text(values["naive"])]),
        inferer_values=rows("inferer"),
        forecaster_values=rows("forecaster"),
        one_out_inferer_values=rows("without"),
        one_out_forecaster_values=rows("without_forecaster"),
        one_in_forecaster_values=rows("only"),
        one_out_inferer_forecaster_values=[rows(f"withheld:{forecaster}") for forecaster in forecasters],
    )


def _texts(texts: Mapping[str, str], kind: str) -> list[tuple[str, str]]:
    size = len(kind) + 1
    return [(key[size:], text) for key, text in sorted(texts.items()) if key.startswith(f"{kind}:")]


def _label(value: float) -> list[e.LabeledValue]:
    return [e.LabeledValue(label_id=0, label_name="y", value=decimal_text(value))]
