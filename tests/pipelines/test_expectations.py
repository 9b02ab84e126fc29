"""The Great Expectations suites catch what they are for."""

import pytest

from crucible.features.dataset import build_dataset
from crucible.features.library import CORE
from crucible.market.expectations import validate
from resources.expectations import features_frame, suite_of

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def failed(frame, suite):
    return {outcome.name for outcome in validate(frame, suite) if not outcome.passed}


@pytest.fixture
def features(make_bars, recipe):
    return features_frame(build_dataset(make_bars(1500), recipe))


def test_good_features_pass(features):
    assert failed(features, suite_of(CORE)) == set()


def test_faults_in_features_are_caught_by_name(features):
    features.loc[3, "target"] = 3.0
    features.loc[4, "t"] = features.loc[5, "t"]
    features["complete"] = 0.5
    features.loc[6, "rsi"] = 7.0
    assert failed(features, suite_of(CORE)) == {
        "target_plausible",
        "one_row_per_time",
        "mostly_complete",
        "features_in_range:rsi",
    }
    features["skew"] = 0.5
    features.loc[: len(features) * 0.7, "shock"] = None
    assert {"features_vary:skew", "features_known:shock"} < failed(features, suite_of(CORE))
    features["target"] = 0.001
    assert "target_varies" in failed(features, suite_of(CORE))
    assert "has_rows" in failed(features.head(20), suite_of(CORE))
