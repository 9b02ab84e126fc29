"""Live bars: a stream kept in memory, caught up over REST, that refuses to serve when it is stale."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta

import pyarrow as pa

from crucible.clock import Clock
from crucible.duration import format_duration
from crucible.errors import SourceError, StaleError
from crucible.market.bars import empty_bars, floor_time, from_micros, open_times
from crucible.market.ledger import Span
from crucible.market.repair import TOLERANCE, compare
from crucible.market.source import Retry, Source
from crucible.market.stream import HOSTS, Candle, KlineStream
from crucible.market.update import Sources
from crucible.market.window import BarWindow
from crucible.venue import ARCHIVE

_LOG = logging.getLogger(__name__)
_LOOK = 0.2  # seconds between looks at whether to stop
_REST = 20.0  # seconds for which a source that failed is passed over, if there is another
_MARGIN = 24  # bars before a hole by which another source is judged

HASTY = Retry(attempts=3, base=0.2, cap=1.0, patience=5.0, timeout=5.0)
"""For a feed: a window of submission does not wait for an exchange that asks for patience."""


class LiveFeed:
    """The newest stored bars of one symbol.

    A thread follows the stream (or, at an exchange without one, asks after each close) and keeps a window in memory;
    :meth:`closed` reads that window and asks the network only for what the stream has failed to bring.

    Parameters
    ----------
    sources : Sources
        Asked in order for what the stream did not bring: at the start, after a break, after a gap.
    symbol : str
        The first source's name for it.
    interval : timedelta
        Length of a stored bar.
    capacity : int
        How many intervals are kept.
    clock : Clock
        Whose time it is.
    stream_url : str
        ``http://host:port`` of a server with Binance's API; empty for the real one.
    silence : float
        Real seconds without a message after which the stream counts as dead.
    """

    def __init__(
        self,
        sources: Sources,
        symbol: str,
        interval: timedelta,
        capacity: int,
        clock: Clock,
        *,
        stream_url: str = "",
        silence: float = 30.0,
    ) -> None:
        self.window = BarWindow(interval, capacity)
        self.revised = 0
        """Bars that the exchange has changed after it had called them closed."""
        self.reconnects = 0
        """How often the stream had to be opened again."""
        self.caught_up = 0
        """How often REST was asked for what the stream had not brought."""
        self.forming: Candle | None = None
        """The candle that is open now, as last heard; never part of :meth:`closed`."""
        self._sources, self._symbol, self._clock = sources, symbol, clock
        self._streaming = next((item.name for item in sources.own if item.name in HOSTS), "")
        self._stream_url, self._silence = stream_url, silence
        self._down: dict[str, tuple[float, SourceError]] = {}  # until when one that failed rests (monotonic), and why
        self._catching = threading.Lock()  # sources are used by one thread at a time
        self._stop = threading.Event()
        # a daemon: a request under way must not hold up the end of the process
        self._thread = threading.Thread(target=self._run, name=f"feed {symbol}", daemon=True)

    def start(self) -> None:
        """Begin to follow; returns at once."""
        self._thread.start()

    def close(self) -> None:
        """Stop following, within a second."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=1.0)

    def closed(self, now: datetime, count: int) -> pa.Table:
        """Return the bars among the last ``count`` intervals that had closed at ``now``; fewer where there are gaps.

        Comes from memory when the stream has brought everything; otherwise what lacks is asked for first, and if
        nobody answers, what is there is returned: how old it is, is for
        :func:`require_fresh` to judge.

        Raises
        ------
        SourceError
            If there is not one bar, and the sources do not answer.
        """
        self.window.grow(count)
        interval = self.window.interval
        end = floor_time(now, interval)
        if self._lacking(end - count * interval, end):
            try:
                self.catch_up(end)
            except SourceError as error:
                if self.window.newest_close is None:
                    raise
                _LOG.warning("served from memory: %s", error)
        return self.window.bars(end - count * interval, end)

    def catch_up(self, end: datetime) -> None:
        """Ask for what lacks before ``end``.

        Raises
        ------
        SourceError
            If no source answers.
        """
        interval = self.window.interval
        with self._catching:
            lacking = self._lacking(end - self.window.capacity * interval, end)
            if not lacking:
                return
            self.caught_up += 1
            self._fetch((lacking[0][0], lacking[-1][1]))

    def _lacking(self, start: datetime, end: datetime) -> list[Span]:
        return [hole for hole in self.window.holes(end) if hole[1] > start]

    def _fetch(self, span: Span) -> None:
        errors: list[SourceError] = []
        for source in self._sources.own:
            if source.name.endswith(ARCHIVE) or self._resting(source, errors):
                continue
            try:
                for page in source.bars(self._symbol, self.window.interval, *span):
                    self.revised += self.window.put(page.bars)
                self.window.note_absent(span[0])
                return
            except SourceError as error:
                self._failed(source, error, errors)
        margin = _MARGIN * self.window.interval
        for other in self._sources.others:
            if self._resting(other.source, errors):
                continue
            try:
                pages = other.source.bars(other.symbol, self.window.interval, span[0] - margin, span[1])
                theirs = pa.concat_tables([empty_bars(), *(page.bars for page in pages)])
            except SourceError as error:
                self._failed(other.source, error, errors)
                continue
            common, largest = compare(self.window.bars(span[0] - margin, span[1]), theirs)
            if common < 3 or largest > TOLERANCE:
                _LOG.warning(
                    "%s is not believed: %d bars in common, %.2f%% apart", other.source.name, common, 100 * largest
                )
                continue
            self.window.put(theirs, own=False)
            return
        raise errors[0] if errors else SourceError(f"No source serves live bars of {self._symbol}.")

    def _failed(self, source: Source, error: SourceError, errors: list[SourceError]) -> None:
        _LOG.warning("%s", error)
        self._down[source.name] = time.monotonic() + _REST, error
        errors.append(error)

    def _resting(self, source: Source, errors: list[SourceError]) -> bool:
        """Whether a source failed a moment ago and there is another, which is asked at once instead."""
        if source.name not in self._down or len(self._sources.all) == 1:
            return False
        until, error = self._down[source.name]
        resting = time.monotonic() < until
        if resting:
            errors.append(error)
        return resting

    def _run(self) -> None:
        failures = 0
        follow: Callable[[], None] = self._follow_stream if self._streaming else self._follow_rest
        while not self._stop.is_set():
            started = self.window.newest_close
            try:
                follow()
            except Exception as error:  # noqa: BLE001 -- a thread that ended over anything else would go unnoticed
                if self._stop.is_set():
                    return
                self.reconnects += 1
                failures = failures + 1 if self.window.newest_close == started else 0
                wait = HASTY.wait(min(failures, 8), None) * (1 + failures)
                fault = None if isinstance(error, SourceError) else error
                _LOG.warning("%s trying again in %.1f s", error, min(wait, 30.0), exc_info=fault)
                self._stop.wait(min(wait, 30.0))

    def _follow_stream(self) -> None:
        with KlineStream(self._streaming, self._symbol, self.window.interval, self._stream_url) as stream:
            self.catch_up(floor_time(self._clock.now(), self.window.interval))
            quiet = 0.0
            while not self._stop.is_set():
                candle = stream.next(_LOOK)
                if candle is None:
                    quiet += _LOOK
                    if quiet > self._silence:
                        raise SourceError(f"The stream of {self._streaming} is silent for {quiet:.0f} s.")
                    continue
                quiet = 0.0
                self._take(candle)

    def _take(self, candle: Candle) -> None:
        if candle.closed:
            self.revised += self.window.put(candle.bars)
        else:
            self.forming = candle
        # a candle that is open now means that all before it have closed: what was not announced is asked for
        before = candle.opened
        newest = self.window.newest_close
        if newest is None or newest < before or self._lacking(before - self.window.interval * 2, before):
            self.catch_up(before)

    def _follow_rest(self) -> None:
        interval = self.window.interval
        while not self._stop.is_set():
            now = self._clock.now()
            self.catch_up(floor_time(now, interval))
            rest = interval - (now - floor_time(now, interval))
            self._stop.wait(max(self._clock.wall_seconds(rest), 0.05) + 0.2)


def require_fresh(bars: pa.Table, interval: timedelta, now: datetime, max_staleness: timedelta) -> None:
    """Raise :class:`StaleError` unless the newest bar closed at most ``max_staleness`` before ``now``."""
    if not bars.num_rows:
        raise StaleError("There is not one closed bar; the market may be halted, or the symbol not listed yet.")
    closed = from_micros(int(open_times(bars)[-1])) + interval
    age = now - closed
    if age > max_staleness:
        raise StaleError(
            f"The newest bar closed at {closed.isoformat()}, {int(age.total_seconds())} s ago; "
            f"at most {format_duration(max_staleness)} is allowed."
        )
