"""The chain's way of saying no: codespace, code and text, as the real node words them."""

from __future__ import annotations


class Refusal(Exception):
    """A transaction, or one of its messages, is refused."""

    def __init__(self, codespace: str, code: int, log: str) -> None:
        self.codespace = codespace
        self.code = code
        self.log = log
        super().__init__(f"{codespace} {code}: {log}")


def sdk(code: int, log: str) -> Refusal:
    """Return a refusal by the Cosmos SDK."""
    return Refusal("sdk", code, log)


def emissions(code: int, log: str) -> Refusal:
    """Return a refusal by the emissions module."""
    return Refusal("emissions", code, log)


def plain(log: str) -> Refusal:
    """Return what a plain Go error becomes: codespace ``undefined``, code 1."""
    return Refusal("undefined", 1, log)
