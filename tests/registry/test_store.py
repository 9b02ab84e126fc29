import os
import subprocess
import sys

import pytest

from crucible.errors import RegistryError
from crucible.registry.store import client
from crucible.settings import Settings


def test_opening_needs_no_working_directory_and_writes_nothing_there(settings):
    client(settings).search_experiments()
    assert list(os.scandir(".")) == []


def test_it_is_quiet_and_never_unpickles(settings):
    client(settings)
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert os.environ["DO_NOT_TRACK"] == "true"
    assert os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] == "false"
    assert os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] == "false"


def test_processes_that_create_the_store_at_once_do_not_ruin_each_other(tmp_path):
    script = (
        "import sys, pathlib; from crucible.settings import Settings; from crucible.registry.store import client;"
        "s = Settings(home=pathlib.Path(sys.argv[1]), recipes=pathlib.Path('.'));"
        "client(s).create_experiment(sys.argv[2]); sys.exit(len(client(s).search_experiments()) < 2)"
    )
    children = [
        subprocess.Popen([sys.executable, "-c", script, str(tmp_path), name], stderr=subprocess.PIPE, cwd=tmp_path)
        for name in ("one", "two")
    ]
    for child in children:
        _, err = child.communicate(timeout=100)
        assert (child.returncode, err) == (0, b"")
    found = {item.name for item in client(Settings(home=tmp_path, recipes=tmp_path)).search_experiments()}
    assert found == {"Default", "one", "two"}


def test_what_is_no_database_is_refused_at_once(tmp_path):
    settings = Settings(home=tmp_path, recipes=tmp_path)
    settings.mlruns.mkdir()
    (settings.mlruns / "mlflow.db").write_bytes(b"not a database" * 100)
    with pytest.raises(RegistryError, match=r"mlflow\.db is no SQLite database; move it away"):
        client(settings)


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    settings = Settings(home=tmp_path, recipes=tmp_path)
    settings.mlruns.write_text("a file where a folder should be")
    with pytest.raises(RegistryError, match=r"The MLflow store .* cannot be opened: ") as caught:
        client(settings)
    assert "\n" not in str(caught.value)
