"""The Great Expectations suites catch what they are for."""

import numpy as np
import pytest

from crucible.features.dataset import build_dataset
from resources.expectations import BARS, FEATURES, bars_frame, features_frame, validate

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def failed(frame, suite):
    return {outcome.name for outcome in validate(frame, suite) if not outcome.passed}


@pytest.fixture
def bars(make_bars):
    return bars_frame(make_bars(300))


@pytest.fixture
def features(make_bars, recipe):
    return features_frame(build_dataset(make_bars(1500), recipe))


def test_good_bars_and_features_pass(bars, features):
    assert failed(bars, BARS) == set()
    assert failed(features, FEATURES) == set()


@pytest.mark.parametrize(
    ("column", "row", "value", "expected"),
    [
        ("close", 5, -1.0, {"close_positive"}),
        ("open", 5, np.nan, {"open_known"}),
        ("high", 5, 1.0, {"high_above_low"}),
        ("volume", 5, -3.0, {"volume_not_negative"}),
        ("step_seconds", 5, 0.0, {"ascending"}),
    ],
)
def test_each_fault_in_bars_is_caught_by_name(bars, column, row, value, expected):
    bars.loc[row, column] = value
    assert failed(bars, BARS) == expected


def test_faults_in_features_are_caught_by_name(features):
    features.loc[3, "target"] = 3.0
    features.loc[4, "t"] = features.loc[5, "t"]
    features["complete"] = 0.5
    features.loc[6, "rsi"] = 7.0
    assert failed(features, FEATURES) == {"target_plausible", "one_row_per_time", "mostly_complete", "rsi_in_range"}
    features["target"] = 0.001
    assert "target_varies" in failed(features, FEATURES)
    assert "has_rows" in failed(features.head(20), FEATURES)
