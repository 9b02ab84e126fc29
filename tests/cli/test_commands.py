"""What a person types wrong: one sentence, a non-zero exit, and nothing changed."""

import json
import os
import socket
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest


@pytest.fixture
def crucible(tmp_path, pytestconfig):
    def run(*arguments, home=None, **environ):
        env = {**os.environ, "CRUCIBLE_HOME": str(home or tmp_path), "COLUMNS": "160", **environ}
        command = [sys.executable, "-m", "crucible", *map(str, arguments)]
        return subprocess.run(
            command, cwd=pytestconfig.rootpath, env=env, capture_output=True, text=True, timeout=60, check=False
        )

    return run


def refused(done, *words, code=1):
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.strip().count("\n") == 0, done.stderr
    for word in words:
        assert word in done.stderr, done.stderr


@pytest.fixture
def predictions(tmp_path):
    y = np.random.default_rng(0).normal(size=500)
    pq.write_table(pa.table({"y_true": y, "y_pred": 0.1 * y}), tmp_path / "p.parquet")
    return tmp_path / "p.parquet"


def test_score_prints_the_scorecard_as_a_table_and_as_strict_json(crucible, predictions):
    assert "grade A+ (7 of 7)" in crucible("score", predictions).stdout
    values = json.loads(crucible("score", predictions, "--json", "--expected-epochs", 2000).stdout)
    assert (values["grade"], values["num_passed"], values["temporal_coverage_pass"]) == ("A+", 7, False)
    refused(crucible("score", "absent.parquet"), "absent.parquet")


def test_recipes_and_topics(crucible, tmp_path, recipe_text):
    assert "btc_usd_8h" in crucible("recipe", "list").stdout
    assert crucible("recipe", "check", "btc_usd_5min").returncode == 0
    refused(crucible("recipe", "check", "btc_usd_5mn"), "did you mean btc_usd_5min")
    recipes = tmp_path / "recipes"
    recipes.mkdir()
    (recipes / "btc_usd_5min.toml").write_text(recipe_text.replace("learning_rate", "learning_rat", 1))
    done = crucible("recipe", "check", "btc_usd_5min", CRUCIBLE_RECIPES=str(recipes))
    refused(done, "unknown key 'models.lightgbm.learning_rat'", "'learning_rate'")
    (recipes / "btc_usd_5min.toml").write_text(recipe_text.replace('set = "core"', 'set = "corre"'))
    done = crucible("recipe", "check", "btc_usd_5min", CRUCIBLE_RECIPES=str(recipes))
    refused(done, "no feature set 'corre' version 2; the nearest is core")
    assert "playground" in crucible("topics").stdout
    assert len(json.loads(crucible("topics", "--json").stdout)) == 13


def test_features_are_listed_and_their_sql_runs(crucible):
    listed = json.loads(crucible("features", "list", "btc_usd_8h", "--json").stdout)
    assert len(listed) == 23
    assert next(row for row in listed if row["name"] == "return_12")["bars"] == 12 * 96
    assert "corr(r, r_before) over 1152 bars" in crucible("features", "sql", "btc_usd_8h").stdout


def test_commands_that_lack_their_input_say_what_to_run_first(crucible):
    refused(crucible("evaluate", "btc_usd_5min"), "crucible bars backfill")
    refused(crucible("sql"), "Nothing is stored")
    refused(crucible("promote", "btc_usd_5min"), "no @challenger")
    assert "Nothing is deployed" in crucible("fleet", "status").stdout
    refused(crucible("bars", "backfill", "btc_usd_5min", CRUCIBLE_EXCHANGE_URL="http://127.0.0.1:9"), "127.0.0.1:9")


def test_a_wrong_setting_or_word_is_refused(crucible):
    refused(crucible("recipe", "list", CRUCIBLE_CLOCK="noon"), "CRUCIBLE_CLOCK")
    done = crucible("statsu")
    assert (done.returncode, "Did you mean 'status'?" in done.stderr) == (2, True)
    for numbers in (("lookahead", "--cuts", 0), ("parity", "--times", 0), ("warmup", "--instants", 0)):
        assert crucible("audit", numbers[0], "btc_usd_5min", *numbers[1:]).returncode == 2  # nothing would be audited


def test_a_home_that_is_none_is_one_sentence(crucible, tmp_path):
    (tmp_path / "file").write_text("")
    refused(crucible("status", home=tmp_path / "file"), "which is no folder")
    refused(crucible("up", home="/proc/none"), "/proc/none", "No such file or directory")


def test_what_a_workers_installation_lacks_is_named(crucible, tmp_path):
    (tmp_path / "duckdb.py").write_text("raise ModuleNotFoundError(name='duckdb')\n")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    done = crucible("recipe", "check", "btc_usd_5min", PYTHONPATH=path)
    refused(done, "This needs duckdb, which is not installed here", "make install")


def test_a_journal_without_a_nonce_says_so(crucible):
    done = crucible("workers", "journal", "btc_usd_5min")
    assert (done.returncode, "No nonce of btc_usd_5min" in done.stdout) == (0, True)


def test_wrong_usage_exits_with_2(crucible):
    assert crucible("demonstrate").returncode == 2
    assert crucible("score").returncode == 2


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "There is no"), (b"", "empty"), (b"open_time,open\n1,2\n", "column"), (b"PAR1 not really", "")],
)
def test_a_demo_on_bad_bars_refuses_before_it_starts_anything(crucible, tmp_path, content, words):
    path = tmp_path / ("bars.parquet" if content is None or content.startswith(b"PAR1") else "bars.csv")
    if content is not None:
        path.write_bytes(content)
    home = tmp_path / "home"
    done = crucible("demo", "--bars", path, "--home", home)
    refused(done, "bars.")
    assert words.lower() in done.stderr.lower()
    assert not (home / "data" / "bars").exists()
    assert not (home / "data" / "logs").exists()


def test_up_says_which_port_is_in_use_and_starts_nothing(crucible, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused(crucible("up", "--home", tmp_path / "home", "--dagster-port", port), f"Port {port} is in use")
    assert not (tmp_path / "home" / "data" / "logs").exists()


def test_up_outside_the_project_says_so(tmp_path):
    env = {**os.environ, "CRUCIBLE_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "crucible", "up"], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


def test_sql_sees_every_stored_dataset(crucible, tmp_path, make_bars):
    pq.write_table(make_bars(50), tmp_path / "in.parquet")
    imported = crucible(
        "bars", "import", tmp_path / "in.parquet", "--symbol", "BTCUSDT", "--interval", "5m", "--source", "file"
    )
    assert imported.returncode == 0, imported.stderr
    assert "50" in crucible("sql", "SELECT count(*) FROM bars").stdout
    refused(crucible("sql", "SELECT * FROM nothing"), "views: bars")


def test_ctrl_c_inside_an_import_is_still_an_interruption(monkeypatch, capsys):
    import crucible.cli as cli

    def interrupted(*_, **__):
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as error:
            raise RuntimeError("Error calling __set_name__") from error

    monkeypatch.setattr(cli.crucible, "main", interrupted)
    with pytest.raises(SystemExit) as exited:
        cli.main(["recipe", "list"])
    assert exited.value.code == 130
    assert capsys.readouterr().err == "crucible: interrupted\n"


def test_a_fault_of_ours_is_one_sentence_and_a_traceback_on_request(monkeypatch, capsys):
    import crucible.cli as cli

    def broken(*_, **__):
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(cli.crucible, "main", broken)
    with pytest.raises(SystemExit) as exited:
        cli.main(["recipe", "list"])
    assert exited.value.code == 1
    assert "unexpected ZeroDivisionError: division by zero" in capsys.readouterr().err
    with pytest.raises(ZeroDivisionError):
        cli.main(["--debug", "recipe", "list"])
