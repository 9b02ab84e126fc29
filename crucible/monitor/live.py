"""How the live forecasts fare: each one with its truth, the network's answer and the chain's score, and one test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any

import numpy as np

from crucible.errors import EvaluationError
from crucible.monitor.store import Forecast, monitor_store
from crucible.monitor.truth import REGIMES
from crucible.recipe import Recipe
from crucible.settings import Settings
from crucible.validation.statistics.comparison import diebold_mariano
from crucible.validation.statistics.hac import MeanStatistic


@dataclass(frozen=True)
class LiveRow:
    """One forecast and all that is known of it by now; ``None`` is not known (yet).

    Attributes
    ----------
    nonce, source, bundle, model_version, feature_digest, predicted_for, value, tx_hash
        The forecast, as :class:`~crucible.monitor.store.Forecast` has it.
    truth, network : float or None
        What came, and what the network answered, in the topic's units.
    log_return, close, scale : float or None
        The truth as a return, the price at t, and the scale that was known then.
    loss, zero_loss, network_loss : float or None
        The topic's loss of the forecast, of a forecast of no change, and of the network's answer.
    score, score_ema, rank, field, reward : float or None
        From the chain; ``rank`` by loss among ``field`` inferers, ``reward`` in uallo.
    regime : str or None
        One of :data:`~crucible.monitor.truth.REGIMES`.
    """

    nonce: int
    source: str
    bundle: str
    model_version: int
    feature_digest: str
    predicted_for: str
    value: float
    tx_hash: str
    truth: float | None = None
    network: float | None = None
    log_return: float | None = None
    close: float | None = None
    scale: float | None = None
    loss: float | None = None
    zero_loss: float | None = None
    network_loss: float | None = None
    score: float | None = None
    score_ema: float | None = None
    rank: float | None = None
    field: float | None = None
    reward: float | None = None
    regime: str | None = None

    @property
    def time(self) -> datetime:
        """The prediction time t, UTC."""
        return datetime.fromisoformat(self.predicted_for)


_FACTS = tuple(field.name for field in fields(LiveRow) if field.default is None)


@dataclass(frozen=True)
class Comparison:
    """The live loss against another's over the epochs that both have.

    Attributes
    ----------
    other : str
        ``network`` or ``zero``.
    epochs : int
        How many.
    loss, other_loss : float
        Means.
    test : MeanStatistic or None
        Diebold-Mariano, dependence of overlapping horizons counted; ``None`` where there are too few epochs.
    sentence : str
        The same for a person.
    """

    other: str
    epochs: int
    loss: float
    other_loss: float
    test: MeanStatistic | None
    sentence: str


def live_rows(settings: Settings, recipe: Recipe, *, source: str = "", since: str = "") -> list[LiveRow]:
    """Return what is known of the live forecasts of ``recipe``, oldest first.

    Parameters
    ----------
    source : str, optional
        ``worker`` for submissions only, ``shadow`` for shadows only.
    since : str, optional
        Prediction times from this instant on, ISO, UTC.
    """
    known = monitor_store(settings).joined(recipe.name, _FACTS, source=source, since=since)
    return [_joined(row, facts) for row, facts in known]


def compare(recipe: Recipe, rows: Sequence[LiveRow], other: str = "network") -> Comparison:
    """Test whether the live loss is smaller than the network's, or than that of no change (``zero``)."""
    name = f"{other}_loss"
    pairs = [(row.loss, getattr(row, name)) for row in rows if row.loss is not None and getattr(row, name) is not None]
    mine, theirs = (np.array(column) for column in zip(*pairs, strict=True)) if pairs else (np.empty(0), np.empty(0))
    if not len(mine):
        return Comparison(other, 0, float("nan"), float("nan"), None, f"no epoch has both losses, own and {other}")
    means = float(mine.mean()), float(theirs.mean())
    try:
        test = diebold_mariano(mine, theirs, overlap=overlap_of(recipe))
    except EvaluationError as error:
        return Comparison(other, len(mine), *means, None, str(error))
    sure = "surely" if test.p_value < 0.05 else ("surely not" if test.p_value > 0.95 else "not surely")
    sentence = f"{sure} better than {other}: p {test.p_value:.3f}, {test.independent:.0f} independent epochs"
    return Comparison(other, len(mine), *means, test, sentence)


def overlap_of(recipe: Recipe) -> int:
    """Return over how many epochs one horizon reaches: so many neighbours share a part of their truth."""
    return max(-(-recipe.topic.horizon // recipe.topic.cadence), 1)


def summary(recipe: Recipe, rows: Sequence[LiveRow]) -> dict[str, Any]:
    """Return the live state in plain values: counts, means, the tests, losses by regime and by model version."""
    known = [row for row in rows if row.loss is not None]
    emas = [row.score_ema for row in rows if row.score_ema is not None]
    rewards = [row.reward for row in rows if row.reward is not None]
    return {
        "recipe": recipe.name,
        "forecasts": len(rows),
        "with truth": len(known),
        "mean loss": _mean([row.loss for row in known]),
        "mean score": _mean([row.score for row in rows]),
        "score EMA": emas[-1] if emas else None,
        "mean rank": _mean([row.rank for row in rows]),
        "rewards": sum(rewards) if rewards else None,
        "against": {other: _plain(compare(recipe, rows, other)) for other in ("network", "zero")},
        "by regime": {name: _mean([row.loss for row in known if row.regime == name]) for name in REGIMES},
        "by version": {
            str(version): _mean([row.loss for row in known if row.model_version == version])
            for version in sorted({row.model_version for row in known})
        },
    }


def _joined(row: Forecast, facts: dict[str, float]) -> LiveRow:
    regime = facts.pop("regime", None)
    return LiveRow(
        nonce=row.nonce, source=row.source, bundle=row.bundle, model_version=row.model_version,
        feature_digest=row.feature_digest, predicted_for=row.predicted_for, value=row.value, tx_hash=row.tx_hash,
        regime=None if regime is None else REGIMES[int(regime)],
        **facts,
    )  # fmt: skip


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _plain(found: Comparison) -> dict[str, Any]:
    return {
        "epochs": found.epochs,
        "loss": None if np.isnan(found.loss) else found.loss,
        "other loss": None if np.isnan(found.other_loss) else found.other_loss,
        "test": asdict(found.test) if found.test else None,
        "sentence": found.sentence,
    }
