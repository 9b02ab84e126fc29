"""The trials of one candidate: asked of Optuna in pairs, narrowed by rounds, resumed from its SQLite file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from crucible.errors import EvaluationError
from crucible.recipe import Recipe
from crucible.validation.fits import Crew, Rows, SharedRows
from crucible.validation.spaces import Space, narrowed, space_of
from crucible.validation.splits import InnerFold
from crucible.validation.trial import Outcome, run_trial

if TYPE_CHECKING:
    import optuna


Progress = Callable[[int], None]

_PAIR = 2  # trials under way at once, whatever the number of processes
_STARTUP = 4  # complete trials before the median is believed


class Study:
    """The trials of one candidate."""

    def __init__(
        self, source: Rows | SharedRows, recipe: Recipe, name: str, folds: tuple[InnerFold, ...], crew: Crew,
        storage: Path | None,
    ) -> None:  # fmt: skip
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.source, self.recipe, self.name, self.folds, self.crew = source, recipe, name, folds, crew
        self.outcomes: list[Outcome] = []
        self.study: optuna.Study = optuna.create_study(
            study_name=f"{recipe.digest[:12]}-{name}",
            storage=f"sqlite:///{storage}" if storage else None,
            load_if_exists=True,
            sampler=optuna.samplers.TPESampler(seed=recipe.validation.seed, n_startup_trials=_STARTUP),
        )
        self.space = space_of(name)

    def go(self, tell: Callable[[int], None]) -> None:
        """Run what is left of the trials."""
        total, rounds = self.recipe.search.trials, self.recipe.search.rounds
        done = self._resume()
        tell(done)
        while done < total:
            # the generator's state is a function of how far the study is, so that a resumed one asks the same
            self._seed(done)
            complete = [(trial.params, trial.value) for trial in self._complete()]
            space = narrowed(self.space, complete, done * rounds // total)
            asked = [self._ask(space, done + offset) for offset in range(min(_PAIR, total - done))]
            medians = self._medians()
            jobs = [(self.source, self.recipe, self.name, found, self.folds, medians) for _, found in asked]
            patience = 2 * self.recipe.search.deadline.total_seconds() + 60  # the trial itself should have given up
            for (trial, found), made in zip(asked, self.crew.attempt(run_trial, jobs, patience), strict=True):
                outcome = made if isinstance(made, Outcome) else Outcome((), "failed", reason=f"{made}")
                self._tell(trial, found, outcome)
                self.outcomes.append(outcome)
            done += len(asked)
            tell(done)

    def best(self) -> tuple[dict[str, Any], Outcome]:
        """Return the settings of the best complete trial, and the trial itself."""
        complete = self._complete()
        if not complete:
            reason = next((outcome.reason for outcome in reversed(self.outcomes) if outcome.reason), "unknown")
            raise EvaluationError(f"Every trial of {self.name} failed; the last one: {reason}.")
        best = min(complete, key=lambda trial: (trial.value, trial.number))
        found = dict(best.user_attrs["settings"])
        outcome = self.outcomes[best.number]
        if not outcome.predictions:  # it was run before an interruption
            outcome = run_trial(self.source, self.recipe, self.name, found, self.folds, ())
        found["shrink"] = outcome.shrink
        if outcome.rounds:
            found["trees"] = max(int(np.median(outcome.rounds)), 1)
        return found, outcome

    def _complete(self) -> list[Any]:
        return [trial for trial in self.study.trials if trial.state.name == "COMPLETE"]

    def _ask(self, space: Space, number: int) -> tuple[optuna.Trial, dict[str, Any]]:
        trial = self.study.ask()
        if number == 0:  # the recipe's own settings are the first trial
            return trial, {}
        return trial, {name: item.suggest(trial, name) for name, item in space.items()}

    def _seed(self, done: int) -> None:
        import optuna

        self.study.sampler = optuna.samplers.TPESampler(
            seed=self.recipe.validation.seed * 10_007 + done, n_startup_trials=_STARTUP
        )

    def _medians(self) -> tuple[float, ...]:
        """Return the median of complete trials' mean loss after each fold."""
        complete = [o.running for o in self.outcomes if o.state == "complete"]
        if len(complete) < _STARTUP:
            return ()
        return tuple(np.median(np.array(complete), axis=0).tolist())

    def _tell(self, trial: optuna.Trial, found: dict[str, Any], outcome: Outcome) -> None:
        import optuna

        for step, loss in enumerate(outcome.running):
            trial.report(loss, step)
        trial.set_user_attr("losses", list(outcome.losses))
        trial.set_user_attr("settings", found)
        trial.set_user_attr("rounds", list(outcome.rounds))
        if outcome.state == "complete":
            self.study.tell(trial, float(np.mean(outcome.losses)))
        else:
            trial.set_user_attr("reason", outcome.reason)
            states = {"pruned": optuna.trial.TrialState.PRUNED, "failed": optuna.trial.TrialState.FAIL}
            self.study.tell(trial, state=states[outcome.state])

    def _resume(self) -> int:
        """Take over the finished trials of an interrupted search; return how many."""
        states = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}
        for trial in self.study.trials:
            if trial.state.name not in states:  # it was under way
                self.study.tell(trial.number, state=_fail())
            running = tuple(trial.intermediate_values[step] for step in sorted(trial.intermediate_values))
            self.outcomes.append(
                Outcome(tuple(trial.user_attrs.get("losses", ())), states.get(trial.state.name, "failed"), running,
                        rounds=tuple(trial.user_attrs.get("rounds", ())),
                        reason=trial.user_attrs.get("reason", "interrupted"))
            )  # fmt: skip
        return len(self.outcomes)


def _fail() -> Any:
    import optuna

    return optuna.trial.TrialState.FAIL
