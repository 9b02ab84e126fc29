"""What can be made to go wrong with the practice exchange's stream while it runs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

_Countdown = Literal["skip_closed", "lie_open", "duplicate_closed", "garbage"]


@dataclass
class StreamFaults:
    """Faults that a test sets from its own thread; the server looks at them before each message.

    The counts run down over all connections together, so a test can also see that a fault has happened. A count that is
    set while the same fault is happening may lose one; set it before the clock moves.

    Parameters
    ----------
    skip_closed : int
        So many closed candles are not sent.
    lie_open : int
        So many closed candles are sent with ``"x":false`` and never with ``true``.
    duplicate_closed : int
        So many closed candles are sent twice.
    reorder : bool
        A closed candle is held back until the next one of its stream has been sent; the one after that is held back
        again. What is held back when this is turned off is sent then.
    silent : bool
        Connections, requests and pings are accepted, nothing is sent but pongs. What would have been sent meanwhile is
        lost, as it would be on the exchange.
    close_after : int, optional
        The connection breaks, without a closing handshake, after so many messages; this is ``None`` again then.
    refuse : bool
        The handshake is answered with HTTP 503.
    garbage : int
        So many messages are replaced by ``not json``.
    """

    skip_closed: int = 0
    lie_open: int = 0
    duplicate_closed: int = 0
    reorder: bool = False
    silent: bool = False
    close_after: int | None = None
    refuse: bool = False
    garbage: int = 0

    def closed(self, event: dict[str, Any], held: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return what is sent instead of the ``event`` of a closed candle.

        Parameters
        ----------
        event : dict
            The event.
        held : list
            What is held back of the same stream; changed by this.
        """
        if self._take("skip_closed"):
            return []
        if self._take("lie_open"):
            return [{**event, "k": {**event["k"], "x": False}}]
        if self.reorder and not held:
            held.append(event)
            return []
        sent = [event] * (2 if self._take("duplicate_closed") else 1) + held
        held.clear()
        return sent

    def text(self, message: dict[str, Any]) -> str:
        """Return the text of ``message``, and count it."""
        if self.close_after is not None:
            self.close_after -= 1
        return "not json" if self._take("garbage") else json.dumps(message, separators=(",", ":"))

    def breaks(self) -> bool:
        """Return whether the connection is to break now; no other will after it."""
        due = self.close_after is not None and self.close_after <= 0
        if due:
            self.close_after = None
        return due

    def _take(self, name: _Countdown) -> bool:
        left: int = getattr(self, name)
        if left > 0:
            setattr(self, name, left - 1)
        return left > 0
