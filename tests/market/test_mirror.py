"""The copy of the bar store at a URL: on a real S3 server on loopback, and in a folder."""

from datetime import timedelta

import boto3
import pytest
from moto.server import ThreadedMotoServer

from crucible.cli import main
from crucible.errors import StoreError
from crucible.market.ledger import Note
from crucible.market.mirror import pull, push
from crucible.market.series import Series
from crucible.market.store import BarStore

SERIES = Series("binance", "BTCUSDT", timedelta(hours=1))


@pytest.fixture(scope="module")
def server():
    found = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    found.start()
    yield "http://{}:{}".format(*found.get_host_and_port())
    found.stop()


@pytest.fixture
def bucket(server, monkeypatch, request):
    for name, value in {
        "AWS_ENDPOINT_URL": server, "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "word",
        "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    client = boto3.client("s3")
    name = f"bars-{abs(hash(request.node.name)) % 10**8}"
    client.create_bucket(Bucket=name)
    return client, name


@pytest.fixture
def store(tmp_path, make_bars):
    made = BarStore(tmp_path / "here")
    made.write(SERIES, make_bars(24 * 70, interval=timedelta(hours=1), missing=(30, 31)))
    start = made.read(SERIES)["open_time"][0].as_py()
    made.ledger(SERIES).add(
        [Note(start + 30 * SERIES.interval, start + 32 * SERIES.interval, "exchange down", "x", start)]
    )
    return made


@pytest.mark.processes
def test_bars_come_back_from_an_object_store_as_they_were(store, bucket, tmp_path, make_bars):
    client, name = bucket
    url = f"s3://{name}/some/where"
    assert push(store, url).copied == 3
    assert (push(store, url).copied, push(store, url).same) == (0, 3)
    keys = [item["Key"] for item in client.list_objects_v2(Bucket=name)["Contents"]]
    assert len([key for key in keys if key.endswith(".parquet")]) == 3
    other = BarStore(tmp_path / "other")
    done = pull(other, url)
    assert (done.copied, done.same, done.differing) == (3, 0, ())
    assert other.digest(SERIES) == store.digest(SERIES)
    assert other.manifests(SERIES) == store.manifests(SERIES)
    assert other.ledger(SERIES).notes() == store.ledger(SERIES).notes()
    assert (pull(other, url).copied, pull(other, url).same) == (0, 3)
    # a month changes: it alone is copied, and what it replaces is gone
    store.write(SERIES, make_bars(24 * 70, seed=1, interval=timedelta(hours=1)).slice(24 * 65))
    assert push(store, url).copied == 1
    keys = [item["Key"] for item in client.list_objects_v2(Bucket=name)["Contents"]]
    assert len([key for key in keys if key.endswith(".parquet")]) == 3
    assert pull(other, url).differing == ("binance BTCUSDT 1h 2026-03",)
    assert pull(other, url, replace=True).copied == 1
    assert other.digest(SERIES) == store.digest(SERIES)


@pytest.mark.processes
def test_a_push_that_is_cut_off_leaves_whole_months_and_goes_on(store, bucket, tmp_path, monkeypatch):
    from crucible.market.remote import Remote

    _, name = bucket
    url, write, left = f"s3://{name}/bars", Remote.write, [3]

    def failing(self, path, content):
        left[0] -= 1
        if left[0] < 0:
            raise StoreError("cut off")
        write(self, path, content)

    monkeypatch.setattr(Remote, "write", failing)
    with pytest.raises(StoreError, match="cut off"):
        push(store, url)  # a month, and the bars of the next one without their manifest
    monkeypatch.setattr(Remote, "write", write)
    assert pull(BarStore(tmp_path / "early"), url).copied == 1
    assert (push(store, url).copied, push(store, url).same) == (2, 3)


def test_a_flipped_bit_and_a_foreign_name_stay_outside(store, tmp_path):
    folder = tmp_path / "copy"
    push(store, folder.as_uri())
    victim = next(folder.rglob("*.parquet"))
    content = bytearray(victim.read_bytes())
    content[200] ^= 1
    victim.write_bytes(content)
    (folder / "source=binance" / "manifest.json").write_text('{"sha256": "../../x"}')
    strange = folder / "source=binance" / "symbol=BTCUSDT" / "interval=1h" / "month=..%2f"
    strange.mkdir()
    (strange / "manifest.json").write_text('{"sha256": "' + "0" * 64 + '"}')
    other = BarStore(tmp_path / "other")
    with pytest.raises(StoreError, match="not what its manifest says"):
        pull(other, folder.as_uri())
    assert all(path.parent.name.startswith("month=2026-") for path in other.root.rglob("bars.parquet"))


@pytest.mark.parametrize("url", ["bars", "ftp://host/bars", "s3://no-such-bucket-here/x"])
def test_what_is_no_store_is_said_in_one_sentence(store, bucket, url):
    with pytest.raises(StoreError) as refused:
        pull(store, url) if not url.startswith("s3") else push(store, url)
    assert "\n" not in str(refused.value)


def test_the_commands_tell_what_was_copied(tmp_path, monkeypatch, capsys, make_bars):
    monkeypatch.setenv("CRUCIBLE_HOME", str(tmp_path / "home"))
    BarStore(tmp_path / "home" / "data" / "bars").write(SERIES, make_bars(50, interval=timedelta(hours=1)))
    url = (tmp_path / "copy").as_uri()
    for arguments in (["push", url, "--json"], ["pull", url]):
        with pytest.raises(SystemExit) as ended:
            main(["bars", *arguments])
        assert ended.value.code == 0
        told = capsys.readouterr().out
    assert told == "0 months copied (0.0 MB), 1 were there already\n"


@pytest.mark.processes
def test_a_backup_goes_to_an_object_store_and_comes_back(bucket, tmp_path, monkeypatch, capsys, make_bars):
    client, name = bucket
    url = f"s3://{name}/crucible.tar.gz"

    def run(home, *arguments):
        monkeypatch.setenv("CRUCIBLE_HOME", str(tmp_path / home))
        monkeypatch.setenv("CRUCIBLE_RECIPES", str(tmp_path / home / "recipes"))
        with pytest.raises(SystemExit) as ended:
            main(["backup", *arguments])
        return ended.value.code, capsys.readouterr()

    made = BarStore(tmp_path / "old" / "data" / "bars")
    made.write(SERIES, make_bars(50, interval=timedelta(hours=1)))
    code, said = run("old", "create", url)
    assert (code, said.err) == (0, "")
    assert f"written to {url}" in said.out
    assert run("old", "create", url)[0] == 1  # never overwritten
    assert run("old", "verify", url)[0] == 0
    assert run("new", "restore", url)[0] == 0
    assert BarStore(tmp_path / "new" / "data" / "bars").digest(SERIES) == made.digest(SERIES)
    assert list(tmp_path.glob("*/.backup-*")) == []
    client.put_object(Bucket=name, Key="cut.tar.gz", Body=b"\x1f\x8b nothing")
    code, said = run("new", "verify", f"s3://{name}/cut.tar.gz")
    assert (code, "is no backup, or is damaged" in said.err) == (1, True)
    assert run("new", "verify", f"s3://{name}")[0] == 1
