"""Who may look and who may act."""

import asyncio
import re
import stat

import pytest
from asgi_calls import FORM, ask, form
from hypothesis import given
from hypothesis import strategies as st

from crucible.errors import SettingsError
from crucible.web.access import SESSION_SECONDS, Access, Session
from crucible.web.app import create_app
from crucible.web.gate import MAX_BODY
from crucible.web.serve import check_address, read_token

TOKEN = "a-token-of-some-length"
ROUTES = ("/", "/workers/worker_00", "/models", "/models/worker_00", "/bars", "/logs", "/logs/fleet.worker_00",
          "/events", "/bars/quality", "/workers/worker_00/nonces/1000", "/nowhere")  # fmt: skip


def call(app, path, **options):
    return asyncio.run(ask(app, path, **options))


@pytest.fixture
def guarded(home):
    return create_app(lambda: home, Access(TOKEN))


def sign_in(app):
    page = call(app, "/login")
    token = re.search(r'name="form_token" value="([0-9a-f]+)"', page.text)[1]
    answer = call(app, "/login", method="POST", headers=[FORM], body=form(form_token=token, token=TOKEN),
                  cookie=page.cookie())  # fmt: skip
    return page.cookie(), answer


@pytest.mark.parametrize("path", ROUTES)
def test_nothing_is_shown_without_the_token(guarded, path):
    answer = call(guarded, path)
    assert answer.status == (401 if path == "/events" else 303)
    assert b"worker_" not in answer.body


def test_the_token_opens_a_session_of_another_name(guarded):
    before, answer = sign_in(guarded)
    assert answer.status == 303
    after = answer.cookie()
    assert after != before
    assert "HttpOnly; SameSite=Strict" in answer.headers["set-cookie"]
    assert call(guarded, "/", cookie=after).status == 200
    assert call(guarded, "/", cookie=before).status == 303
    page = call(guarded, "/", cookie=after)
    token = re.search(r'name="form_token" value="([0-9a-f]+)"', page.text)[1]
    out = call(guarded, "/logout", method="POST", headers=[FORM], body=form(form_token=token), cookie=after)
    assert out.headers["location"] == "/login"
    assert call(guarded, "/", cookie=out.cookie()).status == 303


def test_wrong_tokens_are_refused_and_then_not_even_looked_at(guarded):
    page = call(guarded, "/login")
    token = re.search(r'name="form_token" value="([0-9a-f]+)"', page.text)[1]

    def attempt(guess):
        body = form(form_token=token, token=guess)
        return call(guarded, "/login", method="POST", headers=[FORM], body=body, cookie=page.cookie()).status

    assert [attempt(f"guess {index}") for index in range(5)] == [403] * 5
    assert attempt(TOKEN) == 429


def test_a_session_ends_and_cannot_be_made_up():
    access = Access(TOKEN)
    session = access.new_session(1000, trusted=True)
    sealed = access.seal(session)
    assert access.open(sealed, 1000 + SESSION_SECONDS - 60) == session
    assert access.open(sealed, 1000 + SESSION_SECONDS + 60) is None
    assert access.open(sealed.replace(".1.", ".0.", 1), 1000) is None
    assert Access(TOKEN).open(sealed, 1000) is None
    assert not access.is_form_token(access.new_session(1000), access.form_token(session))


@given(st.text(max_size=80))
def test_no_text_is_a_session_or_a_form_token(text):
    access = Access(TOKEN)
    assert access.open(text, 1000) is None
    assert not access.is_form_token(Session("k", True, 1000), text)
    assert access.is_token(text) in (False, None)


@pytest.mark.parametrize(
    ("host", "allowed"),
    [("127.0.0.1:8050", True), ("localhost", True), ("LOCALHOST:1", True), ("[::1]:8050", True), ("10.0.0.7", True),
     ("evil.example:8050", False), ("localhost.evil.example", False), ("127.0.0.1.evil.example", False), ("", False),
     ("localhost:8050@evil.example", False), ("[::1", False), ("127.0.0.1:99999999", False), ("my.host", True),
     ("localhost\x00", False), ("[evil.example]", False), ("localhost.", True), ("127.0.0.1\nx", False)],
)  # fmt: skip
def test_only_known_hosts_are_answered(home, host, allowed):
    app = create_app(lambda: home, Access(names=("my.host",)))
    assert call(app, "/", host=host.encode()).status == (200 if allowed else 400)


def test_a_request_with_two_hosts_or_none_is_refused(home):
    app = create_app(lambda: home, Access())
    assert call(app, "/", host=None).status == 400
    assert call(app, "/", headers=[(b"host", b"evil.example")]).status == 400


def test_every_answer_carries_the_security_headers(home):
    app = create_app(lambda: home, Access())
    for path in (*ROUTES, "/static/style.css", "/static/x", "/healthz", "/login"):
        headers = call(app, path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "same-origin"
    assert call(app, "/", host=b"evil.example").headers["x-frame-options"] == "DENY"


def test_no_page_holds_script_or_style_of_its_own(home):
    app = create_app(lambda: home, Access())
    for path in ROUTES:
        if path != "/events":
            text = call(app, path).text
            assert len(re.findall(r"<script", text)) == len(re.findall(r'<script src="/static/live.js', text)) <= 1
            assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:|https?://", text)


@pytest.mark.parametrize(
    "headers",
    [[(b"origin", b"http://evil.example")], [(b"origin", b"null")], [(b"sec-fetch-site", b"cross-site")],
     [(b"sec-fetch-site", b"same-site")]],
)  # fmt: skip
def test_a_form_of_another_site_changes_nothing(home, headers):
    app = create_app(lambda: home, Access())
    answer = call(app, "/models/worker_00/promote", method="POST", headers=[FORM, *headers], body=b"version=1")
    assert answer.status == 403
    assert "another site" in answer.text


def test_a_body_that_is_too_large_is_refused(home):
    app = create_app(lambda: home, Access())
    assert call(app, "/login", method="POST", headers=[FORM], body=b"a" * (MAX_BODY + 1)).status == 413


@pytest.mark.parametrize(
    "path",
    ["/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2f..%2fsettings.py", "/logs/..%2f..%2f..%2fetc%2fpasswd",
     "/logs/%2e%2e", "/workers/..%2f..", "/models/..%2fx/evaluations/a", "/workers/%00", "/logs/%00",
     "/models/worker_00/evaluations/..%2f..%2fx", "/models/worker_00/evaluations/00000000-00000000-00000000",
     "/workers/worker_00%0a", "//etc/passwd", "/models/worker_00/evaluations/00000000-00000000-00000000%0a"],
)  # fmt: skip
def test_no_path_leads_out(home, path):
    app = create_app(lambda: home, Access())
    answer = call(app, path)
    assert answer.status in (400, 404)
    assert b"root:" not in answer.body
    assert b"import" not in answer.body


def test_a_link_out_of_the_home_is_not_followed(home, tmp_path):
    secret = tmp_path / "secret.log"
    secret.write_text("outside")
    (home.data / "logs").mkdir()
    (home.data / "logs" / "linked.log").symlink_to(secret)
    folder = home.evaluations / "worker_00"
    folder.mkdir(parents=True)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "report.html").write_text("outside")
    (folder / "00000000-00000000-00000000").symlink_to(outside)
    app = create_app(lambda: home, Access())
    assert call(app, "/logs/linked").status == 404
    assert call(app, "/models/worker_00/evaluations/00000000-00000000-00000000").status == 404


def test_others_than_loopback_need_a_token():
    for host in ("127.0.0.1", "::1", "localhost", "127.8.8.8"):
        check_address(host, "")
    for host in ("0.0.0.0", "::", "192.168.1.4"):
        with pytest.raises(SettingsError, match="a token is needed"):
            check_address(host, "")
        check_address(host, TOKEN)
    with pytest.raises(SettingsError, match="no IP address"):
        check_address("example.org", TOKEN)


def test_a_token_file_is_made_for_its_owner_alone_and_refused_when_others_may_read_it(tmp_path):
    path = tmp_path / "new" / "token"
    token = read_token("", path)
    assert len(token) > 30
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_token("", path) == token
    assert read_token(TOKEN, path) == TOKEN
    assert read_token("", None) == ""
    path.chmod(0o640)
    with pytest.raises(SettingsError, match="chmod 600"):
        read_token("", path)
    path.chmod(0o600)
    path.write_text("short")
    with pytest.raises(SettingsError, match="16 characters"):
        read_token("", path)
    with pytest.raises(SettingsError, match="16 characters"):
        read_token("short", None)
    with pytest.raises(SettingsError, match="16 characters"):
        read_token("   ", None)
