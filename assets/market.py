"""market → bars: the recipe's history in the Parquet store, and the same store month by month."""

from datetime import timedelta

import dagster as dg

from assets.metadata import columns, image_svg, table
from crucible import bar_stages
from crucible.market.bars import BAR_SCHEMA
from crucible.market.quality import read_report
from crucible.market.quality_page import sparkline
from crucible.market.recipe_bars import series_of
from pipelines.partitions import MONTHS, RECIPES, month_key, month_of
from resources.home import Home

_FRESH = dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=48), warn_window=timedelta(hours=30))


@dg.asset(partitions_def=MONTHS, group_name="market", kinds={"parquet"}, owners=["team:lab"], pool="bars")
def bar_months(context: dg.AssetExecutionContext, home: Home) -> dg.MaterializeResult:
    """One month of one stored series, fetched and judged: for backfills of years from this page."""
    data, month = month_of(context.partition_key)
    series = series_of(data)
    done = bar_stages.fetch_month(home.settings, data, month)
    account = bar_stages.bar_store(home.settings).manifests(series).get(month)
    report = read_report(home.settings.quality, series, month)
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": account.rows if account else 0,
            "new rows": done.rows_new,
            "missing bars": sum(gap.bars for gap in account.gaps) if account else 0,
            "from other sources": sum(item.bars for item in account.filled) if account else 0,
            "sha256": account.sha256 if account else "none",
            "close": image_svg(sparkline(report.closes, 320, 60) if report else ""),
        }
    )


@dg.asset(
    partitions_def=RECIPES, group_name="market", kinds={"parquet"}, owners=["team:lab"], pool="bars",
    deps=[dg.AssetDep(bar_months, partition_mapping=dg.AllPartitionMapping())], freshness_policy=_FRESH,
    retry_policy=dg.RetryPolicy(max_retries=2, delay=5, backoff=dg.Backoff.EXPONENTIAL),
)  # fmt: skip
def bars(context: dg.AssetExecutionContext, home: Home) -> dg.MaterializeResult:
    """OHLCV bars of the recipe's symbol: immutable monthly Parquet; only what lacks is requested."""
    recipe = home.recipe(context.partition_key)
    report, *peers = bar_stages.fetch_bars(home.settings, recipe)
    store, series = bar_stages.bar_store(home.settings), series_of(recipe.data)
    coverage = store.coverage(series)
    gaps = store.ledger(series).explain(coverage.gaps)[:20]
    rows = [{"from": str(gap.start), "to": str(gap.end), "bars": gap.bars, "cause": gap.cause} for gap in gaps]
    for member, done in zip(recipe.data.members, (report, *peers), strict=True):
        for month in done.months:  # the months page shows what came by this way, too
            context.log_event(dg.AssetMaterialization(bar_months.key, partition=month_key(member, month)))
    newest = read_report(home.settings.quality, series, f"{coverage.last:%Y-%m}")
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": coverage.rows,
            "dagster/column_schema": columns({field.name: str(field.type) for field in BAR_SCHEMA}),
            "dagster/uri": str(home.settings.bars),
            "new rows": report.rows_new,
            "revised rows": report.rows_revised,
            "first bar": str(coverage.first),
            "last bar": str(coverage.last),
            "missing bars": coverage.missing,
            "new rows of peers": sum(done.rows_new for done in peers),
            "gaps": table(rows or [{"from": "none", "to": "none", "bars": 0, "cause": ""}]),
            "close, newest month": image_svg(sparkline(newest.closes, 320, 60) if newest else ""),
            "quality page": dg.MetadataValue.path(str(home.settings.quality / "index.html")),
        }
    )
