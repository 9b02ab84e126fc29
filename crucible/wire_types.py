"""Whether a decoded message is what its definition says; the decoder itself lets some damage through."""

from __future__ import annotations

from dataclasses import fields
from functools import cache
from typing import Any

from betterproto2 import Message

_SCALARS: dict[str, type] = {"string": str, "bytes": bytes, "bool": bool, "double": float, "float": float}

# what a message never is: one that was sent as a number, for example, arrives as that number
_PLAIN = (int, float, str, bytes, list, dict)


def refuse_ill_typed(message: Message, *, strict: bool = False) -> None:
    """Raise :class:`ValueError` if a field of ``message``, however deep, has another type than it was declared with.

    A number that was sent with the wire type of a packed list, for example, arrives as a list. With ``strict`` fields
    that the definition does not have are refused as well, as the chain refuses them in transactions.
    """
    kind: Any = type(message)
    if strict and message._unknown_fields:
        raise ValueError(f"{kind.__name__} has unknown fields")
    for name, scalar, many, optional in _declared(kind):
        value = getattr(message, name)
        if many and not isinstance(value, list):
            raise ValueError(f"{kind.__name__}.{name} is no list")
        for item in value if many else [value]:
            if isinstance(item, Message):
                refuse_ill_typed(item, strict=strict)
            elif item is None and optional:
                continue
            elif item is None or (not isinstance(item, scalar) if scalar else isinstance(item, _PLAIN)):
                raise ValueError(f"{kind.__name__}.{name} has the wrong wire type")


@cache
def _declared(kind: Any) -> tuple[tuple[str, type | None, bool, bool], ...]:
    """Return for each field its name, its scalar type or ``None`` for messages, and whether it repeats or may lack."""
    rows: list[tuple[str, type | None, bool, bool]] = []
    for item in fields(kind):
        known = item.metadata["betterproto"]
        if known.map_meta is not None:
            scalar: type | None = dict
        elif known.proto_type == "message":
            scalar = object if known.unwrap is not None else None  # times and the like come as Python's own
        else:
            scalar = _SCALARS.get(known.proto_type, int)
        optional = not known.repeated and str(item.type).endswith(" | None")
        rows.append((item.name, scalar, bool(known.repeated) and known.map_meta is None, optional))
    return tuple(rows)
