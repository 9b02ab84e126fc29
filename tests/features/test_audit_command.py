"""``crucible audit`` as a user types it."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from crucible.cli import main

RECIPES = Path(__file__).resolve().parents[2] / "recipes"


@pytest.fixture
def crucible(tmp_path, monkeypatch, capsys, make_bars):
    monkeypatch.setenv("CRUCIBLE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CRUCIBLE_RECIPES", str(RECIPES))

    def run(*arguments):
        with pytest.raises(SystemExit) as end:
            main([str(item) for item in arguments])
        captured = capsys.readouterr()
        return end.value.code, captured.out, captured.err

    assert "No bars of binance BTCUSDT 5m are stored" in run("audit", "lookahead", "btc_usd_5min")[2]
    pq.write_table(make_bars(26_500), tmp_path / "bars.parquet")
    run("bars", "import", tmp_path / "bars.parquet", "--symbol", "BTCUSDT", "--interval", "5m")
    return run


def test_every_audit_runs_and_says_what_it_did(crucible):
    code, out, _ = crucible("audit", "lookahead", "btc_usd_5min", "--cuts", "2", "--bars", "800")
    assert (code, out) == (0, "nothing found: 2 futures of 800 bars, three ways each\n")
    code, out, _ = crucible("audit", "warmup", "btc_usd_5min", "--instants", "1", "--bars", "800", "--json")
    assert code == 0
    assert {row["feature"]: row["sufficient"] for row in json.loads(out)}["rsi"] is True
    code, out, _ = crucible("audit", "parity", "btc_usd_5min", "--times", "20", "--bars", "400")
    assert code == 0
    assert "20 prediction times, 23 features, largest difference 0 standard deviations" in out
    code, out, _ = crucible("audit", "drift", "btc_usd_5min")
    assert code == 0
    assert "of 23 features have moved" in out
    code, out, _ = crucible("audit", "redundancy", "btc_usd_5min", "--nearly", "0.9", "--json")
    assert code == 0
    clusters = json.loads(out)
    assert clusters
    assert all(len(cluster["features"]) > 1 for cluster in clusters)
    assert "too few for this audit" in crucible("audit", "warmup", "btc_usd_5min", "--bars", "60")[2]
    assert "did you mean btc_usd_5min" in crucible("audit", "drift", "btc_usd_5mn")[2]


def test_the_feature_report_is_written_and_shown(crucible, tmp_path):
    code, out, err = crucible("features", "report", "btc_usd_5min")
    assert code == 0, err
    assert "autocorrelation" in out
    folder = tmp_path / "home" / "data" / "features" / "btc_usd_5min"
    assert "| rsi | trend |" in (folder / "features.md").read_text()
    assert (folder / "features.png").read_bytes().startswith(b"\x89PNG")
    rows = json.loads(crucible("features", "report", "btc_usd_5min", "--json")[1])
    assert len(rows) == 23
    assert rows[0]["information"][0]["year"] == 2026
