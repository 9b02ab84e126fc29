"""From a candidate's name in a recipe to a model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from crucible.errors import BundleError, RecipeError
from crucible.features.library import LIBRARY
from crucible.models.baselines import Drift, LastValue, Zero
from crucible.models.catboost import CatBoost
from crucible.models.lightgbm import LightGBM
from crucible.models.mean import Mean, Shrunk, Stacked, Weighted
from crucible.models.model import Model
from crucible.models.quantile import Quantile
from crucible.models.ridge import ElasticNet, Har, Ridge
from crucible.recipe import Recipe

LEARNERS = ("ridge", "elastic_net", "har", "lightgbm", "catboost", "quantile")
"""The candidates that learn, and that the ensembles average."""

ENSEMBLES = ("mean", "weighted", "stacked")
"""The candidates that are made of others; the first one that a recipe names is its default choice."""

BASELINES = ("zero", "last_value", "drift")
"""The candidates that have nothing to be set."""

_FAMILIES: dict[str, type[Model]] = {
    "zero": Zero,
    "last_value": LastValue,
    "drift": Drift,
    "ridge": Ridge,
    "elastic_net": ElasticNet,
    "har": Har,
    "lightgbm": LightGBM,
    "catboost": CatBoost,
    "quantile": Quantile,
    "mean": Mean,
    "weighted": Weighted,
    "stacked": Stacked,
}

Settings = Mapping[str, Mapping[str, Any]]
"""What a search found, by candidate: values that take the place of the recipe's."""


def build_model(name: str, recipe: Recipe, features: tuple[str, ...], found: Settings | None = None) -> Model:
    """Return an unfitted model for candidate ``name``, with the recipe's settings and seed.

    Parameters
    ----------
    name : str
        The candidate.
    recipe : Recipe
        Its settings.
    features : tuple of str
        Column names of the matrix that it will see.
    found : mapping, optional
        What a search found.

    Raises
    ------
    RecipeError
        If the recipe has no settings for it, or lacks the features that it needs.
    """
    own = dict((found or {}).get(name, {}))
    shrink = own.pop("shrink", None)
    model = _build(name, recipe, features, found or {}, own)
    return model if shrink is None else Shrunk(name, model, shrink)


def _build(name: str, recipe: Recipe, features: tuple[str, ...], found: Settings, own: dict[str, Any]) -> Model:
    models, seed = recipe.models, recipe.validation.seed
    # ensembles average what their members say, not what is left after shrinking each of them
    raw = {item: {key: value for key, value in has.items() if key != "shrink"} for item, has in found.items()}
    match name:
        case "zero":
            return Zero()
        case "drift":
            return Drift()
        case "last_value" if "return_1" in features:
            return LastValue(features.index("return_1"))
        case "ridge" if models.ridge:
            return Ridge(**{**models.ridge.model_dump(), **own})
        case "elastic_net" if models.elastic_net:
            return ElasticNet(**{**models.elastic_net.model_dump(), **own})
        case "har" if models.har and (columns := _har_columns(features)):
            return Har(**{**models.har.model_dump(), **own}, columns=columns)
        case "lightgbm" if models.lightgbm:
            return LightGBM(models.lightgbm.model_copy(update=own), seed)
        case "catboost" if models.catboost:
            return CatBoost(models.catboost.model_copy(update=own), seed)
        case "quantile" if models.quantile:
            return Quantile(models.quantile.model_copy(update=own), seed)
        case "mean":
            return Mean({member: build_model(member, recipe, features, raw) for member in members(recipe)})
        case "weighted" | "stacked":
            parts = {member: build_model(member, recipe, features, raw) for member in members(recipe)}
            return (Weighted if name == "weighted" else Stacked)(parts, own.get("weights"))
    raise RecipeError(f"Recipe {recipe.name} has no settings, or no features, for candidate {name!r}.")


def members(recipe: Recipe) -> tuple[str, ...]:
    """Return the candidates that the ensembles average."""
    return tuple(name for name in LEARNERS if name in recipe.models.candidates)


def _har_columns(features: tuple[str, ...]) -> list[int]:
    families = {name: LIBRARY[name].family for name in features if name in LIBRARY}
    return [index for index, name in enumerate(features) if families.get(name) in ("returns", "volatility")]


def load_model(name: str, folder: Path) -> Model:
    """Read the candidate ``name`` from ``folder``, with its factor if it was shrunk.

    Raises
    ------
    BundleError
        If there is no such family; nothing is ever imported by name.
    """
    return Shrunk.load(folder) if (folder / "shrunk.json").exists() else load_family(name, folder)


def load_family(name: str, folder: Path) -> Model:
    """Read the model of family ``name`` from ``folder``; see :func:`load_model`."""
    if name not in _FAMILIES:
        raise BundleError(f"{folder} holds a model of family {name!r}, which this version does not know.")
    return _FAMILIES[name].load(folder)
