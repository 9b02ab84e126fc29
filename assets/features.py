"""bars → features: one DuckDB query, and the target joined by time."""

import dagster as dg
import numpy as np

from assets.market import bars
from assets.metadata import columns, plain, table
from crucible import stages
from crucible.features.engine import feature_digest, recipe_features, recipe_plan, warmup_bars
from pipelines.partitions import RECIPES
from resources.home import Home


@dg.asset(partitions_def=RECIPES, deps=[bars], group_name="features", kinds={"duckdb"}, owners=["team:lab"])
def features(context: dg.AssetExecutionContext, home: Home) -> dg.MaterializeResult:
    """Features in windows of the horizon, and the return over the next horizon."""
    recipe = home.recipe(context.partition_key)
    dataset = stages.build_features(home.settings, recipe)
    declared = recipe_features(recipe)
    described = [
        {"feature": item.name, "estimates": item.estimates, "because": item.because,
         "complete %": round(plain(np.isfinite(dataset.x[:, index]).mean()) * 100, 2)}
        for index, item in enumerate(declared.features)
    ]  # fmt: skip
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": len(dataset.y),
            "dagster/column_schema": columns(dict.fromkeys(("t", "close", "target", *dataset.names), "double")),
            "features": table(described),
            "warm-up bars": warmup_bars(recipe),
            "feature digest": feature_digest(recipe),
            "target standard deviation": plain(dataset.y.std()),
            "sql": dg.MetadataValue.md(f"```sql\n{recipe_plan(recipe).text}\n```"),
        }
    )
