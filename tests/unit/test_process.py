import sys
import time

import psutil
import pytest

from crucible.errors import ProcessError, StoreError
from crucible.process import Child, end_leftovers, stop_all, write_atomic

STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
print(child.pid, flush=True)
time.sleep(60)
"""


def test_stopping_ends_descendants_that_ignore_the_signal_or_left_the_session(tmp_path):
    child = Child.start("stubborn", [sys.executable, "-c", STUBBORN], log=tmp_path / "log", env={}, cwd=tmp_path)
    deadline = time.monotonic() + 10
    while not (tmp_path / "log").read_text().strip():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    grandchild = psutil.Process(int((tmp_path / "log").read_text()))
    started = time.monotonic()
    stop_all([child], grace=0.5)
    assert time.monotonic() - started < 5
    assert child.popen.poll() is not None
    assert not grandchild.is_running() or grandchild.status() == psutil.STATUS_ZOMBIE


def test_a_child_that_dies_is_reported_with_its_last_words(tmp_path):
    script = "import sys; print('no such bars file', file=sys.stderr); sys.exit(1)"
    child = Child.start("exchange", [sys.executable, "-c", script], log=tmp_path / "log", env={}, cwd=tmp_path)
    with pytest.raises(ProcessError, match="exchange ended with code 1: no such bars file"):
        child.wait_ready(tmp_path / "ready.json", timeout=10)


def test_a_refused_write_leaves_the_old_file_and_no_litter(tmp_path):
    path = tmp_path / "state.json"
    write_atomic(path, b"old")
    # a folder in the way of the temporary file's target refuses the rename even for root
    target = tmp_path / "folder"
    target.mkdir()
    (target / "inhabited").write_text("x")
    with pytest.raises(StoreError, match="cannot be written"):
        write_atomic(target, b"new")
    assert path.read_bytes() == b"old"
    assert sorted(item.name for item in tmp_path.iterdir()) == ["folder", "state.json"]


def test_leftovers_are_found_by_their_mark_alone(tmp_path):
    sleeper = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"]
    marked = Child.start("marked", sleeper, log=tmp_path / "a", env={"CRUCIBLE_STACK": str(tmp_path)}, cwd=tmp_path)
    other = Child.start("other", sleeper, log=tmp_path / "b", env={"CRUCIBLE_STACK": "elsewhere"}, cwd=tmp_path)
    try:
        for name in ("a", "b"):
            while not (tmp_path / name).read_text():
                time.sleep(0.02)
        end_leftovers("CRUCIBLE_STACK", str(tmp_path))
        assert not psutil.pid_exists(marked.popen.pid)
        assert other.popen.poll() is None
    finally:
        stop_all([marked, other], grace=0.2)
