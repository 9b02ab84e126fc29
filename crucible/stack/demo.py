"""The script of ``crucible demo``: one real Dagster run, one deployment by the sensor, a few scored submissions."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from crucible.errors import ProcessError
from crucible.recipe import Recipe
from crucible.stack.dagster_api import DagsterApi
from crucible.stack.processes import Stack
from crucible.stage_records import read_verdict
from crucible.worker.deployment import Actual, read_actual
from crucible.worker.journal import Row, read_journal

_STEPS = {
    "bars": "bars fetched from the exchange",
    "bars_expectations": "bars checked by Great Expectations",
    "features": "features computed in DuckDB",
    "features_audits": "features audited: look-ahead, parity",
    "features_expectations": "features checked by Great Expectations",
    "walk_forward": "candidates fitted, purged walk-forward",
    "evaluation": "scorecard and gates, logged to MLflow",
    "challenger": "final fit, bundle, registered as challenger",
    "champion": "promotion decided",
}


@dataclass(frozen=True)
class Outcome:
    """What a demo did."""

    verdict: dict[str, Any]
    version: int
    override: str | None
    run_id: str
    rows: list[Row]
    address: str
    seconds: float


class Demo:
    """Runs the script against a running stack, and tells what happens."""

    def __init__(self, stack: Stack, recipe: Recipe, console: Console, *, submissions: int, patience: float) -> None:
        self.stack = stack
        self.recipe = recipe
        self.console = console
        self.submissions = submissions
        self.patience = patience
        self._started = time.monotonic()

    def run(self) -> Outcome:
        """Run everything and return what came of it.

        Raises
        ------
        ProcessError
            If a process dies, a run fails, or nothing happens for ``patience`` seconds.
        """
        api = DagsterApi(self.stack.settings.dagster_url)
        with self._waiting("Dagster loads the asset graph"):
            for _ in api.wait_loaded(self.patience):
                self.stack.check()
        self._tell(f"Dagster            {self.stack.settings.dagster_url}")
        before = self._last_nonce()
        run_id = api.launch("answer_topic", self.recipe.name)
        self._watch(api, run_id)
        verdict = read_verdict(self.stack.settings, self.recipe)
        version, override = self._promote(verdict)
        actual = self._await_deployment(version)
        rows = self._await_scores(before, version)
        return Outcome(verdict, version, override, run_id, rows, actual.address, time.monotonic() - self._started)

    def _watch(self, api: DagsterApi, run_id: str) -> None:
        told: set[str] = set()
        with self._waiting("Dagster run answer_topic") as say:
            for _ in self._polls("the run to finish", self.patience * 3):
                status, steps = api.status(run_id)
                for step in steps:
                    name = step.name.split("[")[0]
                    if step.status == "SUCCESS" and name not in told:
                        told.add(name)
                        self._tell(f"  {_STEPS.get(name, name):<44} {step.seconds:5.1f} s")
                    elif step.status == "IN_PROGRESS":
                        say(f"Dagster run answer_topic: {name}")
                if status == "SUCCESS":
                    return
                if status in ("FAILURE", "CANCELED"):
                    raise ProcessError(f"The Dagster run ended with {status}: {api.failure(run_id)}")

    def _promote(self, verdict: dict[str, Any]) -> tuple[int, str | None]:
        from crucible.registry.models import alias_version, promote

        settings, name = self.stack.settings, self.recipe.name
        challenger = alias_version(settings, name, "challenger")
        if challenger is None:
            raise ProcessError(f"The run registered no challenger of {name}; see {settings.dagster_url}.")
        if verdict["passed"]:
            self._tell(f"the gates passed: version {challenger} is @champion")
            return challenger, None
        reason = "demo: deployed in spite of the verdict, to show the rest of the way"
        self._tell("[yellow]the gates REFUSED this model:[/]")
        for sentence in verdict["reasons"]:
            self._tell(f"  - {sentence}")
        self._tell(f"[yellow]going on by override:[/] crucible promote {name} --override '{reason}'")
        promote(settings, name, challenger, override=reason)
        return challenger, reason

    def _await_deployment(self, version: int) -> Actual:
        with self._waiting("the deploy sensor hands the champion to the fleet"):
            for _ in self._polls("the worker to serve the champion", self.patience):
                actual = read_actual(self.stack.settings, self.recipe.name)
                if actual and actual.model_version == version and actual.state == "ready":
                    self._tell(
                        f"worker             serves bundle {actual.bundle[:12]} (v{version}) as {actual.address}"
                    )
                    return actual
        raise AssertionError("unreachable: polling ends by returning or raising")

    def _await_scores(self, before: int, version: int) -> list[Row]:
        told: set[tuple[int, str]] = set()
        journal = self.stack.settings.fleet / "journal" / f"{self.recipe.name}.db"
        with self._waiting("submissions, one per epoch"):
            for _ in self._polls(f"{self.submissions} scored submissions", self.patience):
                # an earlier champion may have been serving until now
                rows = [row for row in read_journal(journal) if row.nonce > before and row.model_version == version]
                for row in rows:
                    if row.state in ("included", "scored", "missed", "rejected") and (row.nonce, row.state) not in told:
                        told.add((row.nonce, row.state))
                        self._tell(f"  nonce {row.nonce}: {describe(row)}")
                if sum(row.state == "scored" for row in rows) >= self.submissions:
                    return rows
        raise AssertionError("unreachable: polling ends by returning or raising")

    def _last_nonce(self) -> int:
        rows = read_journal(self.stack.settings.fleet / "journal" / f"{self.recipe.name}.db")
        return max((row.nonce for row in rows), default=0)

    def _polls(self, what: str, patience: float) -> Iterator[None]:
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            self.stack.check()
            yield
            time.sleep(0.3)
        raise ProcessError(
            f"Waited {patience:.0f} s in vain for {what}; see the logs in {self.stack.settings.data}/logs."
        )

    def _tell(self, text: str) -> None:
        elapsed = time.monotonic() - self._started
        self.console.print(f"[dim]{elapsed:5.1f} s[/]  {text}", highlight=False, soft_wrap=True)

    @contextmanager
    def _waiting(self, text: str) -> Iterator[Callable[[str], None]]:
        with self.console.status(text) as status:
            yield lambda changed: status.update(changed)


def describe(row: Row) -> str:
    """Return one line on what became of a submission."""
    value = "" if row.value is None else f" value {row.value:.8g}"
    match row.state:
        case "included":
            return f"accepted in block {row.height},{value}, transaction {(row.tx_hash or '')[:12]}"
        case "scored":
            return f"scored {row.score:+.6f},{value}"
        case _:
            return f"{row.state}: {row.reason}"
