"""Promotion and roll-back from the dashboard, against a real MLflow store; reports as they were written."""

import asyncio
import json
import re
import shutil

import pytest
from asgi_calls import FORM, ask, form

from crucible.registry import models
from crucible.registry.models import CHALLENGER, alias_version, versions
from crucible.registry.store import client
from crucible.settings import Settings
from crucible.web.access import Access
from crucible.web.app import create_app
from crucible.web.model_sources import champions

NAME = "worker_00"
EVALUATION = "31b03c05-763d0b39-0dc245dd"


@pytest.fixture(scope="session")
def store(template_store, tmp_path_factory):
    """A store with three versions, to be copied."""
    home = tmp_path_factory.mktemp("store")
    settings = Settings(home=home, recipes=home / "recipes")
    settings.mlruns.mkdir()
    shutil.copy(template_store, settings.mlruns / "mlflow.db")
    mlflow = client(settings)
    mlflow.create_registered_model(NAME)
    refused = {"verdict": "refused", "verdict_reasons": "skill is <not> shown"}
    for tags in ({"verdict": "passed"}, refused, {"verdict": "passed"}):
        mlflow.create_model_version(NAME, "file:///nowhere", tags={"candidate": "ridge", **tags})
    mlflow.set_registered_model_alias(NAME, CHALLENGER, "3")
    return settings.mlruns / "mlflow.db"


@pytest.fixture
def registry(home, store):
    home.mlruns.mkdir()
    shutil.copy(store, home.mlruns / "mlflow.db")
    return home


def call(app, path, **options):
    return asyncio.run(ask(app, path, **options))


def promote(app, *, token=None, cookie=None, **fields):
    page = call(app, f"/models/{NAME}")
    found = re.search(r'name="form_token" value="([0-9a-f]+)"', page.text)
    body = form(form_token=token if token is not None else found[1] if found else "", **fields)
    cookie = cookie if cookie is not None else page.cookie()
    return call(app, f"/models/{NAME}/promote", method="POST", headers=[FORM], body=body, cookie=cookie)


def test_promotion_and_roll_back_keep_the_reason(registry):
    app = create_app(lambda: registry, Access())
    assert "There is no champion" in call(app, f"/models/{NAME}").text
    for number, reason in ((3, "the challenger has proved itself"), (1, "version 3 drifts <script>")):
        answer = promote(app, version=number, reason=reason)
        assert (answer.status, answer.headers["location"]) == (303, f"/models/{NAME}?done={number}")
        assert alias_version(registry, NAME, "champion") == number
        page = call(app, answer.headers["location"]).text
        assert f"@champion is now version {number}" in page
        assert reason.replace("<", "&lt;").replace(">", "&gt;") in page
    tags = {version.number: version.tags for version in versions(registry, NAME)}
    assert tags[1]["promoted_by"] == "override"
    assert tags[1]["override_reason"] == "version 3 drifts <script>"
    assert [reign.by for reign in champions(versions(registry, NAME))] == ["a person", "a person"]
    models.promote(registry, NAME, 3, override="rolled back from version 1", by=models.BY_ROLLBACK)
    assert [reign.by for reign in champions(versions(registry, NAME))] == ["the roll-back", "a person"]
    models.promote(registry, NAME, 1, override="version 3 drifts")
    history = page[page.index('id="history"') : page.index('id="evaluations"')]
    assert re.findall(r'scope="row">(\d)', history) == ["1", "3"]  # the present one first
    assert "version 1" in call(app, "/models").text


def test_a_refused_version_needs_a_person_and_has_one(registry):
    app = create_app(lambda: registry, Access())
    assert "skill is &lt;not&gt; shown" in call(app, f"/models/{NAME}").text
    assert promote(app, version=2, reason="I know better than the gates").status == 303
    assert alias_version(registry, NAME, "champion") == 2


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [({"version": 1, "reason": "short"}, "Say why"), ({"version": 1}, "Say why"), ({"reason": "long enough"}, "Choose"),
     ({"version": "1; drop", "reason": "long enough"}, "Choose"),
     ({"version": 9, "reason": "long enough"}, "no version 9"),
     ({"version": 1, "reason": "x" * 501}, "Say why"), ({"version": "\u0661", "reason": "long enough"}, "Choose")],
)  # fmt: skip
def test_a_form_that_says_too_little_changes_nothing_and_keeps_what_was_typed(registry, fields, sentence):
    app = create_app(lambda: registry, Access())
    answer = promote(app, **fields)
    assert answer.status == 409
    assert sentence in answer.text
    assert fields.get("reason", "") in answer.text
    assert alias_version(registry, NAME, "champion") is None


def test_without_the_form_token_nothing_changes(registry):
    app = create_app(lambda: registry, Access())
    assert promote(app, token="0" * 64, version=1, reason="long enough").status == 403
    assert promote(app, cookie="", version=1, reason="long enough").status == 403
    assert alias_version(registry, NAME, "champion") is None


def test_a_read_only_dashboard_shows_no_form_and_takes_none(registry):
    app = create_app(lambda: registry, Access(read_only=True))
    page = call(app, f"/models/{NAME}")
    assert "<form" not in page.text
    assert "read-only" in page.text
    # the form token is right here: it is the mode that refuses
    access = app.state.site.access
    name, _, sealed = page.cookie().partition("=")
    session = access.open(sealed, int(sealed.split(".")[2]))
    answer = promote(app, token=access.form_token(session), cookie=f"{name}={sealed}", version=1, reason="long enough")
    assert answer.status == 403
    assert "read-only" in answer.text
    assert alias_version(registry, NAME, "champion") is None


def test_promoting_where_there_is_no_store_makes_none(home):
    app = create_app(lambda: home, Access())
    page = call(app, "/")
    access = app.state.site.access
    name, _, sealed = page.cookie().partition("=")
    session = access.open(sealed, int(sealed.split(".")[2]))
    answer = promote(app, token=access.form_token(session), cookie=f"{name}={sealed}", version=1, reason="long enough")
    assert answer.status == 409
    assert "no versions" in answer.text
    assert not home.mlruns.exists()


def test_a_damaged_store_is_told_on_the_page(home):
    home.mlruns.mkdir()
    (home.mlruns / "mlflow.db").write_text("this is no database")
    app = create_app(lambda: home, Access())
    for page in (f"/models/{NAME}", "/models"):
        answer = call(app, page)
        assert answer.status == 200
        assert "is no SQLite database" in answer.text


def test_a_report_is_served_as_it_was_written_and_may_run_nothing(home):
    folder = home.evaluations / NAME / EVALUATION
    folder.mkdir(parents=True)
    written = b"<!doctype html><style>b{}</style><script>alert(1)</script>\xff"
    (folder / "report.html").write_bytes(written)
    gate = {"name": "skill", "outcome": "undecided", "passed": False, "sentence": "t = 0.9 <"}
    (folder / "verdict.json").write_text(
        json.dumps({"candidate": "ridge", "grade": "B", "passed": False, "gates": [gate]})
    )
    app = create_app(lambda: home, Access())
    page = call(app, f"/models/{NAME}").text
    assert "t = 0.9 &lt;" in page
    assert f'<iframe class="report" src="/models/{NAME}/evaluations/{EVALUATION}"' in page
    answer = call(app, f"/models/{NAME}/evaluations/{EVALUATION}")
    assert answer.body == written
    assert answer.headers["content-security-policy"].endswith("sandbox")
    assert "script-src" not in answer.headers["content-security-policy"]
    assert answer.headers["x-frame-options"] == "SAMEORIGIN"


@pytest.mark.parametrize("words", ["[]", "{", '"x"', "3", '{"gates": [3]}', '{"gates": 5, "passed": "yes"}', "\\xff"])
def test_a_strange_verdict_breaks_no_page(home, words):
    folder = home.evaluations / NAME / EVALUATION
    folder.mkdir(parents=True)
    (folder / "verdict.json").write_text(words)
    app = create_app(lambda: home, Access())
    assert call(app, f"/models/{NAME}").status == 200
    assert call(app, "/models").status == 200
