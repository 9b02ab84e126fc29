"""Block events in CometBFT's JSON form: typed events whose attribute values are JSON text."""

from __future__ import annotations

import json
from typing import Any

Event = dict[str, Any]

_MODULE = "emissions.v10"


def typed(name: str, **attributes: Any) -> Event:
    """Return event ``name`` of the emissions module.

    Integers and decimals become quoted strings, booleans stay bare, lists and messages become JSON; keys are sorted,
    as the chain's typed events have them.
    """
    rows = [{"key": key, "value": _text(value), "index": True} for key, value in sorted(attributes.items())]
    return {"type": f"{_MODULE}.{name}", "attributes": [*rows, {"key": "mode", "value": "EndBlock", "index": True}]}


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, (int, float)):
        return json.dumps(str(value))
    if isinstance(value, list):
        return json.dumps([str(item) for item in value], separators=(",", ":"))
    return json.dumps(value, separators=(",", ":"))


class Query:
    """A subscription: ``tm.event='NewBlockEvents' AND <type>.<attribute> = '"69"'``."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._conditions: list[tuple[str, str]] = []
        for part in text.split(" AND "):
            name, separator, value = part.partition("=")
            if not separator or not value.strip().startswith("'") or not value.strip().endswith("'"):
                raise ValueError(f"failed to parse query: {part.strip()!r} is no equality")
            self._conditions.append((name.strip(), value.strip()[1:-1]))

    def matches(self, events: list[Event]) -> bool:
        """Return whether one block with ``events`` satisfies every condition."""
        present = index(events)
        return all(value in present.get(name, []) for name, value in self._conditions)


def index(events: list[Event]) -> dict[str, list[str]]:
    """Return ``{"<type>.<attribute>": [values]}`` as the websocket's envelope carries it."""
    found: dict[str, list[str]] = {"tm.event": ["NewBlockEvents"]}
    for event in events:
        for attribute in event["attributes"]:
            found.setdefault(f"{event['type']}.{attribute['key']}", []).append(attribute["value"])
    return found
