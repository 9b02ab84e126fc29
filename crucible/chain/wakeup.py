"""Wake-up by websocket: a hint that a window opened. The truth is always asked of the node."""

from __future__ import annotations

import asyncio
import json
import logging

import websockets

_LOG = logging.getLogger(__name__)
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0


async def wake_on_window(websocket_url: str, topic_id: int, wake: asyncio.Event) -> None:
    """Set ``wake`` whenever a submission window of the topic opens; reconnect for ever.

    A lost connection, a refused subscription or a missed event costs only time: whoever waits also polls.
    """
    query = f"tm.event='NewBlockEvents' AND emissions.v10.EventWorkerSubmissionWindowOpened.topic_id = '\"{topic_id}\"'"
    call = json.dumps({"jsonrpc": "2.0", "method": "subscribe", "id": "windows", "params": {"query": query}})
    pause = _FIRST_PAUSE
    while True:
        try:
            async with websockets.connect(websocket_url, open_timeout=5, close_timeout=1, max_size=2**24) as socket:
                await socket.send(call)
                async for text in socket:
                    message = json.loads(text)
                    if "error" in message:
                        _LOG.warning("the node refused the subscription: %s", message["error"])
                        break
                    pause = _FIRST_PAUSE
                    wake.set()
        except (OSError, TimeoutError, ValueError, websockets.WebSocketException) as error:
            _LOG.warning("websocket lost (%s); polling goes on", error or type(error).__name__)
        await asyncio.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)
