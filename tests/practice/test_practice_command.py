"""``crucible practice serve`` as a process."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from datetime import UTC, datetime

import pyarrow.parquet as pq
import pytest

from crucible.clock import ScaledClock

pytestmark = pytest.mark.processes


@pytest.fixture
def serve(tmp_path):
    """Start ``crucible practice serve …``; every process is ended afterwards."""
    started = []

    def start(*arguments, **environment):
        command = [sys.executable, "-m", "crucible", "practice", "serve", *(str(item) for item in arguments)]
        env = {**os.environ, "CRUCIBLE_HOME": str(tmp_path), **environment}
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def wait_ready(process, path):
    deadline = time.monotonic() + 30
    while not path.exists():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return json.loads(path.read_text())


def refusal(process):
    out, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert out == ""
    assert err.startswith("crucible: ")
    assert err.count("\n") == 1
    return err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_by_the_shared_clock_and_ends_within_a_second(serve, tmp_path, number):
    clock = ScaledClock.starting(datetime(2026, 2, 1, tzinfo=UTC), 600)
    ready = tmp_path / "ready.json"
    process = serve(
        "--simulate", "--seed", 7, "--signal", 0.2, "--signal-horizon", "5m", "--listed", "2026-01-20T00:00:00Z",
        "--symbol", "BTCUSDT", "--symbol", "ETHUSDT", "--port", 0, "--ready-file", ready, CRUCIBLE_CLOCK=clock.text(),
    )  # fmt: skip
    told = wait_ready(process, ready)
    assert told["symbols"] == ["BTCUSDT", "ETHUSDT"]
    assert (told["first"], told["last"]) == ("2026-01-20T00:00:00+00:00", None)
    with urllib.request.urlopen(f"{told['url']}/api/v3/time", timeout=5) as answer:
        served = json.loads(answer.read())["serverTime"] / 1000
    assert abs(served - clock.now().timestamp()) < 600  # one second of real time
    with socket.create_connection(("127.0.0.1", int(told["url"].rsplit(":", 1)[1]))) as idle:  # must not hold it up
        idle.sendall(b"GET /api/v3/ti")
        started = time.monotonic()
        process.send_signal(number)
        out, err = process.communicate(timeout=5)
        assert time.monotonic() - started < 1
    assert process.returncode == 0
    assert err == ""
    assert told["url"] in out
    assert not ready.exists()


def test_a_file_is_replayed(serve, tmp_path, make_bars):
    pq.write_table(make_bars(300), tmp_path / "bars.parquet")
    clock = ScaledClock.starting(datetime(2026, 1, 1, 12, 1, tzinfo=UTC), 1)
    ready = tmp_path / "ready.json"
    process = serve(
        "--bars", tmp_path / "bars.parquet", "--symbol", "BTCUSDT", "--ready-file", ready, CRUCIBLE_CLOCK=clock.text()
    )
    told = wait_ready(process, ready)
    assert (told["first"], told["last"]) == ("2026-01-01T00:00:00+00:00", "2026-01-02T01:00:00+00:00")
    with urllib.request.urlopen(f"{told['url']}/api/v3/klines?symbol=BTCUSDT&interval=5m", timeout=5) as answer:
        assert len(json.loads(answer.read())) == 145


def test_the_market_turns_when_it_is_told_to(serve, tmp_path):
    clock = ScaledClock.starting(datetime(2026, 2, 1, tzinfo=UTC), 1).text()
    market = ("--simulate", "--signal", 0.6, "--signal-horizon", "1h", "--listed", "2026-01-30T00:00:00Z", "--port", 0)
    files = [tmp_path / "same.json", tmp_path / "turned.json"]
    turns = (), ("--turns-at", "2026-01-31T00:00:00Z")
    started = [
        serve(*market, *turn, "--ready-file", file, CRUCIBLE_CLOCK=clock)
        for turn, file in zip(turns, files, strict=True)
    ]
    same, turned = (_closes(wait_ready(process, file)["url"]) for process, file in zip(started, files, strict=True))
    assert len(same) == 48
    before = 23  # hours of the day before: the newest of the 48 has just begun
    assert same[:before] == turned[:before]
    assert all(one != other for one, other in zip(same[before:], turned[before:], strict=True))


def _closes(url):
    with urllib.request.urlopen(f"{url}/api/v3/klines?symbol=BTCUSDT&interval=1h&limit=48", timeout=10) as answer:
        return [row[4] for row in json.loads(answer.read())]


def test_a_port_in_use_is_one_sentence(serve):
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        port = held.getsockname()[1]
        assert f"127.0.0.1:{port}: the port is in use" in refusal(serve("--simulate", "--port", port))


def test_what_cannot_be_served_is_one_sentence(serve, tmp_path, make_bars):
    pq.write_table(make_bars(300, missing=(5,)), tmp_path / "bars.parquet")
    cases = [
        (serve("--bars", tmp_path / "none.parquet"), "There is no bar file"),
        (serve("--bars", tmp_path / "bars.parquet"), "misses 1 bar of 5m"),
        (serve("--simulate", "--signal", 2), "between 0 and"),
        (serve("--simulate", "--host", "0.0.0.0"), "loopback only"),
        (serve("--simulate", "--ready-file", "/proc/none/ready.json"), "cannot be written"),
    ]
    for process, words in cases:
        assert words in refusal(process)


def test_wrong_usage_is_told(serve, tmp_path):
    cases = [
        (serve(), "either --simulate or --bars"),
        (serve("--simulate", "--bars", "x"), "either --simulate or --bars"),
        (serve("--bars", "x", "--symbol", "A", "--symbol", "B"), "1 --bars and 2 --symbol"),
        (serve("--simulate", "--listed", "2026-01-01"), "has no time zone"),
        (serve("--simulate", "--turns-at", "2026-02-01T00:00:00Z"), "needs a --signal that can turn"),
        (serve("--simulate", "--listed", "new year"), "is no ISO 8601 instant"),
    ]
    for process, words in cases:
        _, err = process.communicate(timeout=30)
        assert process.returncode == 2
        assert words in " ".join(err.split())
