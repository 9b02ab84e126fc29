"""Whatever is asked, in whatever bytes: an answer below 500, no traceback, and nothing from outside of the home.

A few seconds by default; ``CRUCIBLE_PROVE=1`` goes on for five minutes.
"""

import asyncio
import os
import time
from datetime import timedelta

import pytest
from asgi_calls import FORM, ask
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from crucible.web.access import Access
from crucible.web.app import create_app

PROVE = os.environ.get("CRUCIBLE_PROVE") == "1"
TOKEN = "a-token-of-some-length"

names = st.sampled_from(
    ["worker_00", "worker_03", "nobody", "fleet.worker_00", "31b03c05-763d0b39-0dc245dd", "live.js"]
)
odd = st.sampled_from(
    ["..", ".", "%00", "%2e%2e%2f", "..%2f..%2fetc%2fpasswd", "%ff", "%ed%a0%80", "\\..\\", "1e9", "-1", "0", "9" * 30,
     "1012", "4611686018427387905", "null", "{{7*7}}", "<script>", "%0d%0aset-cookie:x=y", "~", "%", "'--", "*", ""]
)  # fmt: skip
pieces = names | odd | st.text(st.characters(codec="ascii", exclude_characters="/?#"), max_size=12)
routes = st.sampled_from(
    ["/", "/workers/{0}", "/workers/{0}/nonces/{1}", "/models", "/models/{0}", "/models/{0}/promote",
     "/models/{0}/evaluations/{1}", "/bars", "/bars/quality", "/logs", "/logs/{0}", "/login", "/logout", "/events",
     "/static/{0}", "/healthz", "/{0}", "/{0}/{1}", "//{0}", "/workers/{0}/../{1}"]
)  # fmt: skip
queries = st.one_of(
    st.binary(max_size=60),
    st.lists(
        st.tuples(st.sampled_from(["before", "show", "lines", "done", "watch", "x"]), pieces).map("=".join), max_size=4
    ).map(lambda items: "&".join(items).encode()),
)
tokens = st.from_regex(rb"[a-z-]{1,20}", fullmatch=True)
header_names = tokens | st.sampled_from(
    [b"host", b"cookie", b"origin", b"sec-fetch-site", b"content-type", b"content-length", b"authorization", b"accept",
     b"x-forwarded-host", b"x-forwarded-for", b"transfer-encoding", b"range", b"if-none-match", b"expect", b"upgrade"]
)  # fmt: skip
values = st.binary(max_size=60) | st.sampled_from(
    [b"127.0.0.1:8050", b"evil.example", b"null", b"same-origin", b"http://127.0.0.1:8050", FORM[1],
     b"multipart/form-data",
     b"application/json", b"crucible_session_8050=a.1.5.b", b"crucible_session_8050=...", b"a=\xff; =; ;;", b"bytes=0-"]
)  # fmt: skip
headers = st.lists(st.tuples(header_names, values), max_size=5)
methods = st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT", "A\x00"])
bodies = st.binary(max_size=80) | st.lists(
    st.tuples(st.sampled_from(["version", "reason", "token", "form_token"]), pieces).map("=".join), max_size=5
).map(lambda items: "&".join(items).encode())


@pytest.fixture
def apps(home):
    return [
        create_app(lambda: home, Access()),
        create_app(lambda: home, Access(read_only=True)),
        create_app(lambda: home, Access(TOKEN)),
    ]


def check(answer, path):
    assert 200 <= answer.status < 500, (path, answer.status)
    assert b"Traceback" not in answer.body
    assert b"root:x" not in answer.body
    assert b"{{" not in answer.body.replace(b"{{7*7}}", b"")
    assert b"<script>" not in answer.body
    for name, value in answer.headers.items():
        assert "\n" not in value, name
    assert answer.headers["x-content-type-options"] == "nosniff"


def rounds(apps, *, seconds: float, examples: int) -> int:
    """Ask until the time is over, in one event loop, and return how many requests were answered."""
    asked, end = 0, time.monotonic() + seconds
    with asyncio.Runner() as runner:

        @settings(
            max_examples=examples, deadline=None, database=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        )  # fmt: skip
        @given(st.sampled_from(apps), routes, pieces, pieces, methods, queries, headers, bodies, st.booleans())
        def fuzz(app, route, first, second, method, query, given_headers, body, signed):
            nonlocal asked
            path = route.format(first, second)
            assume("?" not in path)
            sent = list(given_headers)
            cookie = ""
            access = app.state.site.access
            if signed:  # half of them hold a session and the right form token, and get past the gate
                session = access.new_session(int(time.time()), trusted=True)
                cookie = f"crucible_session_8050={access.seal(session)}"
                body = b"form_token=" + access.form_token(session).encode() + b"&" + body
                sent = [item for item in sent if item[0] not in (b"host", b"origin", b"sec-fetch-site", b"cookie")]
                sent = [*(item for item in sent if item[0] != b"content-type"), FORM]
            asked += 1
            answer = runner.run(ask(app, path, method=method, query=query, headers=sent, body=body, cookie=cookie))
            check(answer, path)

        fuzz()
        while time.monotonic() < end:
            fuzz()
    return asked


@pytest.mark.timeout(900)
def test_no_request_breaks_the_dashboard(apps, caplog):
    asked = rounds(apps, seconds=300 if PROVE else 0, examples=2000 if PROVE else 250)
    assert asked >= 250
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


def test_a_stream_tells_of_a_change_and_ends_with_the_server(home):
    from crucible.web.changes import changes
    from crucible.worker.deployment import journal_path

    async def listen():
        app = create_app(lambda: home, Access())

        class Request:
            pass

        request = Request()
        request.app = app
        stream = changes(app.state.site, request, "worker:worker_00")
        first = await anext(stream)
        journal = journal_path(home, "worker_00")

        async def touch():
            await asyncio.sleep(0.2)
            os.utime(journal)

        touching = asyncio.create_task(touch())
        told = await asyncio.wait_for(anext(stream), timedelta(seconds=10).total_seconds())
        await touching
        assert app.state.streams == 1
        app.state.stopping.set()
        rest = [item async for item in stream]
        assert app.state.streams == 0
        return first, told, rest

    first, told, rest = asyncio.run(listen())
    assert first.startswith("retry:")
    assert told.startswith("event: changed\ndata: ")
    assert rest == []
