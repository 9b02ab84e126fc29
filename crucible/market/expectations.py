"""Great Expectations suites as plain data, and the one function that runs them.

The suites are lists, so that definitions load without importing Great Expectations (three seconds); it is imported
when a suite runs.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
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


def validate(frame: pd.DataFrame, suite: Sequence[Expectation]) -> list[Outcome]:
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
