"""What the pages show, asked of the application itself."""

import asyncio
import contextlib
import hashlib
import json
import re
import sqlite3
import time

import pytest
from asgi_calls import ask
from web_world import ADDRESS, EPOCH, make_home, report, write_journal

from crucible.clock import SystemClock
from crucible.errors import StoreError
from crucible.settings import Settings
from crucible.web import sources
from crucible.web.access import Access
from crucible.web.app import create_app
from crucible.web.monitor_files import alerts_file, monitor_database
from crucible.worker.deployment import journal_path


@pytest.fixture
def app(home):
    return create_app(lambda: home, Access())


def get(app, path, **options):
    return asyncio.run(ask(app, path, **options))


def test_the_fleet_page_shows_the_most_urgent_first_and_says_why(app, home):
    report(home, "worker_02", state="failed", message="The wallet has 0 uallo.")
    report(home, "worker_04", message="postgresql://me:hunter22@db refuses")
    assert "hunter22" not in get(app, "/workers/worker_04").text
    text = get(app, "/").text
    order = re.findall(r'<th scope="row"><a href="/workers/(\w+)">', text)
    assert sorted(order) == [f"worker_{index:02d}" for index in range(6)]
    assert set(order[:2]) == {"worker_02", "worker_05"}
    assert "The wallet has 0 uallo." in text
    assert "since the last accepted submission" in text  # worker_05 is silent
    assert "the node did not answer" in text
    assert "<strong>2 of 6</strong> workers need attention" in text
    few = get(app, "/?show=attention").text
    assert set(re.findall(r'<th scope="row"><a href="/workers/(\w+)">', few)) == {"worker_02", "worker_05"}


def test_a_worker_page_counts_as_the_journal_does(app, home):
    rows = sources.epochs(home, "worker_03")
    lost = sum(row.state == "missed" for row in rows)
    text = get(app, "/workers/worker_03").text
    assert len(rows) == 40
    assert lost > 0
    assert f"epochs: {40 - lost} accepted, {lost} lost" in text
    assert text.count('class="chart"') == 3  # score, latency, forecast; nothing that was not measured
    assert "not measured" in text
    assert f'href="/workers/worker_03/nonces/{rows[-1].nonce}"' in text


def test_the_journal_pages_back_to_the_first_nonce(app):
    found, path = [], "/workers/worker_03?show=all"
    while path:
        text = get(app, path).text
        found += re.findall(r"nonces/(\d+)", text)
        older = re.search(r'href="(\?show=all&amp;before=\d+)#journal">Older', text)
        path = f"/workers/worker_03{older[1].replace('&amp;', '&')}" if older else ""
    assert [int(nonce) for nonce in found] == [1000 + 12 * index for index in reversed(range(40))]


def test_only_the_lost_epochs_are_listed_when_asked_for(app):
    text = get(app, "/workers/worker_03?show=lost").text
    journal = text[text.index('id="journal"') : text.index('id="serves"')]
    assert "missed" in journal
    assert "scored" not in journal


def test_a_nonce_is_shown_down_to_a_transaction_that_cannot_be_taken_apart(app):
    text = get(app, "/workers/worker_00/nonces/1012").text
    assert all(step in text for step in ("seen", "predicted", "signed", "broadcast", "included", "scored"))
    assert ADDRESS in text
    assert "These 3 bytes are no transaction" in text
    assert get(app, "/workers/worker_00/nonces/1013").status == 404


def test_a_real_transaction_is_told_in_words(home):
    from allora_sdk.rpc_client.protos.cosmos.base.v1beta1 import Coin
    from allora_sdk.rpc_client.protos.cosmos.tx.v1beta1 import AuthInfo, Fee, SignerInfo, TxBody, TxRaw
    from allora_sdk.rpc_client.protos.emissions import v3
    from allora_sdk.rpc_client.protos.emissions import v10 as e
    from allora_sdk.rpc_client.protos.google.protobuf import Any

    value = e.InputLabeledValue(label="y", value="95000.5")
    inference = e.InputInference(topic_id=77, block_height=9000, inferer=ADDRESS, value="0", values=[value])
    bundle = e.InputWorkerDataBundle(
        worker=ADDRESS, nonce=v3.Nonce(block_height=9000), topic_id=77,
        inference_forecasts_bundle=e.InputInferenceForecastBundle(inference=inference),
    )  # fmt: skip
    request = e.InsertWorkerPayloadRequest(sender=ADDRESS, worker_data_bundle=bundle)
    message = Any("/emissions.v10.InsertWorkerPayloadRequest", bytes(request))
    fee = Fee(amount=[Coin("uallo", "1234")], gas_limit=150_000)
    content = bytes(
        TxRaw(
            body_bytes=bytes(TxBody(messages=[message], timeout_height=9008)),
            auth_info_bytes=bytes(AuthInfo(signer_infos=[SignerInfo(sequence=7)], fee=fee)),
            signatures=[b"s" * 64],
        )
    )
    path = journal_path(home, "worker_00")
    write_journal(path, "well", 1, SystemClock().now() + 10 * EPOCH, content=content, first=9000)
    text = get(create_app(lambda: home, Access()), "/workers/worker_00/nonces/9000").text
    digest = hashlib.sha256(content).hexdigest().upper()
    for words in (digest, "InsertWorkerPayloadRequest", "1234 uallo", "150,000", "95000.5", ">9008<", ADDRESS):
        assert words in text, words
    assert "which is not the one above" not in text


MONITOR = """
CREATE TABLE forecast (id INTEGER PRIMARY KEY, chain_id TEXT, topic_id INTEGER, nonce INTEGER, source TEXT,
    predicted_for TEXT, recipe TEXT);
CREATE TABLE fact (forecast INTEGER, name TEXT, value REAL, at TEXT, PRIMARY KEY (forecast, name)) WITHOUT ROWID;
CREATE TABLE event (id TEXT PRIMARY KEY, at TEXT, kind TEXT, recipe TEXT, detail TEXT);
CREATE TABLE balance (address TEXT, at TEXT, uallo INTEGER, PRIMARY KEY (address, at));
"""


def measured(home, *statements: str) -> None:
    path = monitor_database(home)
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(MONITOR + ";".join(statements))


def test_what_the_monitor_measured_is_shown_and_nothing_is_made_up(app, home):
    facts = {"score_ema": 0.01, "loss": 0.9, "network_loss": 1.0, "reward": 2e16}
    told = [
        f"INSERT INTO forecast VALUES ({k}, 'c', 77, {1000 + 12 * k}, 'worker', '{k:04d}', 'worker_01');"
        + ";".join(f"INSERT INTO fact VALUES ({k}, '{name}', {value}, '')" for name, value in facts.items())
        for k in range(10)
    ]
    measured(
        home, *told,
        f"INSERT INTO balance VALUES ('{ADDRESS}', '2026-01-05T00:00:00+00:00', 1000000000000000000)",
        f"INSERT INTO balance VALUES ('{ADDRESS}', '2026-01-05T12:00:00+00:00', 500000000000000000)",
        "INSERT INTO event VALUES ('a', '2026-01-05T00:00:00+00:00', 'drift', 'worker_01', '{\"holds\": false}')",
        "INSERT INTO event VALUES ('b', '2026-01-05T01:00:00+00:00', 'drift', 'worker_01', "
        "'{\"holds\": true, \"what\": \"residual <ks>\"}')",
    )  # fmt: skip
    alerts_file(home).write_text(json.dumps({"active": {"low_balance:worker_01": {"sentence": "It <runs> dry."}}}))
    text = get(app, "/workers/worker_01").text
    assert "0.5 ALLO" in text
    assert "lasts 12 h" in text
    assert "low balance" in text  # half a day is left
    assert "0.2 ALLO" in text  # ten rewards
    assert "10.0 % lower than the network&#39;s over 10 epochs" in text
    assert "EMA score" in text
    assert "It &lt;runs&gt; dry." in text
    assert "It &lt;runs&gt; dry." in get(app, "/").text
    assert "residual &lt;ks&gt;" in get(app, "/bars").text
    assert "10.0 % lower" in get(app, "/models/worker_01").text
    other = get(app, "/workers/worker_02").text  # the same wallet, and nothing else of it
    assert "0.5 ALLO" in other
    assert "EMA score" not in other
    assert "runs&gt; dry" not in other


@pytest.mark.parametrize(
    "words",
    ["[]", "{", "null", '{"active": [1]}', '{"active": {"a": 1}}', '{"active": {"worker_04": {"sentence": 3}}}',
     '{"active": {"worker_04": {"sentence": "\\ud800"}}}', "[" * 5000],
)  # fmt: skip
def test_strange_files_of_the_monitor_break_no_page(app, home, words):
    measured(
        home,
        f"INSERT INTO balance VALUES ('{ADDRESS}', 'yesterday', 5)",
        f"INSERT INTO balance VALUES ('{ADDRESS}', '2026-01-05T12:00:00', 'much')",
        "INSERT INTO event VALUES ('a', 'now', 'drift', 'worker_04', 'no json')",
        "INSERT INTO event VALUES ('b', 'now', 'decay', 'worker_04', '[]')",
        "INSERT INTO forecast VALUES (1, 'c', 77, 1000, 'worker', '0001', 'worker_04')",
        "INSERT INTO fact VALUES (1, 'loss', 9e999, '')",
    )
    alerts_file(home).write_text(words)
    for page in ("/", "/workers/worker_04", "/bars", "/models/worker_04"):
        assert get(app, page).status == 200


def test_a_damaged_store_of_the_monitor_is_told(app, home):
    monitor_database(home).parent.mkdir(parents=True)
    monitor_database(home).write_bytes(b"no database" * 100)
    assert "store cannot be read" in get(app, "/workers/worker_04").text
    assert get(app, "/").status == 200


def test_a_damaged_journal_is_told_on_the_pages_and_hides_no_other_worker(tmp_path):
    settings = make_home(tmp_path, 2, 3)
    journal_path(settings, "worker_00").write_bytes(b"no database" * 100)
    app = create_app(lambda: settings, Access())
    fleet = get(app, "/")
    assert fleet.status == 200
    assert "cannot be read" in fleet.text
    assert "worker_01" in fleet.text
    assert get(app, "/workers/worker_00").status == 200
    assert get(app, "/workers/worker_00/nonces/1000").status == 503
    with pytest.raises(StoreError):
        sources.summary(settings, "worker_00")


def test_a_page_follows_its_journal(tmp_path):
    settings = make_home(tmp_path, 1, 3)
    before = sources.summary(settings, "worker_00")
    write_journal(journal_path(settings, "worker_00"), "well", 2, SystemClock().now() + 10 * EPOCH, first=9000)
    after = sources.summary(settings, "worker_00")
    assert (before.total, after.total) == (3, 5)


def test_an_empty_home_is_told_what_to_do(tmp_path):
    settings = Settings(home=tmp_path, recipes=tmp_path / "recipes")
    app = create_app(lambda: settings, Access())
    assert "Nothing is deployed" in get(app, "/").text
    for page in ("/models", "/bars", "/logs"):
        assert get(app, page).status == 200
    assert not (tmp_path / "mlruns").exists()  # reading makes no store


def test_a_recipe_that_cannot_be_read_is_told_in_its_row(tmp_path):
    settings = make_home(tmp_path, 2, 3)
    (settings.recipes / "worker_01.toml").write_text("name = 3")
    text = get(create_app(lambda: settings, Access()), "/").text
    assert "unreadable" in text
    assert "worker_00" in text


def test_the_journal_of_a_wallet_is_seen_through_the_link_of_its_recipe(tmp_path):
    settings = make_home(tmp_path, 1, 4)
    link = journal_path(settings, "worker_00")
    shared = link.with_name("wallet.test.db")
    link.rename(shared)
    link.symlink_to(shared.name)
    with sqlite3.connect(shared) as connection:
        there = {row[1] for row in connection.execute("PRAGMA table_info(submission)")}
        for column in {"recipe", "reason_code"} - there:
            connection.execute(f"ALTER TABLE submission ADD COLUMN {column} TEXT")
        connection.execute("UPDATE submission SET recipe = 'another'")
        connection.execute("UPDATE submission SET recipe = 'worker_00', reason_code = 'late' WHERE nonce = 1012")
    connection.close()
    assert sources.summary(settings, "worker_00").total == 1
    assert [epoch.nonce for epoch in sources.page(settings, "worker_00")] == [1012]


def test_fifty_workers_fit_into_100_kilobytes_and_150_milliseconds(home, tmp_path):
    # 50 rows of the size that 6 have, and a tenth of the time; the measurement itself is benchmarks/dashboard.py
    app = create_app(lambda: home, Access())
    six = len(get(app, "/").body)
    empty = Settings(home=tmp_path, recipes=tmp_path / "none")
    frame = len(get(create_app(lambda: empty, Access()), "/").body)
    assert frame + (six - frame) / 6 * 50 < 100_000
    assert len(get(app, "/workers/worker_03").body) < 100_000
    took = []
    for _ in range(5):
        started = time.process_time()
        get(app, "/")
        took.append(time.process_time() - started)
    assert min(took) < 0.05
