"""chain → monitor: every submission with its truth and score, shadow models, and what has drifted."""

from datetime import timedelta

import dagster as dg

from assets.deployment import submissions
from assets.market import bars
from assets.metadata import table
from crucible.errors import CrucibleError
from pipelines.partitions import RECIPES
from resources.home import Home

# one policy for all partitions, so for the slowest: a daily topic is looked at once a day
_FRESH = dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=48), warn_window=timedelta(hours=30))
_NONE = {
    "column": "none",
    "statistic": "",
    "value": 0.0,
    "usual": 0.0,
    "p_value": 1.0,
    "adjusted": 1.0,
    "drifted": False,
}


@dg.asset(
    partitions_def=RECIPES, deps=[bars, submissions], group_name="monitor", kinds={"sqlite"}, owners=["team:lab"],
    freshness_policy=_FRESH, pool="monitor",
    retry_policy=dg.RetryPolicy(max_retries=2, delay=5, backoff=dg.Backoff.EXPONENTIAL),
)  # fmt: skip
def live(context: dg.AssetExecutionContext, home: Home) -> dg.MaterializeResult:
    """Submissions joined with truth, the network's answer and scores; shadow models predict the same windows."""
    from crucible.monitor import cycle
    from crucible.monitor.live import live_rows, summary

    recipe = home.recipe(context.partition_key)
    done = cycle.live_round(home.settings, recipe)
    for sentence in done.trouble:
        context.log.warning(sentence)
    found = summary(recipe, live_rows(home.settings, recipe, source="worker"))
    return dg.MaterializeResult(
        metadata={
            "new forecasts": done.collected.forecasts,
            "new facts": done.collected.facts,
            "shadows": dg.MetadataValue.json({str(version): count for version, count in done.shadows.items()}),
            "trouble": "; ".join(done.trouble) or "none",
            "state": dg.MetadataValue.json(found),
            "against the network": found["against"]["network"]["sentence"],
        }
    )


@dg.asset(
    partitions_def=RECIPES, deps=[live], group_name="monitor", kinds={"numpy"}, owners=["team:lab"], pool="monitor",
    automation_condition=dg.AutomationCondition.eager(),
)  # fmt: skip
def drift(context: dg.AssetExecutionContext, home: Home) -> dg.MaterializeResult:
    """Whether features, predictions, residuals or the loss have moved since training; runs after every `live`."""
    from crucible.monitor.drift_watch import check_drift
    from crucible.monitor.evidence import note_drift

    recipe = home.recipe(context.partition_key)
    try:
        report = check_drift(home.settings, recipe)
    except CrucibleError as error:  # nothing deployed yet is no failure of this run
        return dg.MaterializeResult(metadata={"drift": "none", "not looked at": str(error)})
    note_drift(home.settings, recipe, report)
    plain = report.to_json()
    return dg.MaterializeResult(
        metadata={
            "drift": ", ".join(sorted({item.column for item in report.moved})) or "none",
            "loss": dg.MetadataValue.json(plain["loss"]),
            "findings": table(plain["findings"][:20] or [_NONE]),
            "not looked at": "; ".join(report.skipped) or "none",
        }
    )
