"""The recipe's table ``[data]``: which bars are used."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, PlainSerializer, model_validator

from crucible.duration import format_duration, parse_duration
from crucible.model_settings import Duration, Section
from crucible.venue import market_of, split_source, venue_of


def _to_offset(value: object) -> object:
    return (
        timedelta(0)
        if value in ("0", "0s", "0m", "0h", "0d")
        else (parse_duration(value) if isinstance(value, str) else value)
    )


def _offset_text(value: timedelta) -> str:
    return format_duration(value) if value else "0m"


Offset = Annotated[timedelta, BeforeValidator(_to_offset), PlainSerializer(_offset_text)]
Symbol = Annotated[str, Field(pattern=r"^[A-Z0-9]+$")]


class DataSection(Section):
    """Which bars are used. ``history`` counts back from the newest closed bar.

    Bars of length ``stored`` are fetched and kept; bars of length ``interval``, whose grid is shifted by ``offset``
    against UTC, are made of them, and need the share ``complete`` of their parts. ``sources`` are asked in order:
    those of the first one's venue serve its bars, the others only fill gaps, where they agree with it. Bars of
    ``peers``, other symbols of the same sources, are kept beside them for the features that look across.
    """

    sources: tuple[str, ...] = Field(min_length=1)
    symbol: Symbol
    peers: tuple[Symbol, ...] = Field(default=(), max_length=16)
    stored: Duration
    interval: Duration
    offset: Offset
    complete: float = Field(gt=0, le=1)
    history: Duration

    @model_validator(mode="after")
    def _fits(self) -> Self:
        names = [split_source(text, self.symbol)[0] for text in self.sources]
        if len(set(names)) != len(names):
            raise ValueError("each source may be named once")
        for name in names:
            if market_of(name) != market_of(names[0]):
                raise ValueError(f"sources {names[0]!r} and {name!r} are a spot and a perpetual market; they never mix")
        if len({self.symbol, *self.peers}) != 1 + len(self.peers):
            raise ValueError("each peer may be named once, and the symbol is not its own peer")
        renamed = [text for text in self.sources if ":" in text]
        if self.peers and renamed:
            raise ValueError(f"source {renamed[0]!r} names one symbol, so it cannot serve the peers; leave it out")
        if self.interval % self.stored or self.offset % self.stored:
            raise ValueError(
                f"interval and offset must be multiples of stored ({format_duration(self.stored)}), of which "
                "longer bars are made"
            )
        if self.offset >= self.interval:
            raise ValueError("offset must be shorter than interval")
        return self

    @property
    def venue(self) -> str:
        """Whose bars they are: the venue of the first source."""
        return venue_of(split_source(self.sources[0], self.symbol)[0])

    @property
    def members(self) -> tuple[DataSection, ...]:
        """One section per symbol that is read: the recipe's own, then its peers."""
        return tuple(self.model_copy(update={"symbol": symbol, "peers": ()}) for symbol in (self.symbol, *self.peers))

    @property
    def parts(self) -> int:
        """How many stored bars make one bar."""
        return self.interval // self.stored
