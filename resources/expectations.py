"""The Great Expectations suite of the dataset that models are fitted on, generated from the features' declarations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crucible.features.feature import FeatureSet
from crucible.market.expectations import Expectation

if TYPE_CHECKING:
    import pandas as pd

DATASET = (
    Expectation("has_rows", "expect_table_row_count_to_be_between", {"min_value": 100}),
    Expectation("one_row_per_time", "expect_column_values_to_be_unique", {"column": "t"}),
    Expectation("target_known", "expect_column_values_to_not_be_null", {"column": "target"}),
    # a log return beyond 0.7 is a doubling: a wrong price, not a market
    Expectation("target_plausible", "expect_column_values_to_be_between",
                {"column": "target", "min_value": -0.7, "max_value": 0.7}),
    Expectation("target_varies", "expect_column_stdev_to_be_between",
                {"column": "target", "min_value": 1e-9}),
    Expectation("mostly_complete", "expect_column_mean_to_be_between", {"column": "complete", "min_value": 0.9}),
)  # fmt: skip
"""On the dataset as a whole; ``complete`` is the share of features that a row has."""

GROUPS = {
    "features_in_range": "every feature lies where its declaration says",
    "features_known": "no feature is missing in more than half of the rows",
    "features_vary": "no feature is constant",
}
"""What is generated for every feature, by group; an expectation's name is ``<group>:<feature>``."""

_ROUNDING = 1e-9


def suite_of(features: FeatureSet) -> tuple[Expectation, ...]:
    """Return the suite of a feature set: that of the dataset, and what the declarations promise."""
    generated = []
    for item in features.features:
        if item.low is not None or item.high is not None:
            limits = {"min_value": None if item.low is None else item.low - _ROUNDING,
                      "max_value": None if item.high is None else item.high + _ROUNDING}  # fmt: skip
            generated.append(
                Expectation(f"features_in_range:{item.name}", "expect_column_values_to_be_between",
                            {"column": item.name, **limits})
            )  # fmt: skip
        generated += [
            Expectation(f"features_known:{item.name}", "expect_column_values_to_not_be_null",
                        {"column": item.name, "mostly": 0.5}),
            Expectation(f"features_vary:{item.name}", "expect_column_stdev_to_be_between",
                        {"column": item.name, "min_value": 1e-15}),
        ]  # fmt: skip
    return (*DATASET, *generated)


def features_frame(dataset: Any) -> pd.DataFrame:
    """Return a dataset as the frame that :func:`suite_of` speaks of."""
    import numpy as np
    import pandas as pd

    columns = {name: dataset.x[:, index] for index, name in enumerate(dataset.names)}
    complete = np.isfinite(dataset.x).mean(axis=1)
    return pd.DataFrame({"t": dataset.times, "target": dataset.y, "complete": complete, **columns})
