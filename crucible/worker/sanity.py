"""Checks between a prediction and a signature: what would be absurd is not submitted."""

from __future__ import annotations

import math
import re
from statistics import pstdev

from crucible.chain.answers import NetworkInference
from crucible.errors import Withheld
from crucible.worker.reasons import Reason

_LARGEST_RETURN = 0.5
_RETURN = re.compile(r"log[\s_-]*returns?\b", re.IGNORECASE)
_PRICE = re.compile(r"\bprices?\b", re.IGNORECASE)


def require_sane_return(log_return: float) -> None:
    """Raise :class:`Withheld` unless a log return over a topic's horizon is finite and below 0.5 in size."""
    if not math.isfinite(log_return) or abs(log_return) > _LARGEST_RETURN:
        raise Withheld(Reason.MODEL_ABSURD, f"The model predicts a log return of {log_return}, which cannot be meant.")


def units_of(metadata: str) -> str | None:
    """Return ``log_return`` or ``price`` if a topic's metadata says which of them it asks for."""
    if _RETURN.search(metadata):
        return "log_return"
    return "price" if _PRICE.search(metadata) else None


def require_units(metadata: str, target: str) -> None:
    """Raise :class:`Withheld` if the topic's metadata contradicts the recipe's target."""
    stated = units_of(metadata)
    if stated is not None and stated != target:
        raise Withheld(
            Reason.MODEL_ABSURD,
            f"The topic asks for a {stated} ({metadata[:60]!r}), and the recipe answers a {target}.",
        )


def require_sane_value(
    value: float, target: str, network: NetworkInference | None, *, close: float, scale: float, distance: float
) -> None:
    """Check what would be submitted against what the network said last.

    Parameters
    ----------
    value : float
        In the topic's units.
    target : str
        ``price`` or ``log_return``.
    network : NetworkInference or None
        The newest one; without it only the unit is checked.
    close : float
        The newest close; 0 if unknown.
    scale : float
        Standard deviation of log returns over the horizon; 0 if unknown.
    distance : float
        How many spreads the value may lie from the combined inference. The spread is the larger of the standard
        deviation of the inferers' values and of the horizon's returns: the market moves between two epochs.

    Raises
    ------
    Withheld
        If it is not finite, not a price, or too far away.
    """
    if not math.isfinite(value) or (target == "price" and value <= 0):
        raise Withheld(Reason.MODEL_ABSURD, f"{value} is no {target}.")
    if network is None:
        return
    values = list(network.inferers.values())
    spread = max(
        pstdev(values) if len(values) > 1 else 0.0,
        scale * (close or abs(network.combined)) if target == "price" else scale,
    )
    away = abs(value - network.combined)
    if spread > 0 and away > distance * spread:
        raise Withheld(
            Reason.MODEL_ABSURD,
            f"{value:.8g} is {away / spread:.0f} spreads from the network's last {network.combined:.8g}; at most "
            f"{distance:g} are allowed (deploy.distance).",
        )
