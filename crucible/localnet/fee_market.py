"""The fee market: a base price of gas that rises with full blocks and falls back with empty ones (as EIP-1559)."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import Any, Self

from allora_sdk.rpc_client.protos.feemarket.feemarket import v1 as feemarket

from crucible.localnet.ledger import DENOM

GAS_PRICE = 10
"""The lowest price, uallo per unit of gas."""

_UNITS = 10**18  # a LegacyDec travels as an integer with 18 decimals


@dataclass
class FeeMarket:
    """The market's state.

    Attributes
    ----------
    price : float
        Uallo per unit of gas, never below ``lowest``.
    largest_block : int
        Gas; a block of half of it leaves the price as it is.
    learning_rate : float
        The most by which the price moves in one block, as a share.
    """

    price: float = GAS_PRICE
    lowest: float = GAS_PRICE
    learning_rate: float = 0.125
    largest_block: int = 30_000_000
    window: list[int] = field(default_factory=lambda: [0])

    def end_block(self, gas: int) -> None:
        """Move the price after a block that used ``gas``."""
        target = self.largest_block / 2
        change = self.learning_rate * (min(gas, self.largest_block) - target) / target
        self.price = max(self.lowest, self.price * (1 + change))
        self.window = [gas]

    def required(self, gas_limit: int) -> int:
        """Return the lowest fee, uallo, of a transaction with ``gas_limit``, rounded up."""
        return math.ceil(Decimal(gas_limit) * Decimal(str(self.price)))

    @property
    def legacy_price(self) -> str:
        """The price as gRPC carries it: 10 is ``10000000000000000000``."""
        return str(int(Decimal(str(self.price)) * _UNITS))

    @property
    def text(self) -> str:
        """The price as logs write it."""
        return f"{Decimal(str(self.price)):.18f}"

    def state(self) -> feemarket.State:
        """Return the answer to the State query."""
        return feemarket.State(
            base_gas_price=self.legacy_price, learning_rate=_dec(self.learning_rate), window=self.window, index=0
        )

    def params(self) -> feemarket.Params:
        """Return the answer to the Params query."""
        return feemarket.Params(
            alpha="0", beta=_dec(1.0), gamma="0", delta="0", min_base_gas_price=_dec(self.lowest),
            min_learning_rate=_dec(self.learning_rate), max_learning_rate=_dec(self.learning_rate),
            max_block_utilization=self.largest_block, window=1, fee_denom=DENOM, enabled=True, distribute_fees=False,
        )  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Return the market that :meth:`to_json` described."""
        return cls(**values)


def _dec(value: float) -> str:
    return str(int(Decimal(str(value)) * _UNITS))
