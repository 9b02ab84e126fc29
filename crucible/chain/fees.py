"""What a submission may cost, and how long a balance lasts."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from crucible.errors import FeeAboveCap, SettingsError

TIERS = {"eco": 1.0, "standard": 1.5, "priority": 2.5}
"""How many times the market's price of gas is offered."""

_REQUIRED = re.compile(r"required: (\d{1,30})uallo")


@dataclass(frozen=True)
class FeePolicy:
    """How much to pay: gas times price times ``factor``, ``raise_by`` times more at each new attempt, at most ``cap``.

    Attributes
    ----------
    factor : float
        One of :data:`TIERS`, or any number of at least 1.
    cap : int
        In uallo; no transaction ever offers more.
    headroom : float
        The gas limit is this many times what the simulation used.
    raise_by : float
        What the fee is multiplied with after an attempt whose fee was too low.
    """

    factor: float = TIERS["standard"]
    cap: int = 10**16
    headroom: float = 1.3
    raise_by: float = 1.5

    def amount(self, gas: int, price: float, *, attempt: int = 0, required: int = 0) -> int:
        """Return the fee in uallo.

        Parameters
        ----------
        gas : int
            The gas limit.
        price : float
            The market's price, uallo per unit of gas.
        attempt : int
            How many fees for this payload were too low before.
        required : int
            What a node asked for when it refused, in uallo.

        Raises
        ------
        FeeAboveCap
            If the cap does not even reach the market's price.
        """
        least = max(math.ceil(gas * price), required)
        if least > self.cap:
            raise FeeAboveCap(f"The chain asks for a fee of {least} uallo; at most {self.cap} uallo are allowed.")
        return min(max(int(gas * price * self.factor * self.raise_by**attempt), least), self.cap)


def parse_fee(text: str) -> FeePolicy:
    """Return the policy that ``<tier>`` or ``<tier>:<cap in uallo>`` describes.

    Raises
    ------
    SettingsError
        If there is no such tier, or the cap is no whole number.
    """
    tier, _, cap = text.partition(":")
    if tier not in TIERS or not (cap.isascii() and (cap.isdigit() or not cap)) or cap.strip("0") == "" != cap:
        raise SettingsError(
            f"CRUCIBLE_FEE is {text!r}; it must be {', '.join(TIERS)}, and may name a cap in uallo: standard:50000000."
        )
    return FeePolicy(TIERS[tier], int(cap)) if cap else FeePolicy(TIERS[tier])


def required_fee(log: str) -> int:
    """Return the fee in uallo that a refusal's text asks for, or 0 if it names none."""
    found = _REQUIRED.search(log)
    return int(found[1]) if found else 0


def runway_days(balance: int, fee: float, per_day: float) -> float:
    """Return for how many days ``balance`` (uallo) pays ``per_day`` submissions at ``fee`` (uallo) each."""
    spent = fee * per_day
    return balance / spent if spent > 0 else math.inf
