"""From a transaction back to the bars: what was sent, by which model, from which features, of which bars."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from crucible.bar_stages import bar_store
from crucible.errors import CrucibleError, StoreError
from crucible.features.engine import compute_features, feature_digest, warmup_bars
from crucible.market.recipe_bars import bars_digest, read_bars
from crucible.models.bundle import Bundle, load_bundle
from crucible.monitor.submissions import submissions_of
from crucible.monitor.truth import value_of
from crucible.recipe import Recipe, load_recipe
from crucible.settings import Settings
from crucible.worker.journal import Row

_EQUAL = 1e-9


@dataclass(frozen=True)
class Lineage:
    """Where a submitted value came from.

    Attributes
    ----------
    tx_hash, nonce, topic_id, address, state, value
        The submission, as the journal has it.
    predicted_for : str
        Prediction time t, ISO, UTC.
    recipe, recipe_digest : str
        Which recipe, in the version that the bundle was made by.
    bundle, model_version, candidate
        Which model.
    trained_on, trained_from, trained_to : str
        Digest of the training bars, first and last prediction time.
    features : str
        Digest of what computes them.
    bars_from, bars_to : str
        The bars which the features of t look at open in this range, ISO, UTC.
    bars : int
        How many of these the store holds.
    bars_digest : str
        SHA-256 of these, as stored now; empty if there are none.
    again : float or None
        The value that the bundle gives from the bars as stored now; ``None`` where it cannot be computed any more.
    sentence : str
        Whether that is what was sent, and if not what may be the reason.
    """

    tx_hash: str
    nonce: int
    topic_id: int
    address: str
    state: str
    value: float
    predicted_for: str
    recipe: str
    recipe_digest: str
    bundle: str
    model_version: int
    candidate: str
    trained_on: str
    trained_from: str
    trained_to: str
    features: str
    bars_from: str
    bars_to: str
    bars: int
    bars_digest: str
    again: float | None
    sentence: str


def trace(settings: Settings, tx_hash: str) -> Lineage:
    """Return the lineage of the transaction ``tx_hash``, of which the first characters are enough.

    Raises
    ------
    StoreError
        If no journal knows it, several fit, or it carried no value of a model's.
    BundleError
        If the bundle is gone or was altered.
    """
    row = _find(settings, tx_hash)
    if row.value is None or row.bundle is None or row.predicted_for is None:
        raise StoreError(f"Transaction {tx_hash[:16]} carried no value that a model made.")
    bundle = load_bundle(settings.bundles / row.bundle, row.bundle)
    recipe, manifest = bundle.manifest.recipe, bundle.manifest
    time = datetime.fromisoformat(row.predicted_for)
    start = time - (warmup_bars(recipe) + 1) * recipe.data.interval
    store = bar_store(settings)
    bars = read_bars(store, recipe.data, start, time)
    again, sentence = _again(settings, bundle, time, row.value)
    return Lineage(
        tx_hash=row.tx_hash or "", nonce=row.nonce, topic_id=row.topic_id, address=row.address, state=row.state,
        value=row.value, predicted_for=row.predicted_for, recipe=recipe.name, recipe_digest=recipe.digest,
        bundle=bundle.digest, model_version=row.model_version or 0, candidate=manifest.candidate,
        trained_on=manifest.training.bars_digest, trained_from=manifest.training.first,
        trained_to=manifest.training.last, features=feature_digest(recipe), bars_from=start.isoformat(),
        bars_to=time.isoformat(), bars=bars.num_rows,
        bars_digest=bars_digest(store, recipe.data, start, time) if bars.num_rows else "",
        again=again, sentence=sentence,
    )  # fmt: skip


def predict_again(settings: Settings, bundle: Bundle, time: datetime) -> float:
    """Return what ``bundle`` says at prediction time ``time`` from stored bars, in the topic's units.

    Raises
    ------
    DataError
        If the store holds no bar that closes at ``time``.
    """
    recipe = bundle.manifest.recipe
    need = (warmup_bars(recipe) + 1) * recipe.data.interval
    bars = read_bars(bar_store(settings), recipe.data, time - need, time)
    frame = compute_features(bars, recipe, at=time)
    return value_of(recipe, float(frame.close[0]), float(bundle.predict(frame.values)[0]))


def _again(settings: Settings, bundle: Bundle, time: datetime, sent: float) -> tuple[float | None, str]:
    try:
        again = predict_again(settings, bundle, time)
    except CrucibleError as error:
        return None, f"it cannot be computed again: {error}"
    if abs(again - sent) <= _EQUAL * max(abs(sent), abs(again), timedelta.resolution.total_seconds()):
        return again, "the same bundle and the stored bars give the same value again"
    return again, "the stored bars give another value now: a bar was revised, repaired or came late"


def _find(settings: Settings, tx_hash: str) -> Row:
    wanted = tx_hash.strip().upper()
    found = {
        row.tx_hash: row for recipe in _recipes(settings) for row in submissions_of(settings, recipe)
        if wanted and row.tx_hash and row.tx_hash.startswith(wanted)
    }  # fmt: skip
    if len(found) != 1:
        what = "is in no journal of this home" if not found else f"fits {len(found)} transactions; give more of it"
        raise StoreError(f"Transaction {tx_hash[:16]} {what}.")
    return next(iter(found.values()))


def _recipes(settings: Settings) -> list[Recipe]:
    recipes = [load_recipe(path) for path in sorted(settings.recipes.glob("*.toml"))]
    return [recipe for recipe in recipes if recipe.answers(settings.network)]
