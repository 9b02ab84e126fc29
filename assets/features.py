"""bars → features: one DuckDB query, and the target joined by time."""

import dagster as dg

from assets.market import bars
from assets.metadata import columns, image, plain, table
from crucible import lab_stages
from crucible.features.engine import feature_digest, recipe_plan, warmup_bars
from pipelines.partitions import RECIPES
from resources.home import Home


@dg.asset(partitions_def=RECIPES, deps=[bars], group_name="features", kinds={"duckdb"}, owners=["team:lab"])
def features(context: dg.AssetExecutionContext, home: Home) -> dg.MaterializeResult:
    """Features in windows of the horizon, and the return over the next horizon."""
    recipe = home.recipe(context.partition_key)
    dataset = lab_stages.build_features(home.settings, recipe)
    rows, folder = lab_stages.describe_features(home.settings, recipe, dataset)
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": len(dataset.y),
            "dagster/column_schema": columns(dict.fromkeys(("t", "close", "target", *dataset.names), "double")),
            "features": table([row.to_record() for row in rows]),
            "information": image((folder / "features.png").read_bytes()),
            "warm-up bars": warmup_bars(recipe),
            "feature digest": feature_digest(recipe),
            "target standard deviation": plain(dataset.y.std()),
            "sql": dg.MetadataValue.md(f"```sql\n{recipe_plan(recipe).text}\n```"),
        }
    )
