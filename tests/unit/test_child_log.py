"""Logs that grow for months."""

import sys
import time

import pytest

from crucible import child_log
from crucible.child_log import last_line, shorten
from crucible.errors import StoreError
from crucible.process import Child


def test_the_last_words_of_a_long_log(tmp_path):
    log = tmp_path / "a.log"
    assert last_line(log) == "it printed nothing"
    log.write_text("first\n" * 50_000 + "the node is away \n\n  \n")
    assert last_line(log) == "the node is away"


def test_a_process_goes_on_in_a_log_that_is_shortened(tmp_path, monkeypatch):
    monkeypatch.setattr(child_log, "MOST_BYTES", 20_000)
    script = "import itertools, time\nfor n in itertools.count(): print(f'line {n:06d}', flush=True); time.sleep(2e-4)"
    log = tmp_path / "logs" / "a.log"
    child = Child.start("a", [sys.executable, "-c", script], log=log, env={}, cwd=tmp_path)
    try:
        deadline, largest = time.monotonic() + 60, 0
        while len(list(log.parent.iterdir())) < 2 or log.stat().st_size < 2_000:
            assert time.monotonic() < deadline
            largest = max(largest, log.stat().st_size)
            shorten(log)
    finally:
        child.popen.kill()
        child.popen.wait()
    before, after = (log.parent / "a.log.1").read_text(), log.read_text()
    assert largest < 1_000_000  # seventeen seconds of it: this process may have to wait its turn
    assert sorted(path.name for path in log.parent.iterdir()) == ["a.log", "a.log.1"]
    assert "\0" not in after  # it appends, and so leaves no hole where it was
    numbers = [int(line.split()[1]) for line in (before + after).splitlines()[:-1] if len(line) == 11]
    assert numbers == sorted(set(numbers))
    assert len(before.splitlines()) > 1_000


def test_what_is_short_or_missing_is_left_alone(tmp_path):
    shorten(tmp_path / "none.log")
    (tmp_path / "a.log").write_text("a line\n")
    shorten(tmp_path / "a.log")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["a line\n"]


def test_a_disk_that_refuses_leaves_the_log_as_it_was(tmp_path, monkeypatch):
    monkeypatch.setattr(child_log, "MOST_BYTES", 3)
    log = tmp_path / "a.log"
    log.write_text("a line\n")
    (tmp_path / "a.log.1").mkdir()
    (tmp_path / "a.log.1" / "in the way").touch()
    with pytest.raises(StoreError, match=r"a\.log cannot be shortened"):
        shorten(log)
    assert log.read_text() == "a line\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.log", "a.log.1"]


def test_a_child_whose_log_has_no_place_is_not_started(tmp_path):
    from crucible.errors import ProcessError

    (tmp_path / "logs").write_text("a file")
    with pytest.raises(ProcessError, match="a cannot be started"):
        Child.start("a", [sys.executable, "-c", ""], log=tmp_path / "logs" / "a.log", env={}, cwd=tmp_path)
