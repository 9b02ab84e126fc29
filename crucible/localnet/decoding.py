"""Whether a decoded message is what its definition says; the decoder itself lets some damage through."""

from __future__ import annotations

from dataclasses import fields
from functools import cache
from typing import Any

from betterproto2 import Message

_SCALARS: dict[str, type] = {"int": int, "str": str, "bytes": bytes, "bool": bool, "float": float}

# what a message or an enumeration never is: a message that was sent as a number arrives as that number
_PLAIN = frozenset({*_SCALARS.values(), list, dict})


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
        for item in value if many and isinstance(value, list) else [value]:
            if isinstance(item, Message):
                refuse_ill_typed(item, strict=strict)
            elif item is None and optional:
                continue
            elif item is None or (not isinstance(item, scalar) if scalar else type(item) in _PLAIN):
                raise ValueError(f"{type(message).__name__}.{name} has the wrong wire type")


@cache
def _declared(kind: Any) -> tuple[tuple[str, type | None, bool, bool], ...]:
    rows: list[tuple[str, Any, bool, bool]] = []
    for item in fields(kind):
        text = str(item.type)
        many, optional = text.startswith("list["), text.endswith(" | None")
        scalar = _SCALARS.get(text.removeprefix("list[").removesuffix("]").removesuffix(" | None"))
        rows.append((item.name, scalar, many, optional))
    return tuple(rows)
