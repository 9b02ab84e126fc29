"""The unit file and the container's files, as far as they can be judged without systemd and without a registry."""

import configparser
import os
import re
import shlex
import shutil
import subprocess
import sys

import pytest
from click.testing import CliRunner

from crucible.cli import crucible


@pytest.fixture
def deploy(pytestconfig):
    return pytestconfig.rootpath / "deploy"


def test_systemd_accepts_the_unit(deploy, tmp_path):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed: this DID NOT RUN")
    text = (deploy / "systemd" / "crucible-fleet.service").read_text()
    unit = tmp_path / "crucible-fleet.service"
    unit.write_text(text.replace("/opt/crucible/bin/crucible", sys.executable))
    found = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    complaints = [line for line in found.stderr.splitlines() if "crucible-fleet" in line]
    assert (found.returncode, complaints) == (0, [])


def test_the_unit_drains_restarts_and_holds_no_secret(deploy):
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str
    unit.read(deploy / "systemd" / "crucible-fleet.service")
    service = unit["Service"]
    command = shlex.split(service["ExecStart"])
    assert command[1:] == ["fleet", "run"]
    assert CliRunner().invoke(crucible, [*command[1:], "--help"]).exit_code == 0
    # longer than the fleet gives its workers, and the fleet alone ends them
    assert int(service["TimeoutStopSec"]) > 10
    assert (service["KillMode"], service["Restart"], service["UMask"]) == ("process", "always", "0077")
    assert "LoadCredential" in service
    text = (deploy / "systemd" / "crucible-fleet.service").read_text()
    assert not re.search(r"PASSPHRASE=|MNEMONIC|postgresql://", text)


def test_the_image_is_made_of_what_there_is_and_of_the_workers_lock_alone(deploy, pytestconfig):
    text = (deploy / "container" / "Dockerfile").read_text()
    sources = [line.split()[1] for line in text.splitlines() if line.startswith("COPY ") and "--from" not in line]
    assert all((pytestconfig.rootpath / source).exists() for source in sources)
    assert "--require-hashes -r requirements/worker.txt" in text
    lock = (pytestconfig.rootpath / "requirements" / "worker.txt").read_text()
    assert not re.search(r"^(dagster|mlflow|optuna|great-expectations|sqlalchemy)==", lock, re.M)
    assert re.search(r"^USER crucible$", text, re.M)
    ignored = (deploy / "container" / "Dockerfile.dockerignore").read_text().splitlines()
    assert ignored[0] == "*"
    assert set(sources) == {line[1:] for line in ignored if line.startswith("!")}


def test_what_the_image_runs_needs_nothing_of_the_laboratory(tmp_path):
    script = """
import sys
for name in "dagster mlflow pandas great_expectations matplotlib optuna arch distributed sqlalchemy".split():
    sys.modules[name] = None  # an import of it fails
import crucible.worker.wallet_worker, crucible.worker.fleet, crucible.worker.roll_back
from crucible.cli import main
main(["workers", "ls"])
"""
    environ = {**os.environ, "CRUCIBLE_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", script], env=environ, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Nothing is deployed" in done.stdout


@pytest.mark.parametrize(
    ("given", "expected"),
    [([], "-m crucible fleet run"), (["fleet"], "-m crucible fleet run"), (["health"], "-m crucible fleet health"),
     (["wallet", "ls", "--json"], "-m crucible wallet ls --json")],
)  # fmt: skip
def test_the_entry_point_runs_commands_that_there_are(deploy, tmp_path, given, expected):
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text('#!/bin/sh\necho "$@"\n')
    python.chmod(0o755)
    entry = deploy / "container" / "worker-entrypoint"
    assert os.access(entry, os.X_OK)
    environ = {"PATH": f"{python.parent}:{os.environ['PATH']}", "CRUCIBLE_HOME": str(tmp_path)}
    done = subprocess.run([entry, *given], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout == expected + "\n"
    assert CliRunner().invoke(crucible, [*expected.split()[2:], "--help"]).exit_code == 0
