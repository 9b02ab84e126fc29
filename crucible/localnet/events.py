"""Events in CometBFT's JSON form: typed events whose attribute values are JSON text."""

from __future__ import annotations

import json
from typing import Any

from betterproto2 import Casing, Message

Event = dict[str, Any]

_CHAIN_NAMES = {"EventEmaScoresSet": "EventEMAScoresSet"}  # where the SDK's generator changed the capitals


def typed(message: Message, *, mode: str = "EndBlock") -> Event:
    """Return ``message`` of the emissions module as the chain's typed event.

    Integers and decimals become quoted strings, booleans stay bare, lists and messages become JSON with the proto's
    own field names; every field is there, keys are sorted.

    Parameters
    ----------
    message : Message
        One of the SDK's ``Event…`` classes.
    mode : str
        Which part of the block it is of; empty for an event of a transaction.
    """
    kind = type(message)
    package = kind.__module__.split(".protos.")[1]
    values = message.to_dict(casing=Casing.SNAKE, include_default_values=True)
    rows = [{"key": key, "value": _text(value), "index": True} for key, value in sorted(values.items())]
    if mode:
        rows.append({"key": "mode", "value": mode, "index": True})
    return {"type": f"{package}.{_CHAIN_NAMES.get(kind.__name__, kind.__name__)}", "attributes": rows}


def _text(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


class Query:
    """A subscription: ``tm.event='NewBlockEvents' AND <type>.<attribute> = '"69"'``.

    Raises
    ------
    ValueError
        If ``text`` is anything but equalities joined by AND.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self._conditions: list[tuple[str, str]] = []
        for part in text.split(" AND "):
            name, separator, value = part.partition("=")
            if not separator or not value.strip().startswith("'") or not value.strip().endswith("'"):
                raise ValueError(f"failed to parse query: {part.strip()!r} is no equality")
            self._conditions.append((name.strip(), value.strip()[1:-1]))

    def matches(self, kind: str, present: dict[str, list[str]]) -> bool:
        """Return whether a message satisfies every condition.

        Parameters
        ----------
        kind : str
            Its ``tm.event``.
        present : dict
            What :func:`index` returned of its events.
        """
        return all(
            value == kind if name == "tm.event" else value in present.get(name, ()) for name, value in self._conditions
        )


def index(kind: str, events: list[Event], **more: str) -> dict[str, list[str]]:
    """Return ``{"<type>.<attribute>": [values]}`` as the websocket's envelope carries it; ``kind`` is ``tm.event``."""
    found: dict[str, list[str]] = {
        "tm.event": [kind],
        **{name.replace("_", "."): [item] for name, item in more.items()},
    }
    for event in events:
        for attribute in event["attributes"]:
            found.setdefault(f"{event['type']}.{attribute['key']}", []).append(attribute["value"])
    return found
