"""The normalised window, value for value against its definition."""

from datetime import timedelta

import numpy as np
import pytest

from crucible.errors import DataError
from crucible.features.window_view import WindowView, as_sequence
from crucible.market.bars import check_bars

FIVE = timedelta(minutes=5)
FIELDS = ("open", "high", "low", "close", "volume")


def by_hand(rows, end, n):
    window = rows[end - n + 1 : end + 1]
    close, volume = window[-1]["close"], window[-1]["volume"]
    return [row[name] / (volume if name == "volume" else close) for row in window for name in FIELDS]


def test_every_window_is_the_definition_s(make_bars):
    bars = check_bars(make_bars(300, missing=(100, 101)), FIVE, "bars")
    view = WindowView(bars, FIVE, 24)
    rows = bars.to_pylist()
    ends = {row["open_time"] + FIVE: index for index, row in enumerate(rows)}
    assert view.shape == (298 - 23 - 23, 120)
    assert view.names[:6] == ("open_0", "high_0", "low_0", "close_0", "volume_0", "open_1")
    for index in (0, 1, 75, 76, 77, 150, len(view) - 1):
        end = ends[view.times[index].item().replace(tzinfo=rows[0]["open_time"].tzinfo)]
        assert view[index].tolist() == by_hand(rows, end, 24)
    assert view[5:9].shape == (4, 120)
    assert np.array_equal(view[np.array([3, 7])], np.vstack([view[3], view[7]]))
    assert np.array_equal(view.dense(np.float64), view[:])
    assert view.dense().dtype == np.float32
    assert np.array_equal(view.dense(), view[:].astype(np.float32))


def test_a_window_without_volume_or_with_a_hole_is_not_there(make_bars):
    table = make_bars(60).to_pydict()
    table["volume"][40] = 0.0
    import pyarrow as pa

    view = WindowView(check_bars(pa.table(table), FIVE, "bars"), FIVE, 10)
    assert len(view) == 60 - 9 - 1
    assert np.isfinite(view[:]).all()
    with pytest.raises(DataError, match="A window has 61 bars, and there are 60"):
        WindowView(check_bars(pa.table(table), FIVE, "bars"), FIVE, 61)


def test_lightgbm_bins_the_view_as_it_bins_the_matrix(make_bars):
    import lightgbm

    view = WindowView(check_bars(make_bars(900), FIVE, "bars"), FIVE, 12)
    y = np.random.default_rng(0).normal(size=len(view))
    parameters = {"verbosity": -1, "num_threads": 1, "deterministic": True, "max_bin": 63, "seed": 1}
    texts = []
    for data in (as_sequence(view, 100), view[:]):
        dataset = lightgbm.Dataset(data, y, params=parameters)
        texts.append(lightgbm.train(parameters, dataset, 5).model_to_string())
    assert texts[0] == texts[1]
