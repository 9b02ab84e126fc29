"""Great Expectations suites as plain data, and the one function that runs them.

The suites are lists, so that definitions load without importing Great Expectations (three seconds); it is imported
when a check runs.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Expectation:
    """One expectation: our name for it, Great Expectations' type, and its arguments."""

    name: str
    type: str
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What came of one expectation; ``observed`` holds plain Python values only."""

    name: str
    passed: bool
    observed: dict[str, Any]


_PRICES = ("open", "high", "low", "close")

BARS = (
    Expectation("columns", "expect_table_columns_to_match_ordered_list",
                {"column_list": ["open_time", *_PRICES, "volume", "step_seconds"]}),
    Expectation("has_rows", "expect_table_row_count_to_be_between", {"min_value": 1}),
    Expectation("one_row_per_time", "expect_column_values_to_be_unique", {"column": "open_time"}),
    Expectation("ascending", "expect_column_values_to_be_between",
                {"column": "step_seconds", "min_value": 0, "strict_min": True}),
    *(Expectation(f"{name}_positive", "expect_column_values_to_be_between",
                  {"column": name, "min_value": 0, "strict_min": True}) for name in _PRICES),
    *(Expectation(f"{name}_known", "expect_column_values_to_not_be_null", {"column": name}) for name in _PRICES),
    Expectation("high_above_low", "expect_column_pair_values_a_to_be_greater_than_b",
                {"column_A": "high", "column_B": "low", "or_equal": True}),
    Expectation("volume_not_negative", "expect_column_values_to_be_between", {"column": "volume", "min_value": 0}),
)  # fmt: skip
"""On raw bars; ``step_seconds`` is the distance to the bar before."""

FEATURES = (
    Expectation("has_rows", "expect_table_row_count_to_be_between", {"min_value": 100}),
    Expectation("one_row_per_time", "expect_column_values_to_be_unique", {"column": "t"}),
    Expectation("target_known", "expect_column_values_to_not_be_null", {"column": "target"}),
    # a log return beyond 0.7 is a doubling: a wrong price, not a market
    Expectation("target_plausible", "expect_column_values_to_be_between",
                {"column": "target", "min_value": -0.7, "max_value": 0.7}),
    Expectation("target_varies", "expect_column_stdev_to_be_between",
                {"column": "target", "min_value": 1e-9}),
    Expectation("mostly_complete", "expect_column_mean_to_be_between", {"column": "complete", "min_value": 0.9}),
    Expectation("rsi_in_range", "expect_column_values_to_be_between",
                {"column": "rsi", "min_value": 0, "max_value": 1}),
)  # fmt: skip
"""On the dataset; ``complete`` is the share of features that a row has."""


def bars_frame(table: Any) -> pd.DataFrame:
    """Return bars as the frame that :data:`BARS` speaks of."""
    frame = table.to_pandas()
    frame["step_seconds"] = frame["open_time"].diff() / timedelta(seconds=1)
    return frame


def features_frame(dataset: Any) -> pd.DataFrame:
    """Return a dataset as the frame that :data:`FEATURES` speaks of."""
    import numpy as np
    import pandas as pd

    columns = {name: dataset.x[:, index] for index, name in enumerate(dataset.names)}
    complete = np.isfinite(dataset.x).mean(axis=1)
    return pd.DataFrame({"t": dataset.times, "target": dataset.y, "complete": complete, **columns})


def validate(frame: pd.DataFrame, suite: tuple[Expectation, ...]) -> list[Outcome]:
    """Run ``suite`` on ``frame`` and return one outcome per expectation, in order."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False, metric_calculations=False)
    batch = (
        context.data_sources.add_pandas("frame")
        .add_dataframe_asset("frame")
        .add_batch_definition_whole_dataframe("all")
    )
    expectations = gx.ExpectationSuite(name="suite")
    for item in suite:
        name = "".join(part.title() for part in item.type.split("_"))
        expectations.add_expectation(getattr(gx.expectations, name)(**item.arguments, meta={"name": item.name}))
    context.suites.add(expectations)
    result = batch.get_batch(batch_parameters={"dataframe": frame}).validate(expectations)
    by_name = {entry.expectation_config.meta["name"]: entry for entry in result.results}
    return [Outcome(item.name, bool(by_name[item.name].success), _observed(by_name[item.name])) for item in suite]


def _observed(entry: Any) -> dict[str, Any]:
    values = {name: entry.result.get(name) for name in ("observed_value", "element_count", "unexpected_count")}
    failure = (entry.exception_info or {}).get("exception_message")
    return {name: str(value) for name, value in {**values, "error": failure}.items() if value is not None}
