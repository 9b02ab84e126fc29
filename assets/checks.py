"""Great Expectations suites as blocking asset checks: nothing downstream runs on bars or features that fail one."""

from collections.abc import Iterator

import dagster as dg

from assets.features import features
from assets.market import bars
from assets.metadata import table
from crucible import bar_stages, stage_records
from crucible.features.audit.lookahead import find_leaks
from crucible.features.audit.parity import compare_paths
from crucible.features.engine import recipe_features, recipe_plan
from crucible.market.expectations import Expectation, validate
from crucible.market.quality import SUITE, reports_between
from crucible.market.recipe_bars import history_of, series_of
from resources.expectations import DATASET, GROUPS, features_frame, suite_of
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
_GROUPS = [
    dg.AssetCheckSpec(name, asset=features.key, blocking=True, description=text) for name, text in GROUPS.items()
]
_AUDITS = [
    dg.AssetCheckSpec("no_look_ahead", asset=features.key, blocking=True,
                      description="Futures were perturbed, cut off and thinned out: no past value moved."),
    dg.AssetCheckSpec("live_equals_history", asset=features.key, blocking=True,
                      description="The worker's path gives what history gives, gaps included."),
]  # fmt: skip


@dg.multi_asset_check(specs=[*_specs(bars, SUITE), _NOTHING_ASIDE], name="bars_expectations")
def bars_expectations(context: dg.AssetCheckExecutionContext, home: Home) -> Iterator[dg.AssetCheckResult]:
    """Bars of the recipe's history, month by month; only a month that has changed is judged anew."""
    recipe = home.recipe(context.partition_key)
    store, reports, aside = bar_stages.bar_store(home.settings), [], []
    for member in recipe.data.members:
        between = history_of(store, member)
        found = reports_between(store, series_of(member), *between, home.settings.quality)
        reports += found[0]
        aside += found[1]
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


@dg.multi_asset_check(specs=[*_specs(features, DATASET), *_GROUPS], name="features_expectations")
def features_expectations(context: dg.AssetCheckExecutionContext, home: Home) -> Iterator[dg.AssetCheckResult]:
    """The dataset, and what each feature's declaration promises: its range, few missing values, some variation."""
    recipe = home.recipe(context.partition_key)
    frame = features_frame(stage_records.read_features(home.settings, recipe))
    outcomes = {outcome.name: outcome for outcome in validate(frame, suite_of(recipe_features(recipe)))}
    for item in DATASET:
        found = outcomes[item.name]
        yield dg.AssetCheckResult(
            asset_key=features.key, check_name=item.name, passed=found.passed, metadata=found.observed
        )
    for group in GROUPS:
        failing = [
            name.partition(":")[2]
            for name, found in outcomes.items()
            if name.startswith(f"{group}:") and not found.passed
        ]
        yield dg.AssetCheckResult(
            asset_key=features.key, check_name=group, passed=not failing,
            metadata={"failing": ", ".join(failing) or "none"},
        )  # fmt: skip


@dg.multi_asset_check(specs=_AUDITS, name="features_audits")
def features_audits(context: dg.AssetCheckExecutionContext, home: Home) -> Iterator[dg.AssetCheckResult]:
    """Look-ahead and parity on the newest bars; `crucible audit` does the same at length."""
    recipe = home.recipe(context.partition_key)
    table, plan = bar_stages.audit_bars(home.settings, recipe), recipe_plan(recipe)
    leaks = find_leaks(table, plan, recipe.data.interval, cuts=2)
    yield dg.AssetCheckResult(
        asset_key=features.key, check_name="no_look_ahead", passed=not leaks,
        metadata={"leaks": ", ".join(f"{leak.feature} ({leak.when})" for leak in leaks) or "none"},
    )  # fmt: skip
    parity = compare_paths(table, plan, recipe.data.interval, times=40)
    apart = [item.feature for item in parity if not item.equal]
    yield dg.AssetCheckResult(
        asset_key=features.key, check_name="live_equals_history", passed=not apart,
        metadata={"apart": ", ".join(apart) or "none", "largest": max(item.largest for item in parity)},
    )  # fmt: skip
