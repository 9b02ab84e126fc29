"""The dashboard as a process on a real port, and its pages in a real browser, where there is one."""

import base64
import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from web_world import report
from websockets.sync.client import connect

from crucible.cli import main
from crucible.worker.deployment import journal_path

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
NONSENSE = (
    b"\x00\xff\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET /?\xff\xfe HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n",
    b"POST /login HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 99999999\r\n\r\n",
    b"G" * 70_000,
)
AXE = """axe.run(document).then(found => JSON.stringify({
  rules: found.passes.length, against: found.violations.map(rule => [rule.id, rule.nodes[0].html])}))"""
SECRET = "no-one-may-see-this-token"

pytestmark = pytest.mark.processes


@pytest.fixture
def dashboard(home, tmp_path):
    """Starts ``crucible dashboard`` with further arguments, and returns its process and where it listens."""
    started = []

    def start(*arguments, **environ):
        ready = tmp_path / "ready.json"
        command = [sys.executable, "-m", "crucible", "dashboard", "--port", "0", "--home", str(home.home),
                   "--ready-file", str(ready), *arguments]  # fmt: skip
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={**os.environ, "CRUCIBLE_RECIPES": str(home.recipes), **environ},
        )  # fmt: skip
        started.append(process)
        deadline = time.monotonic() + 60
        while not ready.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        return process, json.loads(ready.read_text())["url"] if ready.exists() else ""

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def get(url: str, path: str, headers: dict[str, str] | None = None) -> tuple[int, str]:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=20)
    with contextlib.closing(connection):
        connection.request("GET", path, headers=headers or {})
        with connection.getresponse() as answer:
            return answer.status, answer.read().decode()


def test_it_serves_survives_nonsense_and_stops_at_once_with_a_page_open(dashboard):
    process, url = dashboard("--read-only")
    assert get(url, "/healthz") == (200, "ok\n")
    status, text = get(url, "/")
    assert status == 200
    assert "read-only" in text
    assert get(url, "/", {"host": "evil.example"})[0] == 400
    address = urlsplit(url)
    for nonsense in NONSENSE:
        with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
            connection.sendall(nonsense)
            connection.shutdown(socket.SHUT_WR)
            connection.settimeout(10)
            try:
                said = connection.recv(200)
            except ConnectionError:
                said = b""
            assert b" 500 " not in said
    with socket.create_connection((address.hostname, address.port), timeout=10) as listening:
        listening.sendall(b"GET /events HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
        assert b"text/event-stream" in listening.recv(2000)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=20)[0]
        assert time.monotonic() - began < 6
    assert process.returncode == 0
    assert "Traceback" not in said
    assert f"dashboard: {url} (read-only); Ctrl-C ends it" in said


def test_it_asks_for_the_token_and_tells_it_to_nobody(dashboard, home):
    log = home.fleet / "logs" / "worker_00.log"
    log.write_text(f"a line that quotes {SECRET} by mistake\n")
    process, url = dashboard(CRUCIBLE_DASHBOARD_TOKEN=SECRET)
    assert get(url, "/")[0] == 303
    assert get(url, "/logs/fleet.worker_00")[0] == 303
    status, text = get(url, "/login")
    assert status == 200
    assert SECRET not in text
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=20)[0]
    assert process.returncode == 0
    assert SECRET not in said
    assert "asks for the token" in said


def test_it_refuses_to_be_open_to_others_and_tells_of_a_port_in_use(home, capsys, monkeypatch):
    monkeypatch.setenv("CRUCIBLE_RECIPES", str(home.recipes))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for host, sentence in (("0.0.0.0", "a token is needed"), ("127.0.0.1", "choose another --port")):
            with pytest.raises(SystemExit) as ended:
                main(["dashboard", "--home", str(home.home), "--host", host, "--port", str(port)])
            assert ended.value.code == 1
            assert sentence in capsys.readouterr().err


class Browser:
    """A headless Chromium, spoken to by its DevTools protocol."""

    def __init__(self, folder: Path) -> None:
        command = [
            CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            f"--user-data-dir={folder}", "--remote-debugging-port=0", "--remote-allow-origins=*", "about:blank",
        ]  # fmt: skip
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        found = wait(lambda: (folder / "DevToolsActivePort").exists() and (folder / "DevToolsActivePort").read_text())
        pages = json.loads(get(f"http://127.0.0.1:{found.split()[0]}", "/json")[1])
        address = next(page["webSocketDebuggerUrl"] for page in pages if page["type"] == "page")
        self.socket = connect(address, max_size=None)
        self.sent, self.faults = 0, []
        self.send("Log.enable")
        self.send("Runtime.enable")

    def send(self, method: str, **parameters: object) -> dict:
        self.sent += 1
        self.socket.send(json.dumps({"id": self.sent, "method": method, "params": parameters}))
        while True:
            said = json.loads(self.socket.recv(timeout=30))
            if said.get("method") in ("Log.entryAdded", "Runtime.exceptionThrown"):
                self.faults.append(said["params"])
            if said.get("id") == self.sent:
                return said.get("result", said)

    def value(self, expression: str) -> object:
        return self.send("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def close(self) -> None:
        self.socket.close()
        self.process.kill()
        self.process.wait()


def wait(condition, seconds: float = 60.0):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.1)
    raise AssertionError("waited in vain")


@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium, so the pages were NOT LOOKED AT in a browser")
def test_a_browser_shows_the_fleet_on_a_phone_and_keeps_it_live(dashboard, home, tmp_path):
    _, url = dashboard()
    report(home, "worker_02", state="failed", message="The wallet has 0 uallo.")
    browser = Browser(tmp_path / "browser")
    try:
        browser.send("Emulation.setDeviceMetricsOverride", width=390, height=800, deviceScaleFactor=1, mobile=True)
        browser.send("Page.navigate", url=url)
        wait(lambda: browser.value("document.getElementById('pulse')?.textContent") == "live")
        assert "The wallet has 0 uallo." in browser.value("document.body.innerText")
        assert browser.value("document.documentElement.scrollWidth <= 390")
        assert len(base64.b64decode(browser.send("Page.captureScreenshot")["data"])) > 10_000
        # another worker falls silent for good: the page says so without being loaded again, and says it aloud
        browser.value("window.here = 1; document.querySelector('table a').focus()")
        journal_path(home, "worker_01").unlink()
        report(home, "worker_02")
        wait(lambda: "worker_02" not in str(browser.value("document.querySelector('tr.bad')?.innerText")))
        wait(lambda: "workers need attention" in str(browser.value("document.getElementById('announce').textContent")))
        assert browser.value("window.here") == 1
        assert browser.value("document.activeElement.tagName") == "A"
        assert browser.faults == []  # nothing that the page's own policy refuses, and no error of the script
    finally:
        browser.close()


@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium, so the pages were NOT LOOKED AT in a browser")
def test_axe_finds_nothing_on_any_page(dashboard, home, tmp_path):
    axe = (Path(str(find_spec("axe_core_python").origin)).parent / "axe.min.js").read_text()
    _, url = dashboard()
    report(home, "worker_02", state="failed", message="The wallet has 0 uallo.")
    wide, phone = (1280, "light"), (390, "dark")
    looks = [(page, *wide) for page in ("/", "/workers/worker_03", "/models/worker_03", "/bars")]
    looks += [(page, *phone) for page in ("/", "/workers/worker_03/nonces/1012", "/models", "/logs", "/login", "/none")]
    browser = Browser(tmp_path / "browser")
    found = {}
    try:
        for page, width, scheme in looks:
            browser.send("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1,
                         mobile=width < 500)  # fmt: skip
            browser.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
            browser.value("window.stale = 1")
            browser.send("Page.navigate", url=url + page)
            wait(lambda: browser.value("!window.stale && document.readyState") == "complete")
            browser.value(f"{axe};0")
            answer = browser.send("Runtime.evaluate", expression=AXE, awaitPromise=True, returnByValue=True)
            told = json.loads(answer["result"]["value"])
            assert told["rules"] > 20
            found[f"{page} {width} {scheme}"] = told["against"]
    finally:
        browser.close()
    assert {place: against for place, against in found.items() if against} == {}
