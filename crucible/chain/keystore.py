"""Wallets at rest: one encrypted file each (scrypt, AES-256-GCM), readable by their owner only.

The passphrase comes from ``CRUCIBLE_KEYSTORE_PASSPHRASE``, or from the file ``.passphrase`` beside the wallets, which
is made with a random value when neither exists. Keep that file elsewhere, or set the variable, where others can read
the disk.
"""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from crucible.chain.wallet import Wallet, new_mnemonic
from crucible.errors import StoreError, WalletError

_NAME = re.compile(r"^[a-z0-9][a-z0-9_-]*$")  # as a recipe writes it; also keeps a name inside the folder
_COST, _BLOCK, _LANES = 2**15, 8, 1  # 32 MB and a tenth of a second per guess


class Keystore:
    """The wallets below ``folder``."""

    def __init__(self, folder: Path, environ: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self._environ = os.environ if environ is None else environ

    def names(self) -> list[str]:
        """Return the names of all wallets."""
        return sorted(path.stem for path in self.folder.glob("*.json"))

    def create(self, name: str, mnemonic: str | None = None) -> Wallet:
        """Make (or import) a wallet and store it.

        Raises
        ------
        WalletError
            If there is one of that name already, or the name or the mnemonic is none.
        """
        path = self.path(name)
        if path.exists():
            raise _taken(name)
        words = mnemonic or new_mnemonic()
        wallet = Wallet(words)
        salt, nonce = secrets.token_bytes(16), secrets.token_bytes(12)
        sealed = AESGCM(self._key(salt)).encrypt(nonce, words.encode(), wallet.address.encode())
        content = {"address": wallet.address, "salt": salt.hex(), "nonce": nonce.hex(), "sealed": sealed.hex()}
        try:
            _write_private(path, json.dumps(content, indent=1) + "\n")
        except FileExistsError:
            raise _taken(name) from None
        return wallet

    def open(self, name: str) -> Wallet:
        """Decrypt a wallet.

        Raises
        ------
        WalletError
            If there is none of that name, the passphrase is wrong, or the file was altered.
        """
        path = self.path(name)
        try:
            content = json.loads(path.read_text())
            salt, nonce, sealed = (bytes.fromhex(content[part]) for part in ("salt", "nonce", "sealed"))
            address = str(content["address"])
        except FileNotFoundError:
            raise _absent(name) from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise WalletError(f"{path} is damaged ({type(error).__name__}).") from None
        try:
            words = AESGCM(self._key(salt)).decrypt(nonce, sealed, address.encode()).decode()
        except InvalidTag:
            raise WalletError(f"Wallet {name!r} cannot be opened: wrong passphrase, or {path} was altered.") from None
        wallet = Wallet(words)
        if wallet.address != address:
            raise WalletError(f"{path} states an address that does not belong to its key.")
        return wallet

    def address(self, name: str) -> str:
        """Return the address that a wallet's file states, without decrypting it.

        Raises
        ------
        WalletError
            If there is none of that name, or its file cannot be read.
        """
        try:
            return str(json.loads(self.path(name).read_text())["address"])
        except FileNotFoundError:
            raise _absent(name) from None
        except (OSError, ValueError, KeyError) as error:
            raise WalletError(f"Wallet {name!r} cannot be read ({type(error).__name__}).") from None

    def path(self, name: str) -> Path:
        """Return where the wallet ``name`` is kept; raises :class:`WalletError` for what is no name."""
        if not _NAME.match(name):
            raise WalletError(f"{name!r} is no name for a wallet; use small letters, digits, - and _.")
        return self.folder / f"{name}.json"

    @property
    def passphrase_file(self) -> Path:
        """Where the passphrase is kept when the environment states none."""
        return self.folder / ".passphrase"

    def _key(self, salt: bytes) -> bytes:
        return Scrypt(salt=salt, length=32, n=_COST, r=_BLOCK, p=_LANES).derive(self._passphrase().encode())

    def _passphrase(self) -> str:
        if stated := self._environ.get("CRUCIBLE_KEYSTORE_PASSPHRASE"):
            return stated
        path = self.passphrase_file
        try:
            if not path.exists():
                _write_private(path, secrets.token_urlsafe(32) + "\n")
        except FileExistsError:
            pass  # another process made it at the same moment; that one counts
        try:
            words = path.read_text().strip()
        except OSError as error:
            raise WalletError(f"The passphrase file {path} cannot be read: {error.strerror}.") from None
        if not words:
            raise WalletError(f"The passphrase file {path} is empty; put back your copy of it.")
        return words


def _absent(name: str) -> WalletError:
    return WalletError(f"There is no wallet {name!r}; make it with `crucible wallet create {name}`.")


def _taken(name: str) -> WalletError:
    return WalletError(f"There is a wallet {name!r} already; wallets are never overwritten.")


def _write_private(path: Path, text: str) -> None:
    """Write a file that is there with its whole content or not at all, and never replaces another.

    Raises
    ------
    FileExistsError
        If ``path`` is taken, also by another process at this very moment.
    StoreError
        If the disk refuses.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, path)  # unlike a rename, this refuses to replace a file
        folder = os.open(path.parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)
    except FileExistsError:
        raise
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror or error}.") from error
    finally:
        temporary.unlink(missing_ok=True)
