"""A home goes into one file and comes out again, in another folder, with everything that it knew."""

import json
import os
import sqlite3
import stat
import tarfile
from datetime import UTC, datetime

import pytest

from crucible.backup.archive import create
from crucible.backup.restore import restore, verify
from crucible.chain.keystore import Keystore
from crucible.clock import ManualClock
from crucible.doctor.house import examine_house
from crucible.errors import StoreError
from crucible.process import write_json
from crucible.registry.store import client
from crucible.settings import Settings
from crucible.worker.journal import Journal, read_journal


def home_at(folder):
    (folder / "recipes").mkdir(parents=True, exist_ok=True)
    return Settings.load({"CRUCIBLE_HOME": str(folder / "home"), "CRUCIBLE_RECIPES": str(folder / "recipes")})


@pytest.fixture(scope="module")
def lived_in(tmp_path_factory):
    settings = home_at(tmp_path_factory.mktemp("old"))
    (settings.recipes / "mine.toml").write_text("name = 'mine'\n")
    clock = ManualClock(datetime(2026, 1, 1, tzinfo=UTC))
    with Journal(settings.fleet / "journal" / "mine.db", clock, chain_id="c", topic_id=1, address="a") as journal:
        journal.seen(7, 9)  # only in the write-ahead log so far
        Keystore(settings.keystore, {}).create("w")
        write_json(settings.fleet / "desired" / "mine.json", {"bundle_path": f"{settings.bundles}/abc", "version": 1})
        write_json(settings.features / "mine" / "current.json", {"end": "t"})
        (settings.features / "mine" / "x.parquet").write_bytes(b"x")
        write_json(settings.bundles / "abc" / "manifest.json", {"a": 1})
        write_json(settings.data / "ledger" / "mine.jsonl", {"kind": "anchored"})
        for name in ("logs/a.log", "run/a.json", "endpoints.json", "real/data/keystore/other.json"):
            (settings.data / name).parent.mkdir(parents=True, exist_ok=True)
            (settings.data / name).write_text("{}")
        mlflow = client(settings)
        mlflow.create_experiment("mine", artifact_location=(settings.mlruns / "artifacts" / "mine").as_uri())
        yield settings


def names_in(path):
    with tarfile.open(path) as archive:
        return set(archive.getnames())


def test_a_home_is_restored_in_another_folder(lived_in, tmp_path):
    manifest = create(lived_in, tmp_path / "b.tar.gz", keystore=True)
    assert stat.S_IMODE((tmp_path / "b.tar.gz").stat().st_mode) == 0o600
    new = home_at(tmp_path)
    done = restore(new, tmp_path / "b.tar.gz")
    assert done.manifest == manifest == verify(tmp_path / "b.tar.gz")
    assert done.differing == ()
    assert (new.recipes / "mine.toml").exists()
    assert [row.nonce for row in read_journal(new.fleet / "journal" / "mine.db")] == [7]
    assert Keystore(new.keystore, {}).open("w").address == Keystore(lived_in.keystore, {}).address("w")
    assert {stat.S_IMODE(path.stat().st_mode) for path in new.keystore.iterdir()} == {0o600}
    assert json.loads((new.fleet / "desired" / "mine.json").read_text())["bundle_path"] == f"{new.bundles}/abc"
    # MLflow's absolute locations have moved, and the store opens
    found = client(new).get_experiment_by_name("mine")
    assert found.artifact_location == (new.mlruns / "artifacts" / "mine").as_uri()
    assert next(item for item in examine_house(new) if item.check == "MLflow store").state == "well"
    assert not any((new.data / name).exists() for name in ("logs", "run", "endpoints.json", "real"))
    assert sorted(os.listdir(new.home)) == ["data", "mlruns"]


def test_wallets_and_what_can_be_made_anew_are_left_out_on_request(lived_in, tmp_path):
    create(lived_in, tmp_path / "b.tar", without=("features",))
    names = names_in(tmp_path / "b.tar")
    assert not any("keystore" in name or name.endswith(".parquet") for name in names)
    assert "data/features/mine/current.json" in names  # or the verdict could not be found
    assert {"data/ledger/mine.jsonl", "data/bundles/abc/manifest.json", "mlruns/mlflow.db", "manifest.json"} <= names


def test_a_backup_replaces_nothing(lived_in, tmp_path):
    create(lived_in, tmp_path / "b.tar")
    with pytest.raises(StoreError, match="never overwritten"):
        create(lived_in, tmp_path / "b.tar")
    with pytest.raises(StoreError, match="not empty"):
        restore(lived_in, tmp_path / "b.tar")
    new = home_at(tmp_path)
    (new.recipes / "mine.toml").write_text("name = 'mine' # mine\n")
    done = restore(new, tmp_path / "b.tar")
    assert [path.name for path in done.differing] == ["mine.toml.from-backup"]
    assert "# mine" in (new.recipes / "mine.toml").read_text()
    empty = Settings.load({"CRUCIBLE_HOME": str(tmp_path / "e"), "CRUCIBLE_RECIPES": str(tmp_path / "none")})
    with pytest.raises(StoreError, match="nothing to back up"):
        create(empty, tmp_path / "c.tar")


def rewritten(source, target, change):
    with tarfile.open(source) as old, tarfile.open(target, "w") as new:
        for member in old:
            content = old.extractfile(member)
            if (changed := change(member)) is not None:
                new.addfile(changed, content)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: None if m.name == "manifest.json" else m, "no manifest"),
        (lambda m: None if m.name.endswith("mine.jsonl") else m, "not what the manifest says"),
        (lambda m: m.replace(name="data/../../x") if m.name.endswith("mine.jsonl") else m, "does not belong"),
        (lambda m: m.replace(name="/etc/x") if m.name.endswith("mine.jsonl") else m, "does not belong"),
    ],
)
def test_an_altered_archive_leaves_nothing_behind(lived_in, tmp_path, change, words):
    create(lived_in, tmp_path / "b.tar")
    rewritten(tmp_path / "b.tar", tmp_path / "bad.tar", change)
    new = home_at(tmp_path)
    with pytest.raises(StoreError, match=words):
        restore(new, tmp_path / "bad.tar")
    assert list(new.home.iterdir()) == []
    assert not (tmp_path / "x").exists()


def test_a_flipped_byte_and_a_cut_file_are_found(lived_in, tmp_path):
    create(lived_in, tmp_path / "b.tar")
    content = bytearray((tmp_path / "b.tar").read_bytes())
    content[content.index(b'"kind"')] ^= 1
    (tmp_path / "b.tar").write_bytes(content)
    with pytest.raises(StoreError, match=r"mine\.jsonl is not what"):
        verify(tmp_path / "b.tar")
    (tmp_path / "b.tar").write_bytes(content[: len(content) // 2])
    with pytest.raises(StoreError, match=r"damaged|no manifest"):
        verify(tmp_path / "b.tar")
    with pytest.raises(StoreError, match="There is no backup"):
        verify(tmp_path / "none.tar")


def test_a_database_that_is_being_written_is_taken_as_of_one_instant(lived_in, tmp_path):
    database = sqlite3.connect(lived_in.data / "busy.db")
    database.execute("CREATE TABLE t (x)")
    database.commit()
    database.execute("INSERT INTO t VALUES (1)")  # not committed
    create(lived_in, tmp_path / "b.tar")
    database.commit()
    database.close()
    new = home_at(tmp_path)
    restore(new, tmp_path / "b.tar")
    restored = sqlite3.connect(new.data / "busy.db")
    assert restored.execute("SELECT count(*) FROM t").fetchone() == (0,)
    restored.close()
