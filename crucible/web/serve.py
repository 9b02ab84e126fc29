"""The dashboard as a process: checks who may reach it, listens, says so, and serves until SIGINT or SIGTERM."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import secrets
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from crucible.errors import CrucibleError, ProcessError, SettingsError
from crucible.process import write_json
from crucible.settings import Settings
from crucible.web import model_sources, sources
from crucible.web.access import Access
from crucible.web.app import create_app

LEAST_TOKEN = 16
"""Characters that a token must have."""

_LOG = logging.getLogger(__name__)
_LOOK_SECONDS = 1.0  # so that a page meets only those journals unread that changed a moment ago
_STREAMS_SECONDS = 2  # how long open pages are waited for at the end


def read_token(stated: str, file: Path | None) -> str:
    """Return the token: as stated in the environment, or from ``file``, which is made where there is none.

    Raises
    ------
    SettingsError
        If it is too short, or others than the file's owner may read the file.
    """
    token = stated.strip()
    if not token and file is not None:
        try:
            if not file.exists():
                file.parent.mkdir(parents=True, exist_ok=True)
                file.touch(mode=0o600, exist_ok=False)
                file.write_text(secrets.token_urlsafe(32) + "\n")
            if not file.is_file() or file.stat().st_mode & 0o077:
                raise SettingsError(f"{file} may be read by others, or is no file; run: chmod 600 {file}")
            token = file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"The token file {file} cannot be used: {error}.") from error
    if (stated or file is not None) and len(token) < LEAST_TOKEN:
        raise SettingsError(f"The dashboard's token must have {LEAST_TOKEN} characters or more.")
    return token


def check_address(host: str, token: str) -> None:
    """Refuse to listen where others could connect, unless they must show a token.

    Raises
    ------
    SettingsError
        If ``host`` is no IP address, or not of loopback and there is no token.
    """
    try:
        address = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        raise SettingsError(f"--host {host!r} is no IP address; 127.0.0.1 is this machine alone.") from None
    if not address.is_loopback and not token:
        raise SettingsError(
            f"{host} can be reached from other machines, so a token is needed: set CRUCIBLE_DASHBOARD_TOKEN, or name a "
            "--token-file, which is made if it is not there."
        )


def run(
    settings: Callable[[], Settings],
    access: Access,
    *,
    host: str,
    port: int,
    ready_file: Path | None,
    announce: Callable[[str], None],
) -> None:
    """Serve the dashboard until SIGINT or SIGTERM.

    Parameters
    ----------
    settings : callable
        Returns the settings; asked with every request.
    access : Access
        Who may look and act.
    host, port : str, int
        Where to listen; port 0 for any free one.
    ready_file : pathlib.Path, optional
        Written once it listens, ``{"url"}``, and removed at the end.
    announce : callable
        Called with the URL once it listens.

    Raises
    ------
    SettingsError
        If anyone could connect, and no token is asked for.
    ProcessError
        If the port is in use.
    """
    check_address(host, access.token)
    app = create_app(settings, access)
    listening = _listen(host, port)
    shown = f"[{host}]" if ":" in host else host
    url = f"http://{shown}:{listening.getsockname()[1]}"
    config = uvicorn.Config(
        app, log_config=None, access_log=False, server_header=False, date_header=True, proxy_headers=False, ws="none",
        lifespan="off", timeout_graceful_shutdown=_STREAMS_SECONDS,
    )  # fmt: skip
    try:
        asyncio.run(_serve(uvicorn.Server(config), app, listening, lambda: _tell(url, ready_file, announce)))
    finally:
        listening.close()
        if ready_file is not None:
            ready_file.unlink(missing_ok=True)


async def _serve(server: uvicorn.Server, app: FastAPI, listening: socket.socket, ready: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()

    def stop() -> None:
        app.state.stopping.set()  # ends the streams of open pages
        server.should_exit = True

    # uvicorn would raise the signal again once it has ended, which is no way for us to end
    server.capture_signals = _no_capture  # type: ignore[method-assign]
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    while not server.started and not serving.done():
        await asyncio.sleep(0.01)
    if server.started:
        ready()
        threading.Thread(target=_warm, args=(app,), daemon=True).start()
    await serving


@contextmanager
def _no_capture() -> Iterator[None]:
    yield


def _tell(url: str, ready_file: Path | None, announce: Callable[[str], None]) -> None:
    if ready_file is not None:
        write_json(ready_file, {"url": url})
    announce(url)


def _warm(app: FastAPI) -> None:
    """Read recipes and journals, and what has changed of them, before a page needs it; then import MLflow."""
    site, stopping = app.state.site, app.state.stopping
    imported = False
    while not stopping.is_set():
        try:
            settings = site.load()
            names = [worker.name for worker in sources.workers(settings)]
        except CrucibleError as error:
            names = []
            _LOG.debug("%s", error)  # the pages tell it
        for name in names:
            with contextlib.suppress(CrucibleError):  # as above
                sources.summary(settings, name)
        if names and not imported:  # last, since it takes seconds and only the model pages need it
            imported = True
            with contextlib.suppress(CrucibleError):  # as above
                model_sources.known_versions(settings, names[0])
        time.sleep(_LOOK_SECONDS)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise ProcessError(
            f"{host}:{port} cannot be listened on ({error.strerror}); choose another --port, 0 for a free one."
        ) from None
    return listening
