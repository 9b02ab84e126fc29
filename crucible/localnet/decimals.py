"""Decimals as the chain writes and bounds them."""

from __future__ import annotations

from decimal import Decimal

from allora_sdk.rpc_client.dec_canonical import canonicalize_dec

from crucible.localnet.abci import emissions

SMALLEST, LARGEST = Decimal("1e-40"), Decimal("1e40")
_EXACT = 1e15  # below it a float is the whole number that it prints
_LONGEST = 200  # characters; the chain keeps 34 digits


def decimal_text(value: float) -> str:
    """Return ``value`` as the chain writes it: 2.5e-07 is ``2.5E-7``."""
    whole_number = float(value).is_integer() and abs(value) < _EXACT
    return str(canonicalize_dec(str(int(value)) if whole_number else float(value)))


def payable(amount: float) -> int:
    """Return the whole uallo that are paid of ``amount``: those that its text in an event has, which a float rounds."""
    return int(Decimal(decimal_text(amount)))


def canonical(text: str) -> str:
    """Return decimal ``text`` as the chain would write it.

    Raises
    ------
    Refusal
        emissions 26 if it is no decimal, or out of bounds.
    """
    bounded(text)
    try:
        return str(canonicalize_dec(text))
    except (ValueError, ArithmeticError) as error:
        raise emissions(26, f"{text[:80]!r} is no decimal: validation failed") from error


def bounded(text: str) -> float:
    """Return the number that ``text`` states; the chain takes 0 and sizes from 1e-40 to 1e40.

    Raises
    ------
    Refusal
        emissions 26 for anything else.
    """
    if not text.isascii() or "_" in text or len(text) > _LONGEST:
        raise emissions(26, f"{text[:80]!r} is no decimal: validation failed")
    try:
        value = Decimal(text)
    except ArithmeticError as error:
        raise emissions(26, f"{text[:80]!r} is no decimal: validation failed") from error
    # copy_abs does not round, and so does not overflow either
    if not value.is_finite() or (value and not SMALLEST <= value.copy_abs() <= LARGEST):
        raise emissions(26, "value is out of bounds: validation failed")
    return float(value)


def whole(text: str) -> int:
    """Return the positive amount, in uallo, that ``text`` states.

    Raises
    ------
    Refusal
        emissions 52 if it is no whole number, 51 if it is not above 0.
    """
    if not text.isascii() or not text.removeprefix("-").isdigit() or len(text) > 77:  # sdk.Int holds 256 bits
        raise emissions(52, f"{text[:80]!r} is no whole number: invalid value")
    if int(text) <= 0:
        raise emissions(51, "received zero amount")
    return int(text)
