"""Wallets at rest: one encrypted file each (scrypt, AES-256-GCM), readable by their owner only.

``NAME.json`` is encrypted; ``NAME.mnemonic`` holds the words as they are and is only made when a person says so.
Where the passphrase comes from is told in :mod:`crucible.chain.passphrase`.
"""

from __future__ import annotations

import json
import logging
import os
import re
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from crucible.chain.passphrase import Passphrase
from crucible.chain.private_file import open_to_others, read_secret, write_private
from crucible.chain.wallet import Wallet, new_mnemonic
from crucible.errors import WalletError

_LOG = logging.getLogger(__name__)
_NAME = re.compile(r"^[a-z0-9][a-z0-9_-]*$")  # as a recipe writes it; also keeps a name inside the folder
_COST, _BLOCK, _LANES = 2**15, 8, 1  # 32 MB and a tenth of a second per guess


class Keystore:
    """The wallets below ``folder``.

    Parameters
    ----------
    environ : mapping, optional
        The environment; ``os.environ`` by default.
    ask : callable, optional
        Asks a person for the passphrase, instead of every other source.
    """

    def __init__(
        self, folder: Path, environ: Mapping[str, str] | None = None, ask: Callable[[], str] | None = None
    ) -> None:
        self.folder = folder
        self.passphrase = Passphrase(folder, os.environ if environ is None else environ, ask)

    def names(self) -> list[str]:
        """Return the names of all wallets."""
        return sorted({path.stem for kind in ("json", "mnemonic") for path in self.folder.glob(f"*.{kind}")})

    def create(self, name: str, mnemonic: str | None = None, *, plain: bool = False) -> Wallet:
        """Make (or import) a wallet and store it.

        Parameters
        ----------
        plain : bool
            Store the words unencrypted, protected by the file's mode alone.

        Raises
        ------
        WalletError
            If there is one of that name already, or the name or the mnemonic is none.
        """
        path = self.path(name)
        if path.exists() or self._plain_path(name).exists():
            raise _taken(name)
        words = " ".join((mnemonic or new_mnemonic()).split())
        wallet = Wallet(words)
        text = words + "\n" if plain else _seal(words, wallet.address, self.passphrase.current())
        try:
            write_private(self._plain_path(name) if plain else path, text)
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
        return Wallet(self.mnemonic(name))

    def mnemonic(self, name: str) -> str:
        """Return the words of a wallet, for an export that a person has asked for; else as :meth:`open`."""
        if self._plain_path(name).exists():
            return read_secret(self._plain_path(name), "mnemonic")
        path = self.path(name)
        if path.exists() and open_to_others(path):
            _LOG.warning("%s may be read by others, who may then try passphrases; run `chmod 600 %s`", path, path)
        content = self._content(name)
        for passphrase in self.passphrase.candidates():
            words = _unseal(content, passphrase, path)
            if words is not None:
                if Wallet(words).address != content["address"]:
                    raise WalletError(f"{path} states an address that does not belong to its key.")
                return words
        raise WalletError(
            f"Wallet {name!r} cannot be opened: wrong passphrase ({self.passphrase.source}), or {path} was altered."
        )

    def address(self, name: str) -> str:
        """Return the address that a wallet's file states, without decrypting it.

        Raises
        ------
        WalletError
            If there is none of that name, or its file cannot be read.
        """
        if self._plain_path(name).exists():
            return self.open(name).address
        return str(self._content(name)["address"])

    def encrypted(self, name: str) -> str:
        """Return the encrypted file of a wallet, which is safe to copy; raises as :meth:`open`."""
        if self._plain_path(name).exists():
            raise WalletError(f"Wallet {name!r} is stored unencrypted; there is nothing encrypted to export.")
        self._content(name)
        return self.path(name).read_text()

    def import_encrypted(self, name: str, text: str, passphrase: str | None = None) -> Wallet:
        """Store an exported wallet under ``name``, encrypted with this keystore's passphrase.

        Parameters
        ----------
        text : str
            What :meth:`encrypted` returned.
        passphrase : str, optional
            What it is encrypted with; this keystore's passphrase by default.

        Raises
        ------
        WalletError
            If it cannot be decrypted, or the name is taken.
        """
        content = _parse(text, "The file")
        tried = self.passphrase.candidates() if passphrase is None else [passphrase]
        found = [words for item in tried if (words := _unseal(content, item, "the file")) is not None]
        if not found:
            raise WalletError("The file cannot be decrypted: wrong passphrase, or it was altered.")
        return self.create(name, found[0])

    def change_passphrase(self, new: str | None) -> list[str]:
        """Encrypt every wallet anew; return the names of those that were.

        A change that was interrupted is finished by the next one: until then both passphrases open.

        Raises
        ------
        WalletError
            If a wallet opens with neither, or no new passphrase is stated where one is needed.
        """
        old = self.passphrase.current()
        to = self.passphrase.begin_change(new)
        changed = []
        for path in sorted(self.folder.glob("*.json")):
            content = self._content(path.stem)
            if _unseal(content, to, path) is not None:
                continue
            words = _unseal(content, old, path)
            if words is None:
                raise WalletError(f"Wallet {path.stem!r} cannot be opened with the old passphrase; it stays as it is.")
            write_private(path, _seal(words, str(content["address"]), to), replace=True)
            changed.append(path.stem)
        self.passphrase.finish_change(to)
        return changed

    def path(self, name: str) -> Path:
        """Return where the wallet ``name`` is kept; raises :class:`WalletError` for what is no name."""
        if not _NAME.match(name):
            raise WalletError(f"{name!r} is no name for a wallet; use small letters, digits, - and _.")
        return self.folder / f"{name}.json"

    @property
    def passphrase_file(self) -> Path:
        """Where the passphrase is kept when no other source is stated."""
        return self.passphrase.file

    def _plain_path(self, name: str) -> Path:
        return self.path(name).with_suffix(".mnemonic")

    def _content(self, name: str) -> dict[str, Any]:
        path = self.path(name)
        try:
            return _parse(path.read_text(), str(path))
        except FileNotFoundError:
            raise _absent(name) from None
        except (OSError, UnicodeDecodeError) as error:
            raise WalletError(f"{path} is damaged ({type(error).__name__}).") from None


def _parse(text: str, where: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
        return {
            "address": str(content["address"]),
            **{part: bytes.fromhex(content[part]) for part in ("salt", "nonce", "sealed")},
        }
    except (ValueError, KeyError, TypeError) as error:
        raise WalletError(f"{where} is damaged ({type(error).__name__}).") from None


def _seal(words: str, address: str, passphrase: str) -> str:
    salt, nonce = secrets.token_bytes(16), secrets.token_bytes(12)
    sealed = AESGCM(_key(passphrase, salt)).encrypt(nonce, words.encode(), address.encode())
    content = {"address": address, "salt": salt.hex(), "nonce": nonce.hex(), "sealed": sealed.hex()}
    return json.dumps(content, indent=1) + "\n"


def _unseal(content: Mapping[str, Any], passphrase: str, where: Path | str) -> str | None:
    """Return the words, or ``None`` if this passphrase does not open them."""
    try:
        key = _key(passphrase, content["salt"])
        return AESGCM(key).decrypt(content["nonce"], content["sealed"], content["address"].encode()).decode()
    except InvalidTag:
        return None
    except ValueError as error:  # a nonce of a wrong length
        raise WalletError(f"{where} is damaged ({type(error).__name__}).") from None


def _key(passphrase: str, salt: bytes) -> bytes:
    return Scrypt(salt=salt, length=32, n=_COST, r=_BLOCK, p=_LANES).derive(passphrase.encode())


def _absent(name: str) -> WalletError:
    return WalletError(f"There is no wallet {name!r}; make it with `crucible wallet create {name}`.")


def _taken(name: str) -> WalletError:
    return WalletError(f"There is a wallet {name!r} already; wallets are never overwritten.")
