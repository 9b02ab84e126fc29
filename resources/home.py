"""Where an asset finds its folders, endpoints and recipe."""

from __future__ import annotations

import dagster as dg

from crucible.recipe import Recipe, find_recipe
from crucible.settings import Settings


class Home(dg.ConfigurableResource):
    """The Crucible home of this Dagster instance."""

    @property
    def settings(self) -> Settings:
        """Folders and endpoints, read when asked for: a worker's endpoints may change while Dagster runs."""
        return Settings.load()

    def recipe(self, name: str) -> Recipe:
        """Return the recipe of partition ``name``, as it is on disk now."""
        return find_recipe(self.settings.recipes, name)
