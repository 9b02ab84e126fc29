"""The locks agree with one another, and the audit of them never takes silence for good news."""

import re
import subprocess
import sys

import pytest

CLEAN = {"name": "numpy", "version": "2.4.0", "vulns": []}
FAULTY = {
    "name": "pillow", "version": "12.0", "vulns": [
        {"id": "PYSEC-2026-1", "aliases": ["CVE-2026-1"], "fix_versions": ["12.1"], "description": "long"},
    ],
}  # fmt: skip
UNKNOWN = {"name": "private", "skip_reason": "Dependency not found on PyPI"}


def pins(path):
    return dict(re.findall(r"^([a-z0-9._-]+)==([^ ;\\]+)", path.read_text(), flags=re.MULTILINE))


@pytest.mark.parametrize("name", ["all", "server", "worker"])
def test_every_lock_takes_its_versions_from_the_largest(pytestconfig, name):
    folder = pytestconfig.rootpath / "requirements"
    largest, smaller = pins(folder / "dev.txt"), pins(folder / f"{name}.txt")
    assert len(smaller) > 80
    other = {package for package, version in smaller.items() if largest.get(package, version) != version}
    missing = smaller.keys() - largest.keys()
    assert other == set()
    assert not missing or (name == "server" and "kubernetes" in missing)


def test_only_the_servers_lock_holds_what_only_servers_need(pytestconfig):
    folder = pytestconfig.rootpath / "requirements"
    assert {"dagster-postgres", "dagster-k8s", "psycopg2-binary", "psycopg", "boto3"} <= pins(
        folder / "server.txt"
    ).keys()
    assert not {"dagster-postgres", "psycopg2-binary"} & pins(folder / "all.txt").keys()


@pytest.mark.parametrize(
    ("answers", "code", "words"),
    [
        ({"pypi": [CLEAN]}, 0, "1 packages looked up at pypi, 0 vulnerabilities known."),
        ({"pypi": [CLEAN, FAULTY]}, 1, "pillow 12.0: PYSEC-2026-1 CVE-2026-1; mended in 12.1"),
        ({"pypi": [CLEAN, UNKNOWN]}, 0, "Not known there: private."),
        ({"pypi": [UNKNOWN], "osv": [FAULTY]}, 1, "2026-1"),
        ({"pypi": [UNKNOWN]}, 3, "NOT audited"),
        ({}, 3, "NOT audited"),
    ],
)
def test_the_audit_says_what_was_looked_up_and_what_could_not_be(pytestconfig, tmp_path, answers, code, words):
    stand_in = tmp_path / "uv"  # answers in the place of the pip-audit that it would fetch
    stand_in.write_text(
        f"#!{sys.executable}\nimport json, sys\n"
        "given = sys.argv\n"
        f"answer = {answers!r}.get(given[given.index('--vulnerability-service') + 1])\n"
        "if answer is None:\n    sys.exit('no such host')\n"
        "open(given[given.index('--output') + 1], 'w').write(json.dumps({'dependencies': answer}))\n"
    )
    stand_in.chmod(0o755)
    done = subprocess.run(
        [sys.executable, str(pytestconfig.rootpath / "requirements" / "audit.py")], env={"UV": str(stand_in)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (code, "")
    assert words in done.stdout
