"""``crucible bars``, ``topics`` and ``recipe`` as a user types them."""

import json
import shutil
import socket
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest

from crucible.cli import main
from crucible.clock import ManualClock
from crucible.practice.embedded import EmbeddedExchange
from crucible.practice.signal import plant
from crucible.practice.simulate import SimulatedMarket

NOW = datetime(2026, 2, 1, 12, 3, 20, tzinfo=UTC)
FIVE = timedelta(minutes=5)
RECIPES = Path(__file__).resolve().parents[2] / "recipes"


@pytest.fixture
def crucible(tmp_path, monkeypatch, capsys):
    """Run a command line in a fresh home; returns (exit code, stdout, stderr)."""
    monkeypatch.setenv("CRUCIBLE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CRUCIBLE_RECIPES", str(RECIPES))

    def run(*arguments):
        with pytest.raises(SystemExit) as end:
            main([str(item) for item in arguments])
        captured = capsys.readouterr()
        return end.value.code, captured.out, captured.err

    return run


def failure(result):
    """Return the one sentence of a failed command."""
    code, out, err = result
    assert code == 1
    assert out == ""
    line = err.strip().splitlines()[-1]
    assert line.startswith("crucible: ")
    assert "Traceback" not in err
    return line


def test_fetch_shows_what_it_did_and_goes_on_where_it_was(crucible, monkeypatch):
    market = SimulatedMarket(("BTCUSDT",), NOW - timedelta(days=91), 1, plant(0.0, timedelta(minutes=5)))
    with EmbeddedExchange(market, ManualClock(NOW)) as exchange:
        monkeypatch.setenv("CRUCIBLE_EXCHANGE_URL", exchange.url)
        code, out, _ = crucible("bars", "backfill", "btc_usd_5min")
        assert (code, out) == (0, "binance BTCUSDT 5m: 25920 new bars, 0 revised, 25920 stored, 0 missing in 0 gaps\n")
        assert "0 new bars, 0 revised, 25920 stored" in crucible("bars", "backfill", "btc_usd_5min", "--recheck")[1]
    shown = json.loads(crucible("bars", "ls", "--json")[1])["series"]
    assert [(row["symbol"], row["rows"], row["gaps"]) for row in shown] == [("BTCUSDT", 25920, [])]
    assert "25,920" in crucible("bars", "ls")[1]


def test_fetch_from_nobody_is_one_sentence(crucible, monkeypatch):
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        monkeypatch.setenv("CRUCIBLE_EXCHANGE_URL", f"http://127.0.0.1:{held.getsockname()[1]}")
        assert "the connection was refused" in failure(crucible("bars", "backfill", "btc_usd_5min"))
    assert "did you mean btc_usd_5min" in failure(crucible("bars", "backfill", "btc_usd_5mn"))


def test_import_and_show(crucible, tmp_path, make_bars):
    pq.write_table(make_bars(300, missing=(7, 8)), tmp_path / "bars.parquet")
    command = ("bars", "import", tmp_path / "bars.parquet", "--symbol", "BTCUSDT", "--interval", "5m")
    assert "misses 2 bars of 5m" in failure(crucible(*command))
    assert "No bars are stored" in crucible("bars", "ls")[1]
    assert "298 new bars, 0 changed, 298 stored; partitions written: 1" in crucible(*command, "--allow-gaps")[1]
    row = json.loads(crucible("bars", "ls", "--json")[1])["series"][0]
    assert row["gaps"] == [{"start": "2026-01-01T00:35:00+00:00", "end": "2026-01-01T00:45:00+00:00", "bars": 2}]
    assert "2026-01-01" in crucible("bars", "ls")[1]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda table: table.take([1, 0]), "is not sorted"),
        (lambda table: table.take([0, 0]), "twice"),
        (lambda table: table.slice(0, 0), "holds no bars"),
        (lambda table: table.drop_columns(["volume"]), "has no column 'volume'"),
        (lambda table: table.set_column(5, "volume", pa.array(["x"] * len(table))), "must be numeric"),
        (None, "There is no bar file"),
        (b"PAR1 and no more", "cannot be read as parquet"),
        (b"", "is an empty file"),
    ],
)
def test_a_bad_file_is_one_sentence_and_stores_nothing(crucible, tmp_path, make_bars, change, words):
    path = tmp_path / "bars.parquet"
    if isinstance(change, bytes):
        path.write_bytes(change)
    elif change is not None:
        pq.write_table(change(make_bars(20)), path)
    assert words in failure(crucible("bars", "import", path, "--symbol", "BTCUSDT", "--interval", "5m"))
    assert not list((tmp_path / "home").rglob("*.parquet"))


FULL_DISK = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
from crucible.cli import main
main(sys.argv[1:])
"""


def test_a_full_disk_is_one_sentence(tmp_path, make_bars):
    pq.write_table(make_bars(3000), tmp_path / "bars.parquet")
    command = ("bars", "import", tmp_path / "bars.parquet", "--symbol", "BTCUSDT", "--interval", "5m")
    run = subprocess.run(
        [sys.executable, "-c", FULL_DISK, *command], capture_output=True, text=True, check=False,
        # a module compiled under the limit would leave a cut .pyc behind
        env={"CRUCIBLE_HOME": str(tmp_path / "home"), "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    assert "cannot be written: File too large." in failure((run.returncode, run.stdout, run.stderr))
    assert [path.name for path in (tmp_path / "home").rglob("*") if path.is_file()] == [".lock"]


def test_a_wrong_duration_is_wrong_usage(crucible):
    code, _, err = crucible("bars", "import", "x.csv", "--symbol", "BTCUSDT", "--interval", "5x")
    assert code == 2
    assert "'5x' is not a duration" in err


def test_topics_are_the_catalogue(crucible):
    rows = json.loads(crucible("topics", "--json")[1])
    assert len(rows) == 13
    assert {"mainnet": 1, "testnet": 64, "target": "log_return", "horizon": "8h"}.items() <= rows[0].items()
    assert [row["testnet"] for row in rows if row["playground"]] == [69, 77]
    table = crucible("topics")[1]
    assert "inactive on testnet" in table
    assert "playground" in table


def test_recipes_are_listed_checked_and_shown(crucible, tmp_path, monkeypatch, recipe):
    assert [row["name"] for row in json.loads(crucible("recipe", "list", "--json")[1])] == [
        "btc_usd_1d",
        "btc_usd_5min",
        "btc_usd_8h",
    ]
    assert "btc_usd_5min" in crucible("recipe", "list")[1]
    assert recipe.digest in crucible("recipe", "check", "btc_usd_5min")[1]
    shown = json.loads(crucible("recipe", "show", "btc_usd_5min")[1])
    assert shown["digest"] == recipe.digest
    assert shown["recipe"]["topic"]["horizon"] == "5m"
    assert crucible("recipe", "show", "btc_usd_5min", "--canonical")[1].strip() == recipe.canonical()
    assert "did you mean btc_usd_8h" in failure(crucible("recipe", "check", "btc_usd_8"))

    folder = tmp_path / "recipes"
    folder.mkdir()
    monkeypatch.setenv("CRUCIBLE_RECIPES", str(folder))
    assert "There is no recipe in" in failure(crucible("recipe", "list"))
    text = (RECIPES / "btc_usd_5min.toml").read_text()
    (folder / "btc_usd_5min.toml").write_text(text.replace('horizon = "5m"', 'horizn = "5m"'))
    assert "'topic.horizn'; the nearest valid one is 'horizon'" in failure(crucible("recipe", "check", "btc_usd_5min"))
    listed = json.loads(crucible("recipe", "list", "--json")[1])
    assert "topic.horizn" in listed[0]["fault"]
    assert "topic.horizn" in crucible("recipe", "list")[1].replace("\n", "")


@pytest.mark.parametrize(
    "command",
    [["bars", "backfill"], ["bars", "import"], ["bars", "ls"], ["bars", "repair"], ["bars", "gaps"], ["bars", "export"],
     ["bars", "check"], ["bars", "accept"], ["topics"], ["recipe", "list"], ["recipe", "check"],
     ["recipe", "show"], ["practice", "serve"]],
)  # fmt: skip
def test_help_teaches_with_an_example(crucible, command):
    code, out, _ = crucible(*command, "--help")
    assert code == 0
    assert f"crucible {' '.join(command)}" in out.partition("Example")[2]


@pytest.fixture
def practice(monkeypatch):
    """A market of five-minute bars, and the commands pointed at it."""
    market = SimulatedMarket(("BTCUSDT",), NOW - timedelta(days=40), 1, plant(0.0, timedelta(minutes=5)))
    with EmbeddedExchange(market, ManualClock(NOW)) as exchange:
        monkeypatch.setenv("CRUCIBLE_EXCHANGE_URL", exchange.url)
        yield exchange


def test_a_hole_is_listed_mended_and_gone(crucible, tmp_path, practice):
    series = "binance/BTCUSDT/5m"
    start = "2026-01-20T00:00Z"
    assert "say --from" in crucible("bars", "backfill", series)[2]
    assert "3600 new bars" in crucible("bars", "backfill", series, "--from", start)[1]
    crucible("bars", "export", series, tmp_path / "all.feather")
    bars = feather.read_table(tmp_path / "all.feather")
    holey = bars.take([*range(1000), *range(1012, 3600)])
    feather.write_feather(holey, tmp_path / "holey.feather")
    shutil.rmtree(tmp_path / "home" / "data" / "bars")
    command = ("bars", "import", tmp_path / "holey.feather", "--symbol", "BTCUSDT", "--interval", "5m")
    assert "misses 12 bars" in failure(crucible(*command))
    crucible(*command, "--allow-gaps")
    told = json.loads(crucible("bars", "gaps", series, "--json")[1])
    assert [(row["bars"], row["cause"], row["detail"]) for row in told] == [(12, "not in file", "holey.feather")]
    assert "12 bars missing in 1 gaps, the longest 12" in crucible("bars", "gaps")[1].replace("\n", " ")
    code, out, _ = crucible("bars", "repair", series)
    assert (code, out.strip()) == (
        0, "binance BTCUSDT 5m: 1 gaps, 12 bars of its own, none from others; 0 still missing",
    )  # fmt: skip
    assert crucible("bars", "gaps", series)[1] == "binance BTCUSDT 5m: no gaps\n"
    assert "there is nothing to mend" in crucible("bars", "repair", series)[1]
    assert "12" in crucible("bars", "sql", "SELECT count(*) - 3588 AS mended FROM bars")[1]


def test_export_makes_longer_bars_on_any_grid(crucible, tmp_path, practice):
    series = "binance/BTCUSDT/5m"
    crucible("bars", "backfill", series, "--from", "2026-01-31T00:00Z")
    for name, options, rows in (
        ("a.parquet", (), 432),
        ("b.csv", ("--interval", "1h"), 36),
        ("c.parquet", ("--interval", "1h", "--offset", "10m", "--from", "2026-01-31T06:00Z"), 29),
    ):
        assert f"{rows} bars" in crucible("bars", "export", series, tmp_path / name, *options)[1]
    assert (tmp_path / "b.csv").read_text().splitlines()[1].startswith("2026-01-31T00:00:00Z,")
    assert {at.minute for at in pq.read_table(tmp_path / "c.parquet")["open_time"].to_pylist()} == {10}
    # what was exported comes back as it was
    assert (
        "0 new bars, 0 changed"
        in crucible("bars", "import", tmp_path / "a.parquet", "--symbol", "BTCUSDT", "--interval", "5m")[1]
    )
    assert "bars are kept in these" in failure(crucible("bars", "export", series, tmp_path / "x.xlsx"))
    assert "No bars of kraken ETHUSD 1m are stored" in failure(crucible("bars", "export", "kraken/ETHUSD/1m", "x.csv"))
    assert "cannot be made of bars of 5m" in failure(
        crucible("bars", "export", series, tmp_path / "x.csv", "--interval", "1h", "--offset", "3m")
    )


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_wrong_bar_is_caught_looked_at_and_accepted(crucible, tmp_path, make_bars):
    frame = make_bars(3000).to_pandas()
    frame.loc[700, ["high", "close"]] *= 1.3
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), tmp_path / "bars.parquet")
    crucible("bars", "import", tmp_path / "bars.parquet", "--symbol", "BTCUSDT", "--interval", "5m")
    code, out, err = crucible("bars", "check")
    assert code == 1
    assert "in quarantine: binance BTCUSDT 5m 2026-01: no_reversal failed, first at 2026-01-03T10:20:00+00:00" in out
    assert "1 months failed and are in quarantine" in err
    assert "3000 bars: no_reversal failed" in crucible("bars", "ls")[1]
    away = json.loads(crucible("bars", "ls", "--json")[1])
    assert (away["series"], away["quarantine"][0]["month"]) == ([], "2026-01")
    assert "http" not in (tmp_path / "home/data/quality/index.html").read_text().replace("http://www.w3.org", "")
    accepting = ("bars", "accept", "binance/BTCUSDT/5m", "2026-01", "--reason")
    assert "Say why" in crucible(*accepting, "")[2]
    assert "3000 bars are served again" in crucible(*accepting, "seen on two exchanges")[1]
    assert "1 months, 1 passed" in crucible("bars", "check", "binance/BTCUSDT/5m")[1]
    assert "Nothing of binance BTCUSDT 5m 2026-01 is in quarantine" in failure(crucible(*accepting, "again"))


def test_a_target_that_is_none_is_told(crucible):
    code, _, err = crucible("bars", "gaps", "binance/BTCUSDT")
    assert (code, "write SOURCE/SYMBOL/INTERVAL" in err) == (2, True)
    assert "did you mean btc_usd_8h" in failure(crucible("bars", "gaps", "btc_usd_8"))
    assert "There is no source 'nowhere'; there are binance, binanceus" in failure(
        crucible("bars", "backfill", "nowhere/BTCUSDT/5m", "--from", "2026-01-01T00:00Z")
    )


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_month_in_quarantine_is_fetched_anew_and_then_blocks_nothing(crucible, tmp_path, practice):
    from crucible.market.quality import reports_between
    from crucible.market.series import Series
    from crucible.market.store import BarStore

    series = "binance/BTCUSDT/5m"
    crucible("bars", "backfill", series, "--from", "2026-01-20T00:00Z", "--to", "2026-01-30T00:00Z")
    crucible("bars", "export", series, tmp_path / "good.parquet")
    frame = pq.read_table(tmp_path / "good.parquet").to_pandas()
    frame.loc[700, ["high", "close"]] *= 1.3
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), tmp_path / "bad.parquet")
    crucible("bars", "import", tmp_path / "bad.parquet", "--symbol", "BTCUSDT", "--interval", "5m")
    assert crucible("bars", "check", series)[0] == 1  # the only month there is
    store, owner, home = BarStore(tmp_path / "home/data/bars"), Series("binance", "BTCUSDT", FIVE), tmp_path / "home"
    span = (datetime(2026, 1, 20, tzinfo=UTC), datetime(2026, 1, 30, tzinfo=UTC))
    assert len(reports_between(store, owner, *span, home / "data/quality")[1]) == 1
    code, out, _ = crucible("bars", "repair", series)
    assert code == 0
    assert "2880 bars of its own, none from others; 0 still missing" in out
    assert json.loads(crucible("bars", "ls", "--json")[1])["quarantine"]  # kept
    reports, aside = reports_between(store, owner, *span, home / "data/quality")
    assert ([report.passed for report in reports], aside) == ([True], [])
    crucible("bars", "export", series, tmp_path / "mended.parquet")
    assert pq.read_table(tmp_path / "mended.parquet").equals(pq.read_table(tmp_path / "good.parquet"))
