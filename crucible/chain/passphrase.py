"""Where the passphrase of the wallets comes from: a person, the environment, a file, or the system's keyring.

The first that is there counts:

1. whoever was asked on the terminal (``--ask-passphrase``);
2. ``CRUCIBLE_KEYSTORE_PASSPHRASE``;
3. the file that ``CRUCIBLE_KEYSTORE_PASSPHRASE_FILE`` names (systemd credentials, container secrets);
4. the entry of the system's keyring that ``CRUCIBLE_KEYSTORE_KEYRING`` names, under the service ``crucible``;
5. the file ``.passphrase`` beside the wallets, which is made with a random value if there is none.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from crucible.chain.private_file import OTHERS, read_secret, write_private
from crucible.errors import WalletError

VARIABLE = "CRUCIBLE_KEYSTORE_PASSPHRASE"
FILE_VARIABLE = "CRUCIBLE_KEYSTORE_PASSPHRASE_FILE"
KEYRING_VARIABLE = "CRUCIBLE_KEYSTORE_KEYRING"
_SERVICE = "crucible"


class Passphrase:
    """The passphrase of the keystore in ``folder``; read when it is needed and never kept.

    Parameters
    ----------
    ask : callable, optional
        Asks a person; goes before everything else.
    """

    def __init__(self, folder: Path, environ: Mapping[str, str], ask: Callable[[], str] | None = None) -> None:
        self._environ = environ
        self._ask = ask
        self.file = folder / ".passphrase"
        self._next = folder / ".passphrase.next"

    def __repr__(self) -> str:
        return f"Passphrase(from {self.source})"

    @property
    def source(self) -> str:
        """Where it comes from, in words."""
        if self._ask is not None:
            return "the terminal"
        for name in (VARIABLE, FILE_VARIABLE, KEYRING_VARIABLE):
            if self._environ.get(name):
                return name
        return str(self.file)

    @property
    def own_file(self) -> bool:
        """Whether it is the file beside the wallets, which the keystore itself writes."""
        return self.source == str(self.file)

    def current(self) -> str:
        """Return the passphrase to encrypt with.

        Raises
        ------
        WalletError
            If its source does not yield one.
        """
        if self._ask is not None:
            return _stated(self._ask(), "What was typed")
        if stated := self._environ.get(VARIABLE):
            return stated
        if path := self._environ.get(FILE_VARIABLE):
            return read_secret(Path(path), "passphrase", forbidden=OTHERS | 0o020)
        if entry := self._environ.get(KEYRING_VARIABLE):
            found = _asked(lambda keyring: keyring.get_password(_SERVICE, entry))
            if not found:
                raise WalletError(
                    f"The system's keyring has no entry {entry!r} of the service {_SERVICE!r}; make it with "
                    f"`keyring set {_SERVICE} {entry}`."
                )
            return str(found)
        if not self.file.exists():
            with contextlib.suppress(FileExistsError):  # another process made it at the same moment; that one counts
                write_private(self.file, secrets.token_urlsafe(32) + "\n")
        return read_secret(self.file, "passphrase")

    def candidates(self) -> list[str]:
        """Return what a wallet may be encrypted with: two, while a change was interrupted."""
        found = [self.current()]
        if self.own_file and self._next.exists():
            found.append(read_secret(self._next, "passphrase"))
        return found

    def begin_change(self, new: str | None) -> str:
        """Keep the new passphrase where an interrupted change finds it, and return it.

        Parameters
        ----------
        new : str or None
            ``None`` for a random one, which only the file beside the wallets can keep.

        Raises
        ------
        WalletError
            If there is none to take.
        """
        if not self.own_file:
            if new is None:
                raise WalletError(f"The passphrase comes from {self.source}; state the new one with --ask-new.")
            return _stated(new, "The new passphrase")
        if not self._next.exists():
            write_private(self._next, (_stated(new, "It") if new is not None else secrets.token_urlsafe(32)) + "\n")
        return read_secret(self._next, "passphrase")

    def finish_change(self, new: str) -> None:
        """Make the new passphrase the current one, where that is ours to do; else its source must be told."""
        if self.own_file:
            self._next.replace(self.file)
        elif self._ask is None and not any(self._environ.get(name) for name in (VARIABLE, FILE_VARIABLE)):
            entry = self._environ[KEYRING_VARIABLE]
            _asked(lambda keyring: keyring.set_password(_SERVICE, entry, new))

    @property
    def needs_telling(self) -> bool:
        """Whether a person must put a new passphrase where the old one came from."""
        return not self.own_file and self.source != KEYRING_VARIABLE


def _stated(text: str, what: str) -> str:
    if not text.strip():
        raise WalletError(f"{what} is empty; that is no passphrase.")
    return text.strip()


def _asked(question: Callable[[Any], Any]) -> Any:
    try:
        import keyring
    except ImportError:
        raise WalletError(
            f"{KEYRING_VARIABLE} is set, but the package `keyring` is not installed; install allora-crucible[keyring]."
        ) from None
    try:
        return question(keyring)
    except Exception as error:  # noqa: BLE001 -- every back end raises its own, and its message may say too much
        raise WalletError(f"The system's keyring refuses ({type(error).__name__}).") from None
