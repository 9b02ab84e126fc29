"""Tells open pages that what they show has changed: a stream of events, one word each.

The script of a page then fetches the page anew. Ages grow even where nothing happens, so a change is also told when
nothing was told for a while.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator

from starlette.requests import Request

from crucible.errors import CrucibleError
from crucible.settings import Settings
from crucible.web import sources
from crucible.web.logs import log_files
from crucible.web.monitor_files import alerts_file, monitor_database
from crucible.web.remembered import database_stamp, stamp_of
from crucible.web.view import Site

LOOK_SECONDS = 1.0
"""How often files are looked at, in real time."""

TELL_SECONDS = 15.0
"""After how long a change is told though there was none."""

MOST_STREAMS = 64
"""Pages that may listen at a time; a browser reconnects when one leaves."""


def mark_of(settings: Settings, watch: str) -> str:
    """Return what changes when the thing ``watch`` names does: ``fleet``, ``worker:<recipe>``, ``log:<name>``.

    Anything else is the fleet. Heartbeats are left out, or every page would change all the time.
    """
    kind, _, name = watch.partition(":")
    if kind == "log":
        path = log_files(settings).get(name)
        return _digest(stamp_of(path) if path else ())
    names = [name] if kind == "worker" and sources.NAME.match(name) else sources.names(settings)
    found: list[object] = [stamp_of(settings.fleet / "desired", settings.fleet / "fleet.db", settings.bars)]
    found.append(database_stamp(settings.mlruns / "mlflow.db"))
    found += [database_stamp(monitor_database(settings)), stamp_of(alerts_file(settings))]
    for each in names:
        found.append((each, sources.journal_stamp(settings, each)))
        if kind == "worker":
            found.append(stamp_of(settings.fleet / "logs" / f"{each}.log"))
    return _digest(found)


async def changes(site: Site, request: Request, watch: str) -> AsyncIterator[str]:
    """Yield server-sent events until the page is closed or the server stops."""
    state = request.app.state
    state.streams += 1
    try:
        yield "retry: 3000\n\n"
        last, waited = await _mark(site, watch), 0.0
        while not state.stopping.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(state.stopping.wait(), LOOK_SECONDS)
            waited += LOOK_SECONDS
            mark = await _mark(site, watch)
            if mark != last or waited >= TELL_SECONDS:
                last, waited = mark, 0.0
                yield f"event: changed\ndata: {mark}\n\n"
    finally:
        state.streams -= 1


async def _mark(site: Site, watch: str) -> str:
    def look() -> str:
        try:
            return mark_of(site.load(), watch)
        except CrucibleError as error:
            return _digest(str(error))  # the page itself tells it

    return await asyncio.to_thread(look)


def _digest(found: object) -> str:
    return hashlib.sha256(repr(found).encode("utf-8", "replace")).hexdigest()[:16]
