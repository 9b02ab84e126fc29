"""Great Expectations suites as blocking asset checks: nothing downstream runs on bars or features that fail one."""

from collections.abc import Iterator

import dagster as dg

from assets.features import features
from assets.market import bars
from assets.metadata import table
from crucible import stages
from crucible.market.expectations import Expectation, Outcome, validate
from crucible.market.quality import SUITE, reports_between
from crucible.market.recipe_bars import history_of, series_of
from resources.expectations import FEATURES, features_frame
from resources.home import Home


def _specs(asset: dg.AssetsDefinition, suite: tuple[Expectation, ...]) -> list[dg.AssetCheckSpec]:
    return [
        dg.AssetCheckSpec(item.name, asset=asset.key, blocking=True, description=f"{item.type} {item.arguments}")
        for item in suite
    ]


_NOTHING_ASIDE = dg.AssetCheckSpec(
    "nothing_in_quarantine", asset=bars.key, blocking=True,
    description="No month of the history was put aside: `crucible bars repair` fetches it anew, `accept` puts it back.",
)  # fmt: skip
_NONE = {"month": "none", "why": ""}


def _results(asset: dg.AssetsDefinition, outcomes: list[Outcome]) -> Iterator[dg.AssetCheckResult]:
    for outcome in outcomes:
        yield dg.AssetCheckResult(
            asset_key=asset.key, check_name=outcome.name, passed=outcome.passed, metadata=outcome.observed
        )


@dg.multi_asset_check(specs=[*_specs(bars, SUITE), _NOTHING_ASIDE], name="bars_expectations")
def bars_expectations(context: dg.AssetCheckExecutionContext, home: Home) -> Iterator[dg.AssetCheckResult]:
    """Bars of the recipe's history, month by month; only a month that has changed is judged anew."""
    recipe = home.recipe(context.partition_key)
    store, series = stages.bar_store(home.settings), series_of(recipe.data)
    reports, aside = reports_between(store, series, *history_of(store, recipe.data), home.settings.quality)
    for item in SUITE:
        failing = [report.month for report in reports if item.name in report.failed]
        failing += [entry.month for entry in aside if item.name in entry.why]
        yield dg.AssetCheckResult(
            asset_key=bars.key, check_name=item.name, passed=not failing,
            metadata={"months": len(reports), "failing": ", ".join(failing) or "none"},
        )  # fmt: skip
    yield dg.AssetCheckResult(
        asset_key=bars.key, check_name=_NOTHING_ASIDE.name, passed=not aside,
        metadata={
            "quarantine": table([{"month": entry.month, "why": entry.why} for entry in aside] or [_NONE]),
            "page": dg.MetadataValue.path(str(home.settings.quality / "index.html")),
        },
    )  # fmt: skip


@dg.multi_asset_check(specs=_specs(features, FEATURES), name="features_expectations")
def features_expectations(context: dg.AssetCheckExecutionContext, home: Home) -> Iterator[dg.AssetCheckResult]:
    """The dataset: enough rows, known and plausible targets, mostly complete features."""
    recipe = home.recipe(context.partition_key)
    dataset = stages.read_features(home.settings, recipe)
    yield from _results(features, validate(features_frame(dataset), FEATURES))
