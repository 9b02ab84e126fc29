"""The ledger cannot be rewritten, and the deployment set answers once."""

import json
import os
from datetime import UTC, datetime

import pytest

from crucible.errors import EvaluationError, StoreError
from crucible.recipe import Recipe
from crucible.validation.ledger import ANCHORED, OPENED, SEARCHED, Ledger

AT = datetime(2026, 1, 5, tzinfo=UTC)


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "ledger" / "r.jsonl")


def version(recipe, number, **gates):
    values = recipe.model_dump(mode="json")
    values["version"] = number
    values["gates"] |= gates
    return Recipe.model_validate(values)


def test_a_version_keeps_its_anchor(ledger, recipe):
    assert ledger.anchor(recipe) is None
    ledger.append(ANCHORED, recipe, AT, start="2025-10-01T00:00:00+00:00", end="2026-01-05T00:00:00+00:00")
    assert ledger.anchor(recipe).end == AT
    assert ledger.anchor(version(recipe, 2)) is None


def test_the_deployment_set_is_opened_once_per_version(ledger, recipe):
    ledger.require_closed(recipe)
    ledger.append(OPENED, recipe, AT, first="2026-01-01", last="2026-01-05")
    with pytest.raises(EvaluationError, match=r"version 1 was opened .*: crucible recipe bump btc_usd_5min"):
        ledger.require_closed(recipe)
    with pytest.raises(EvaluationError, match="for other settings under the same version"):
        ledger.require_closed(version(recipe, 1, alpha=0.01))
    ledger.require_closed(version(recipe, 2))
    assert ledger.looks("2026-01-04", "2026-01-09") == 1
    assert ledger.looks("2026-01-06", "2026-01-09") == 0


def test_trials_of_all_versions_are_counted(ledger, recipe):
    ledger.append(SEARCHED, recipe, AT, trials=24)
    ledger.append(SEARCHED, version(recipe, 2), AT, trials=10)
    assert ledger.summary() == {"trials": 34, "opened": 0}


def test_an_entry_is_on_the_disk_before_anything_goes_on(ledger, recipe, monkeypatch):
    synced = []
    monkeypatch.setattr("os.fsync", lambda handle: synced.append(os.fstat(handle).st_size))
    ledger.append(OPENED, recipe, AT, first="2026-01-01", last="2026-01-05")
    assert synced == [ledger.path.stat().st_size]


@pytest.mark.parametrize("damage", ["edited", "removed", "torn"])
def test_a_ledger_that_was_touched_is_refused(ledger, recipe, damage):
    for trials in (1, 2, 3):
        ledger.append(SEARCHED, recipe, AT, trials=trials)
    lines = ledger.path.read_text().splitlines()
    if damage == "edited":
        lines[1] = json.dumps({**json.loads(lines[1]), "trials": 0}, sort_keys=True)
    elif damage == "removed":
        del lines[1]
    else:
        lines[1] = lines[1][:20]
    ledger.path.write_text("\n".join(lines) + "\n")
    with pytest.raises(StoreError, match=r"r\.jsonl, line [23]: (an entry was changed|this is no entry)"):
        ledger.entries()
    with pytest.raises(StoreError):
        ledger.append(SEARCHED, recipe, AT, trials=4)
