"""Blocking work in a thread that nobody has to wait for, not even the end of the process."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")


async def in_daemon_thread(function: Callable[_P, _T], *arguments: _P.args, **options: _P.kwargs) -> _T:
    """Return ``function(*arguments, **options)``, or raise what it raises.

    Cancelling the call abandons the thread. :func:`asyncio.to_thread` will not do for a prediction: its threads are
    joined when the loop closes, so one hanging request to an exchange would hold up the end of the worker.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[_T] = loop.create_future()

    def settle(result: _T | None, error: BaseException | None) -> None:
        if future.done():
            return  # abandoned in the meantime
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]

    def work() -> None:
        result, failure = None, None
        try:
            result = function(*arguments, **options)
        except BaseException as error:  # noqa: BLE001 -- raised again where the result is awaited
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop has closed: nobody waits any more
            loop.call_soon_threadsafe(settle, result, failure)

    threading.Thread(target=work, name=getattr(function, "__qualname__", "work"), daemon=True).start()
    return await future
