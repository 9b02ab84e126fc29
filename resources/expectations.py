"""The Great Expectations suite of the dataset that models are fitted on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crucible.market.expectations import Expectation

if TYPE_CHECKING:
    import pandas as pd

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


def features_frame(dataset: Any) -> pd.DataFrame:
    """Return a dataset as the frame that :data:`FEATURES` speaks of."""
    import numpy as np
    import pandas as pd

    columns = {name: dataset.x[:, index] for index, name in enumerate(dataset.names)}
    complete = np.isfinite(dataset.x).mean(axis=1)
    return pd.DataFrame({"t": dataset.times, "target": dataset.y, "complete": complete, **columns})
