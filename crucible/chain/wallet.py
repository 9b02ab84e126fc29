"""A wallet: an address, and signatures. The key never shows."""

from __future__ import annotations

from typing import Any, Never

from crucible.errors import WalletError

PREFIX = "allo"


class Wallet:
    """A secp256k1 key derived from a mnemonic at m/44'/118'/0'/0/0, as cosmpy derives it.

    The :class:`crucible.chain.signer.Signer` whose key is in this process.
    """

    def __init__(self, mnemonic: str) -> None:
        from cosmpy.aerial.wallet import LocalWallet

        try:
            self._wallet: Any = LocalWallet.from_mnemonic(mnemonic, prefix=PREFIX)
        except Exception as error:  # noqa: BLE001 -- whatever it raises, its message could quote the mnemonic
            raise WalletError(f"This is no valid mnemonic ({type(error).__name__}).") from None
        self.address = str(self._wallet.address())
        self.public: bytes = self._wallet.public_key().public_key_bytes

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte signature (r, low s) of the SHA-256 of ``message``; deterministic."""
        signature: bytes = self._wallet.signer().sign(message)
        return signature

    def __reduce__(self) -> Never:
        # another process must open the wallet itself: a pickled key would lie in a pipe, a file or a core dump
        raise WalletError("A wallet cannot be sent to another process.")

    def __repr__(self) -> str:
        return f"Wallet({self.address})"


def new_mnemonic() -> str:
    """Return 24 random words."""
    from cosmpy.mnemonic import generate_mnemonic

    return str(generate_mnemonic(256))
