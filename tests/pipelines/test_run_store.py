"""Dagster's runs and events in a real PostgreSQL: launched by one process, read back by another."""

import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
from postgres_server import postgres_server

from crucible.errors import SettingsError
from crucible.settings import Settings
from crucible.stack.instance import write_instance

ROOT = Path(__file__).resolve().parents[2]

READ = """
import sys
import dagster as dg

with dg.DagsterInstance.get() as instance:
    run = instance.get_run_by_id(sys.argv[1])
    found = instance.get_latest_materialization_event(dg.AssetKey("answer"))
    print(run.status.value, run.tags["what"], found.asset_materialization.metadata["value"].value)
"""


@pytest.fixture
def settings(tmp_path):
    return Settings(home=tmp_path / "home", recipes=ROOT / "recipes")


@dg.asset
def answer() -> dg.MaterializeResult:
    return dg.MaterializeResult(metadata={"value": 42})


def python(script, *arguments, **environ):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, *arguments], env={**os.environ, **environ}, capture_output=True,
        text=True, check=False, timeout=100,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.processes
def test_a_run_in_postgresql_is_read_back_by_another_process(tmp_path, monkeypatch):
    home = tmp_path / "home"
    with postgres_server() as place:
        secret = tmp_path / "store-url"
        secret.write_text(f"postgresql+psycopg2://{place}\n")
        settings = Settings.load({"CRUCIBLE_HOME": str(home), "CRUCIBLE_DAGSTER_STORE_FILE": str(secret)})
        assert settings.dagster_store == f"postgresql+psycopg2://{place}"
        folder = write_instance(settings, ROOT)
        environ = {"DAGSTER_HOME": str(folder), "CRUCIBLE_DAGSTER_STORE": settings.dagster_store}
        monkeypatch.setenv("CRUCIBLE_DAGSTER_STORE", settings.dagster_store)
        with dg.DagsterInstance.from_config(str(folder)) as instance:
            assert type(instance.run_storage).__name__ == "PostgresRunStorage"
            run_id = dg.materialize([answer], instance=instance, tags={"what": "test"}).run_id
        assert python(READ, run_id, **environ) == ["SUCCESS", "test", "42"]
        assert not list(folder.rglob("*.db"))
        assert place not in "".join(path.read_text() for path in folder.rglob("*.yaml"))


def test_without_the_setting_the_instance_is_the_projects_own(settings):
    folder = write_instance(settings, ROOT)
    assert folder == settings.data / "dagster"
    assert (folder / "dagster.yaml").read_text() == (ROOT / "dagster.yaml").read_text()


def test_what_is_no_store_is_refused_in_one_sentence_without_its_password(tmp_path, settings):
    with pytest.raises(SettingsError, match=r"must be a URL postgresql\+psycopg2://") as caught:
        write_instance(Settings(tmp_path, tmp_path, dagster_store="postgresql://me:secret-word@host/x"), ROOT)
    assert "secret-word" not in str(caught.value)
    with pytest.raises(SettingsError, match=r"no dagster\.yaml"):
        write_instance(settings, tmp_path)
    with pytest.raises(SettingsError, match="CRUCIBLE_DAGSTER_STORE_FILE names"):
        Settings.load({"CRUCIBLE_HOME": str(tmp_path), "CRUCIBLE_DAGSTER_STORE_FILE": str(tmp_path / "none")})
