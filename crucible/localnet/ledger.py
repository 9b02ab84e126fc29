"""Accounts and validators. One ledger is the committed state, a copy of it is CheckTx's."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Self

DENOM = "uallo"


@dataclass
class Account:
    """One account. ``public`` is the compressed key in hex, once it has signed."""

    number: int
    sequence: int = 0
    balance: int = 0
    public: str = ""


@dataclass
class Ledger:
    """All accounts by address; an account appears when it is first funded.

    Attributes
    ----------
    validators : dict
        Operator address (``allovaloper…``) -> delegator -> staked uallo.
    """

    accounts: dict[str, Account] = field(default_factory=dict)
    validators: dict[str, dict[str, int]] = field(default_factory=dict)

    def credit(self, address: str, amount: int) -> None:
        """Add ``amount`` uallo, opening the account if there is none."""
        account = self.accounts.setdefault(address, Account(number=len(self.accounts)))
        account.balance += amount

    def debit(self, address: str, amount: int) -> bool:
        """Take ``amount`` uallo; return whether there was enough (otherwise nothing is taken)."""
        account = self.accounts.get(address)
        if account is None or account.balance < amount:
            return False
        account.balance -= amount
        return True

    def copy(self) -> Ledger:
        """Return an independent copy."""
        return Ledger(
            {address: Account(**vars(account)) for address, account in self.accounts.items()},
            {validator: dict(held) for validator, held in self.validators.items()},
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Return the ledger that :meth:`to_json` described."""
        accounts = {address: Account(**account) for address, account in values["accounts"].items()}
        return cls(accounts, values["validators"])
