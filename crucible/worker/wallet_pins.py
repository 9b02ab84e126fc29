"""Which wallet a name stands for, the same on every host of a fleet."""

from __future__ import annotations

from crucible.errors import WalletError
from crucible.worker.fleet_database import FleetDatabase


def pin_wallet(database: FleetDatabase, name: str, address: str, *, anew: bool = False) -> None:
    """Make sure that ``name`` is the same wallet on every host, or record it if it is new.

    A lease is for a name. Were it another key elsewhere, two hosts would each submit for what they take to be theirs.

    Parameters
    ----------
    anew : bool
        Record ``address`` even if another one was recorded: what a person says.

    Raises
    ------
    WalletError
        If the name stands for another address, or the address has another name.
    """
    with database.transaction():
        if anew:
            database.change("DELETE FROM wallet WHERE name = ? OR address = ?", name, address)
        known = database.query("SELECT name, address FROM wallet WHERE name = ? OR address = ?", name, address)
        if not known:
            database.put("wallet", ("name",), {"name": name, "address": address})
    if known and known[0] != (name, address):
        raise WalletError(
            f"On this host wallet {name!r} is {address}, but the fleet knows {known[0][0]!r} as {known[0][1]}; "
            f"copy the wallet's file here, or, if it was replaced on purpose, run `crucible wallet pin {name}`."
        )


def pinned_address(database: FleetDatabase, name: str) -> str | None:
    """Return the address that the fleet knows ``name`` by."""
    rows = database.query("SELECT address FROM wallet WHERE name = ?", name)
    return str(rows[0][0]) if rows else None
