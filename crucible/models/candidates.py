"""From a candidate's name in a recipe to a model."""

from __future__ import annotations

from pathlib import Path

from crucible.errors import BundleError, RecipeError
from crucible.models.baselines import LastValue, Zero
from crucible.models.catboost import CatBoost
from crucible.models.lightgbm import LightGBM
from crucible.models.mean import Mean
from crucible.models.model import Model
from crucible.models.ridge import Ridge
from crucible.recipe import Recipe

LEARNERS = ("ridge", "lightgbm", "catboost")
"""The candidates that learn, and that ``mean`` averages."""

_FAMILIES: dict[str, type[Model]] = {
    "zero": Zero,
    "last_value": LastValue,
    "ridge": Ridge,
    "lightgbm": LightGBM,
    "catboost": CatBoost,
    "mean": Mean,
}


def build_model(name: str, recipe: Recipe, features: tuple[str, ...]) -> Model:
    """Return an unfitted model for candidate ``name``, with the recipe's settings and seed.

    Raises
    ------
    RecipeError
        If the recipe has no settings for it, or lacks the feature that it needs.
    """
    models, seed = recipe.models, recipe.validation.seed
    match name:
        case "zero":
            return Zero()
        case "last_value" if "return_1" in features:
            return LastValue(features.index("return_1"))
        case "ridge" if models.ridge:
            return Ridge(models.ridge.alpha)
        case "lightgbm" if models.lightgbm:
            return LightGBM(models.lightgbm, seed)
        case "catboost" if models.catboost:
            return CatBoost(models.catboost, seed)
        case "mean":
            return Mean({member: build_model(member, recipe, features) for member in members(recipe)})
    raise RecipeError(f"Recipe {recipe.name} has no settings, or no features, for candidate {name!r}.")


def members(recipe: Recipe) -> tuple[str, ...]:
    """Return the candidates that ``mean`` averages."""
    return tuple(name for name in LEARNERS if name in recipe.models.candidates)


def load_model(name: str, folder: Path) -> Model:
    """Read the model of family ``name`` from ``folder``.

    Raises
    ------
    BundleError
        If there is no such family; nothing is ever imported by name.
    """
    if name not in _FAMILIES:
        raise BundleError(f"{folder} holds a model of family {name!r}, which this version does not know.")
    return _FAMILIES[name].load(folder)
