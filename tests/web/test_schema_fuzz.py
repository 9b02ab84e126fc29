"""The dashboard on a real port under schemathesis: no answer of 500, no traceback, nothing from outside of the home.

Some seconds by default; ``CRUCIBLE_PROVE=1`` goes on for five minutes.
"""

import asyncio
import logging
import socket
import threading
import time
import warnings
from collections import Counter
from contextlib import contextmanager

import pytest
import uvicorn
from asgi_calls import FORM, ask, form
from schemathesis_run import NONSENSE, fuzz, send_raw

from crucible.web.access import Access
from crucible.web.app import create_app
from crucible.web.gate import MAX_BODY

KNOWN = {
    "name": ["worker_00", "worker_03", "fleet.worker_00", "style.css", "live.js"],
    "nonce": [1000, 1012],
    "evaluation": ["31b03c05-763d0b39-0dc245dd"],
}
TOKEN = "a-token-of-some-length"

pytestmark = pytest.mark.processes


class Watched:
    """An application, every answer of which is counted and read."""

    def __init__(self, app):
        self.app, self.statuses, self.wrong = app, Counter(), []

    async def __call__(self, scope, receive, send):
        async def watching(message):
            if message["type"] == "http.response.start":
                self.statuses[message["status"]] += 1
            body = message.get("body", b"")
            if b"Traceback (most" in body or b"root:x:" in body or TOKEN.encode() in body:
                self.wrong.append((scope["path"], body[:200]))
            await send(message)

        await self.app(scope, receive, watching)


@contextmanager
def served(home, access):
    app = create_app(lambda: home, access)
    watched = Watched(app)
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(watched, log_config=None, access_log=False, ws="none", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield watched, f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        app.state.stopping.set()
        server.should_exit = True
        thread.join(timeout=20)
        listening.close()


def described(app, form_token):
    """The application's own OpenAPI, and what it does not say: which names there are, and what the forms hold."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # GET and HEAD of one page have one operation id
        spec = app.openapi()
    del spec["paths"]["/events"]  # endless; asked in the other tests
    text = {"type": "string"}
    fields = {"form_token": {"enum": [form_token, ""]}, "reason": text, "version": text, "token": text}
    for path in spec["paths"].values():
        for method, operation in path.items():
            for parameter in operation.get("parameters", []):
                known = {"enum": KNOWN.get(parameter["name"], [])}
                if known["enum"]:
                    parameter["schema"] = {"anyOf": [known, known, parameter["schema"]]}
            if method == "post":
                schema = {"type": "object", "properties": fields, "required": ["form_token"]}
                operation["requestBody"] = {"content": {FORM[1].decode(): {"schema": schema}}}
    return spec


@pytest.mark.timeout(900)
def test_nothing_that_schemathesis_asks_breaks_the_dashboard(home, tmp_path, caplog):
    access = Access(TOKEN)
    session = access.new_session(int(time.time()), trusted=True)
    with served(home, access) as (watched, url):
        port = url.rpartition(":")[2]
        cookie = f"Cookie: crucible_session_{port}={access.seal(session)}"
        spec = described(watched.app, access.form_token(session))
        fuzzed = fuzz(spec, url, tmp_path, header=cookie)
        for nonsense in NONSENSE:
            said = send_raw(url, nonsense)
            assert not said.startswith(b"HTTP/1.1 5"), nonsense[:80]
            assert b"root:x:" not in said
        alive = b"GET /healthz HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"
        assert send_raw(url, alive, patience=20).endswith(b"ok\n")
    print(f"{fuzzed.requests} cases of schemathesis, answers by status: {dict(watched.statuses)}")
    assert fuzzed.found == []
    assert fuzzed.requests > 20
    assert watched.wrong == []
    assert [status for status in watched.statuses if status >= 500] == []
    assert watched.statuses[200] > 5
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []


FOREIGN = [
    [(b"origin", b"http://evil.example")],
    [(b"origin", b"null")],
    [(b"origin", b"http://127.0.0.1:8050.evil.example")],
    [(b"sec-fetch-site", b"cross-site")],
    [(b"sec-fetch-site", b"same-site")],
]


@pytest.mark.parametrize("path", ["/logout", "/login", "/models/worker_00/promote"])
def test_a_form_counts_only_from_our_own_page_with_its_sessions_token(home, path):
    access = Access(TOKEN)
    app = create_app(lambda: home, access)
    session, other = (access.new_session(int(time.time()), trusted=True) for _ in range(2))
    cookie = f"crucible_session_8050={access.seal(session)}"
    right = form(form_token=access.form_token(session), version="1", reason="because of that", token="wrong")

    def status(body=right, headers=(), cookie=cookie):
        sent = [FORM, *headers]
        return asyncio.run(ask(app, path, method="POST", body=body, headers=sent, cookie=cookie)).status

    assert status() in (303, 403 if path == "/login" else 409)
    assert [status(headers=foreign) for foreign in FOREIGN] == [403] * len(FOREIGN)
    assert status(form(form_token=access.form_token(other), version="1", reason="because of that")) == 403
    assert status(form(version="1")) == 403
    assert status(headers=[(b"content-type", b"text/plain")], body=b"") in (400, 403)
    assert status(b"form_token=" + b"x" * MAX_BODY) == 413
    for forged in (
        access.seal(other).replace(other.key, session.key),
        f"{session.key}.1.{session.issued}.0",
        "a.1.b.c",
    ):
        assert status(cookie=f"crucible_session_8050={forged}") in (401, 403)
