"""The drift of a recipe's champion: features, predictions, residuals, loss; against training and evaluation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import numpy as np

from crucible.bar_stages import bar_store
from crucible.errors import CrucibleError, EvaluationError
from crucible.features.engine import compute_features, recipe_features, warmup_bars
from crucible.market.recipe_bars import history_of, read_bars
from crucible.models.bundle import Manifest, verify_bundle
from crucible.monitor.cusum import FEWEST, Sum, cumulate
from crucible.monitor.drift import Finding, Reference
from crucible.monitor.live import LiveRow, live_rows, overlap_of
from crucible.monitor.skill import Told, lost_skill
from crucible.monitor.store import WORKER
from crucible.monitor.submissions import deployment_of
from crucible.monitor.truth import log_return_of
from crucible.recipe import Recipe
from crucible.settings import Settings
from crucible.stage_records import evaluation_folder, read_current, read_features
from crucible.validation.losses import topic_loss
from crucible.validation.predictions import OutOfSample, read_predictions

_WINDOW = timedelta(days=1)  # a break shows within two days; the levels were measured for this window
_FEWEST_ROWS = 24


@dataclass(frozen=True)
class DriftReport:
    """What was found, and what could not be looked at.

    Attributes
    ----------
    bundle : str
        The champion that it is about.
    findings : tuple of Finding
        Of features, predictions and residuals; those that count as drift first.
    loss : Sum or None
        The cumulative sum of the live loss less ``against``'s.
    against : str
        ``network`` or ``zero``.
    skill : Sum or None
        How much speaks for forecasts that mean less than they did.
    skipped : tuple of str
        What could not be looked at so far, and why.
    """

    bundle: str
    findings: tuple[Finding, ...]
    loss: Sum | None
    against: str
    skipped: tuple[str, ...]
    skill: Sum | None = None

    @property
    def moved(self) -> tuple[Finding, ...]:
        """What has moved."""
        return tuple(item for item in self.findings if item.drifted)

    @property
    def decayed(self) -> bool:
        """Whether the live loss has become worse, or the forecasts have lost their meaning."""
        return any(found is not None and found.drifted for found in (self.loss, self.skill))

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values; of the sum only where it stands."""
        loss = None if self.loss is None else {
            "height": self.loss.height, "threshold": self.loss.threshold, "alarm": self.loss.drifted,
            "against": self.against,
        }  # fmt: skip
        skill = None if self.skill is None else {
            "height": self.skill.height, "threshold": self.skill.threshold, "alarm": self.skill.drifted,
        }  # fmt: skip
        return {
            "bundle": self.bundle, "findings": [asdict(item) for item in self.findings], "loss": loss, "skill": skill,
            "skipped": list(self.skipped),
        }  # fmt: skip


def check_drift(settings: Settings, recipe: Recipe) -> DriftReport:
    """Compare the newest day with what the deployed bundle was trained on.

    Raises
    ------
    EvaluationError
        If nothing is deployed.
    BundleError
        If its bundle is gone or was altered.
    """
    deployment = deployment_of(settings, recipe.name)
    if deployment is None:
        raise EvaluationError(f"Nothing is deployed for {recipe.name}, so that nothing can drift.")
    manifest, digest = verify_bundle(settings.bundles / deployment.bundle, deployment.bundle)
    rows = [
        row
        for row in live_rows(settings, recipe, source=WORKER, since=manifest.training.last)
        if row.bundle == digest and row.log_return is not None
    ]
    skipped: list[str] = []

    def tried(what: str, find: Callable[[], Any]) -> Any:
        try:
            return find()
        except CrucibleError as error:
            skipped.append(f"{what}: {error}")
            return None

    oos = tried("predictions, residuals and loss", lambda: _judged_on(settings, recipe))
    found = tried("features", lambda: _features(settings, recipe, manifest)) or []
    loss: tuple[Sum, str] | None = None
    skill: Sum | None = None
    if oos is not None:
        for kind, column in (("predictions", "prediction"), ("residuals", "residual")):
            found += tried(kind, partial(_live, recipe, oos, manifest, rows, kind, column)) or []
        loss = tried("loss", lambda: _loss(recipe, oos, manifest, rows))
        skill = tried("skill", lambda: _skill(recipe, oos, manifest, rows))
    ordered = sorted(found, key=lambda item: (not item.drifted, item.adjusted))
    known, against = loss or (None, "")
    return DriftReport(digest, tuple(ordered), known, against, tuple(skipped), skill)


def window_rows(step: timedelta) -> int:
    """Return how many rows, ``step`` apart, a recent window has."""
    return max(_WINDOW // step, _FEWEST_ROWS)


def _features(settings: Settings, recipe: Recipe, manifest: Manifest) -> list[Finding]:
    dataset, store = read_features(settings, recipe), bar_store(settings)
    last = np.datetime64(datetime.fromisoformat(manifest.training.last).replace(tzinfo=None))
    known = dataset.times <= last
    rows = window_rows(recipe.data.interval)
    # the clock's own features differ from day to day by what they are
    names = [feature.name for feature in recipe_features(recipe).features if feature.family != "seasons"]
    columns = {name: dataset.x[known, dataset.names.index(name)] for name in names if name in dataset.names}
    end = history_of(store, recipe.data)[1]
    bars = read_bars(store, recipe.data, end - (warmup_bars(recipe) + rows) * recipe.data.interval, end)
    frame = compute_features(bars, recipe)
    fresh = np.flatnonzero(frame.times > last)[-rows:]
    if len(fresh) < rows // 2:
        raise EvaluationError(f"{len(fresh)} bars are newer than the training; it takes {rows // 2}")
    return Reference(columns, rows).judge({name: frame.columns[name][fresh] for name in columns}, "features")


def _judged_on(settings: Settings, recipe: Recipe) -> OutOfSample:
    folder = evaluation_folder(settings, recipe, read_current(settings, recipe))
    return read_predictions(folder / "predictions.parquet")


def _live(
    recipe: Recipe, oos: OutOfSample, manifest: Manifest, rows: list[LiveRow], kind: str, column: str
) -> list[Finding]:
    per_day = window_rows(recipe.topic.cadence)
    # outer windows have a row per bar, epochs may be further apart: a day is a day
    usual = {"prediction": oos.y_pred[manifest.candidate], "residual": oos.y_true - oos.y_pred[manifest.candidate]}
    recent = rows[-per_day:]
    if len(recent) < per_day // 2:
        raise EvaluationError(f"{len(recent)} epochs are known so far; it takes {per_day // 2}")
    predicted = np.array([log_return_of(recipe, row.close or 0.0, row.value) for row in recent])
    truth = np.array([row.log_return for row in recent], dtype=float)
    now = {"prediction": predicted, "residual": truth - predicted}
    reference = Reference({column: usual[column]}, window_rows(recipe.data.interval))
    return reference.judge({column: now[column]}, kind)


def _loss(recipe: Recipe, oos: OutOfSample, manifest: Manifest, rows: list[LiveRow]) -> tuple[Sum, str]:
    overlap = overlap_of(recipe)
    paired = [(row.loss, row.network_loss) for row in rows if row.loss is not None and row.network_loss is not None]
    if len(paired) > 2 * FEWEST * overlap:
        # the network is the opponent that pays, and the first live epochs say what is usual against it
        against = np.array([own - other for own, other in paired])
        known = FEWEST * overlap
        return cumulate(against[:known], against[known:], overlap=overlap), "network"
    scale, predicted = oos.known_scale, oos.y_pred[manifest.candidate]
    zero = np.zeros(len(predicted))
    usual = topic_loss(recipe, oos.y_true, predicted, oos.close, scale) - topic_loss(
        recipe, oos.y_true, zero, oos.close, scale
    )
    live = np.array([row.loss - row.zero_loss for row in rows if row.loss is not None and row.zero_loss is not None])
    bars = max(recipe.topic.cadence // recipe.data.interval, 1)
    return cumulate(usual[::bars], live, overlap=overlap), "zero"


def _skill(recipe: Recipe, oos: OutOfSample, manifest: Manifest, rows: list[LiveRow]) -> Sum:
    apart = max(recipe.topic.cadence // recipe.data.interval, 1)
    known = Told(oos.y_pred[manifest.candidate][::apart], oos.y_true[::apart], oos.known_scale[::apart])
    told = [(log_return_of(recipe, row.close or 0.0, row.value), row.log_return, row.scale) for row in rows]
    columns = np.array([item for item in told if item[1] is not None and item[2] is not None], dtype=float)
    per_day = timedelta(days=1) / recipe.topic.cadence
    return lost_skill(known, Told(*columns.reshape(-1, 3).T), overlap=overlap_of(recipe), per_day=per_day)
