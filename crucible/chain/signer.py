"""What signs: anything that has an address and a public key and returns signatures. The key may be elsewhere."""

from __future__ import annotations

from typing import Protocol


class Signer(Protocol):
    """A secp256k1 key that may be used and not seen.

    :class:`crucible.chain.wallet.Wallet` holds the key in this process. A remote signer (a hardware module, a
    service on another machine) implements the same three members and nothing else changes. Signing may block and may
    fail: raise :class:`crucible.errors.WalletError`, and the submission is tried again while its window is open.
    """

    @property
    def address(self) -> str:
        """The bech32 address, ``allo1…``."""
        ...

    @property
    def public(self) -> bytes:
        """The compressed public key, 33 bytes."""
        ...

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte signature (r, low s) of the SHA-256 of ``message``; equal for equal messages."""
        ...
