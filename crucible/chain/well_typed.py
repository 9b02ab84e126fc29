"""Whether an answer is what its definition says; the decoder takes a number where a message should be, and more."""

from __future__ import annotations

from dataclasses import fields
from functools import cache
from typing import Any

from betterproto2 import Message

_SCALARS: dict[str, type] = {"string": str, "bytes": bytes, "bool": bool, "double": float, "float": float}


def require_well_typed(message: Message) -> None:
    """Raise :class:`ValueError` if a field of ``message``, however deep, has another type than it was declared with."""
    kind: Any = type(message)
    for name, wanted, many, maps in _declared(kind):
        value = getattr(message, name)
        if value is None or (maps and isinstance(value, dict)):
            continue
        if many and not isinstance(value, list):
            raise ValueError(f"{kind.__name__}.{name} is no list")
        for item in value if many else [value]:
            if isinstance(item, Message):
                require_well_typed(item)
            elif wanted is None:
                if item is None or isinstance(item, (int, float, str, bytes, list)):
                    raise ValueError(f"{kind.__name__}.{name} is no message")
            elif not isinstance(item, wanted):
                raise ValueError(f"{kind.__name__}.{name} has the wrong wire type")


@cache
def _declared(kind: Any) -> tuple[tuple[str, type | None, bool, bool], ...]:
    """Return for each field its name, its scalar type or ``None`` for messages, and whether it repeats or maps."""
    rows: list[tuple[str, type | None, bool, bool]] = []
    for item in fields(kind):
        known = item.metadata["betterproto"]
        wanted = None if known.proto_type in ("message", "map") else _SCALARS.get(known.proto_type, int)
        if known.unwrap is not None and known.proto_type == "message":
            wanted = object  # times, durations and wrapped scalars come as Python's own
        rows.append((item.name, wanted, bool(known.repeated), known.map_meta is not None))
    return tuple(rows)
