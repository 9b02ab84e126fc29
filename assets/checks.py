"""Great Expectations suites as blocking asset checks: nothing downstream runs on bars or features that fail one."""

from collections.abc import Iterator

import dagster as dg

from assets.features import features
from assets.market import bars
from crucible import stages
from crucible.market.store import BarStore
from resources.expectations import BARS, FEATURES, Expectation, Outcome
from resources.home import Home


def _specs(asset: dg.AssetsDefinition, suite: tuple[Expectation, ...]) -> list[dg.AssetCheckSpec]:
    return [
        dg.AssetCheckSpec(item.name, asset=asset.key, blocking=True, description=f"{item.type} {item.arguments}")
        for item in suite
    ]


def _results(asset: dg.AssetsDefinition, outcomes: list[Outcome]) -> Iterator[dg.AssetCheckResult]:
    for outcome in outcomes:
        yield dg.AssetCheckResult(
            asset_key=asset.key, check_name=outcome.name, passed=outcome.passed, metadata=outcome.observed
        )


@dg.multi_asset_check(specs=_specs(bars, BARS), name="bars_expectations")
def bars_expectations(context: dg.AssetCheckExecutionContext, home: Home) -> Iterator[dg.AssetCheckResult]:
    """Raw bars: complete columns, positive prices, one row per time, high above low."""
    from resources.expectations import bars_frame, validate

    recipe = home.recipe(context.partition_key)
    store, series = BarStore(home.settings.bars), stages.series_of(recipe)
    start = stages.history_start(store, recipe)
    yield from _results(bars, validate(bars_frame(store.read(series, start)), BARS))


@dg.multi_asset_check(specs=_specs(features, FEATURES), name="features_expectations")
def features_expectations(context: dg.AssetCheckExecutionContext, home: Home) -> Iterator[dg.AssetCheckResult]:
    """The dataset: enough rows, known and plausible targets, mostly complete features."""
    from resources.expectations import features_frame, validate

    recipe = home.recipe(context.partition_key)
    dataset = stages.read_features(home.settings, recipe)
    yield from _results(features, validate(features_frame(dataset), FEATURES))
