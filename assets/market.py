"""market → bars: the recipe's history in the Parquet store."""

import dagster as dg

from assets.metadata import columns, table
from crucible import stages
from crucible.market.bars import BAR_SCHEMA
from crucible.market.store import BarStore
from pipelines.partitions import RECIPES
from resources.home import Home


@dg.asset(partitions_def=RECIPES, group_name="market", kinds={"parquet"}, owners=["team:lab"], pool="bars")
def bars(context: dg.AssetExecutionContext, home: Home) -> dg.MaterializeResult:
    """OHLCV bars of the recipe's symbol: immutable monthly Parquet; only what lacks is requested."""
    recipe = home.recipe(context.partition_key)
    report = stages.fetch_bars(home.settings, recipe)
    coverage = BarStore(home.settings.bars).coverage(stages.series_of(recipe))
    gaps = [{"from": str(gap.start), "to": str(gap.end), "bars": gap.bars} for gap in coverage.gaps[:20]]
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": coverage.rows,
            "dagster/column_schema": columns({field.name: str(field.type) for field in BAR_SCHEMA}),
            "dagster/uri": str(home.settings.bars),
            "new rows": report.rows_new,
            "first bar": str(coverage.first),
            "last bar": str(coverage.last),
            "missing bars": coverage.missing,
            "gaps": table(gaps or [{"from": "none", "to": "none", "bars": 0}]),
        }
    )
