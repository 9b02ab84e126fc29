"""Assets are partitioned by recipe, one partition per valid file in ``recipes/``; stored bars by series and month."""

from __future__ import annotations

import logging
from functools import cache

import dagster as dg

from crucible.data_settings import DataSection
from crucible.duration import format_duration
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


def _series_name(data: DataSection) -> str:
    return f"{data.venue}-{data.symbol}-{format_duration(data.stored)}"


SERIES: dict[str, DataSection] = {
    _series_name(member): member for recipe in valid_recipes() for member in recipe.data.members
}
"""The stored series that recipes read, by partition name."""

MONTHS = dg.MultiPartitionsDefinition(
    {
        "series": dg.StaticPartitionsDefinition(sorted(SERIES)),
        # the month that is not over yet is a partition, too
        "month": dg.MonthlyPartitionsDefinition("2017-08-01", end_offset=1),
    }
)
"""Stored bars: a series, and a month since the first exchange of the catalogue opened."""


def month_key(data: DataSection, month: str) -> dg.MultiPartitionKey:
    """Return the partition of :data:`MONTHS` that holds ``month`` (``2026-01``) of the stored bars of ``data``."""
    return dg.MultiPartitionKey({"series": _series_name(data), "month": f"{month}-01"})


def month_of(key: str) -> tuple[DataSection, str]:
    """Return which bars, and which month (``2026-01``), a partition of :data:`MONTHS` is."""
    dimensions = MONTHS.get_partition_key_from_str(key).keys_by_dimension
    return SERIES[dimensions["series"]], dimensions["month"][:7]
