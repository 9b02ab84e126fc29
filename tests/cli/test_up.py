"""What `crucible up` says once Dagster answers, asked of a server on loopback."""

import json
import re
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace

import pytest

from crucible.cli.up import _tell_when_loaded
from crucible.errors import ProcessError


@contextmanager
def dagster(*entries):
    """A server that answers every query with these code locations; its stack, of which no process has ended."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.dumps({"data": {"workspaceOrError": {"locationEntries": list(entries)}}}).encode()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        yield SimpleNamespace(settings=SimpleNamespace(dagster_url=url), check=lambda: None)
        server.shutdown()
        thread.join()


def test_it_says_when_dagster_can_be_used(capsys):
    with dagster({"loadStatus": "LOADED", "locationOrLoadError": None}) as stack:
        _tell_when_loaded(stack, time.monotonic() - 19.0)
    told = re.fullmatch(r"Dagster is ready after (\d+) s\n", capsys.readouterr().out)
    assert 19 <= int(told[1]) < 40


def test_definitions_that_do_not_load_are_told_and_end_no_worker(capsys):
    error = {"__typename": "PythonError", "message": "NameError: name 'bars' is not defined\n"}
    with dagster({"loadStatus": "LOADED", "locationOrLoadError": error}) as stack:
        _tell_when_loaded(stack, time.monotonic())
    told = capsys.readouterr().err
    assert "Dagster cannot load the definitions: NameError: name 'bars' is not defined" in told
    assert "The workers go on without it." in told


def test_a_process_that_has_ended_still_ends_everything():
    def ended():
        raise ProcessError("fleet ended with code 1")

    with dagster() as stack:
        stack.check = ended
        with pytest.raises(ProcessError, match="fleet ended"):
            _tell_when_loaded(stack, time.monotonic())
