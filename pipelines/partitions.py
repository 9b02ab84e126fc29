"""Every asset is partitioned by recipe: one partition per valid file in ``recipes/``."""

from __future__ import annotations

import logging
from functools import cache

import dagster as dg

from crucible.errors import RecipeError
from crucible.recipe import Recipe, load_recipe
from crucible.settings import Settings


@cache
def valid_recipes() -> tuple[Recipe, ...]:
    """Return the recipes that can be read, by name; a faulty one is logged and left out, the others still run."""
    recipes = []
    for path in sorted(Settings.load().recipes.glob("*.toml")):
        try:
            recipes.append(load_recipe(path))
        except RecipeError as error:
            logging.getLogger(__name__).error("recipe left out: %s", error)
    return tuple(recipes)


RECIPES = dg.StaticPartitionsDefinition([recipe.name for recipe in valid_recipes()])
