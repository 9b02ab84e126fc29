"""Reports of a worker, written by threads of which one may be abandoned while it writes."""

import threading

from crucible.settings import Settings
from crucible.worker import reporter
from crucible.worker.deployment import read_actual
from crucible.worker.reporter import Reporter


def test_the_last_word_stays_though_an_abandoned_thread_still_writes(tmp_path, monkeypatch):
    settings = Settings.load({"CRUCIBLE_HOME": str(tmp_path)})
    reports, begun, go_on, real = Reporter(settings), threading.Event(), threading.Event(), reporter.write_actual

    def slow_once(settings, actual):
        if actual.state == "ready":
            begun.set()
            assert go_on.wait(10)
        real(settings, actual)

    monkeypatch.setattr(reporter, "write_actual", slow_once)
    reports.report("eth", state="ready")
    abandoned = threading.Thread(target=reports.write)
    abandoned.start()
    assert begun.wait(10)
    reports.report("eth", state="stopped")
    last = threading.Thread(target=reports.write)
    last.start()
    last.join(0.3)  # free to overtake, if it could
    go_on.set()
    for thread in (abandoned, last):
        thread.join(10)
    assert read_actual(settings, "eth").state == "stopped"
