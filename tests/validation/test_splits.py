from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crucible.errors import EvaluationError
from crucible.validation.splits import WalkForward

HOUR = timedelta(hours=1)


def hours(count):
    return np.datetime64("2026-01-01T00:00", "us") + np.arange(count) * np.timedelta64(HOUR)


def splitter(**changes):
    plan = WalkForward(2, 3 * HOUR, 4 * HOUR, "expanding", HOUR, 2 * HOUR)
    return replace(plan, **changes)


def test_expanding_folds_are_exactly_these_rows():
    folds = list(splitter().split(hours(13)))
    assert [fold.test.tolist() for fold in folds] == [[7, 8, 9], [10, 11, 12]]
    # the first block begins after row 6; a label of 2 h and an embargo of 1 h leave rows up to 3
    assert [fold.train.tolist() for fold in folds] == [[0, 1, 2, 3], [0, 1, 2, 3, 4, 5, 6]]


def test_rolling_folds_keep_the_length_of_the_first_training_set():
    folds = list(splitter(window="rolling").split(hours(13)))
    assert [fold.train.tolist() for fold in folds] == [[0, 1, 2, 3], [3, 4, 5, 6]]


def test_missing_rows_shift_nothing_since_blocks_are_cut_by_time():
    times = np.delete(hours(13), [8, 5])
    first, second = splitter().split(times)
    assert times[first.test].tolist() == hours(13)[[7, 9]].tolist()
    assert times[second.train].tolist() == hours(13)[[0, 1, 2, 3, 4, 6]].tolist()


@given(
    rows=st.integers(40, 200), folds=st.integers(2, 5), test=st.integers(2, 6), horizon=st.integers(1, 5),
    embargo=st.integers(1, 4), window=st.sampled_from(["expanding", "rolling"]), seed=st.integers(0, 99),
)  # fmt: skip
@settings(deadline=None)
def test_no_training_label_reaches_its_test_block(rows, folds, test, horizon, embargo, window, seed):
    times = hours(rows)[np.sort(np.random.default_rng(seed).permutation(rows)[: rows * 9 // 10])]
    plan = splitter(
        folds=folds, test=test * HOUR, horizon=horizon * HOUR, embargo=embargo * HOUR, min_train=8 * HOUR, window=window
    )
    try:
        parts = list(plan.split(times))
    except EvaluationError:
        return
    seen = np.concatenate([part.test for part in parts])
    assert len(np.unique(seen)) == len(seen)
    assert seen[-1] == len(times) - 1
    for part in parts:
        label_end = times[part.train] + np.timedelta64((horizon + embargo) * HOUR)
        assert label_end.max() < times[part.test].min()


def test_too_little_history_is_one_sentence():
    with pytest.raises(EvaluationError, match="2 test blocks of 3h after 4h of training need more rows"):
        list(splitter().split(hours(9)))
    with pytest.raises(EvaluationError, match="none"):
        list(splitter().split(hours(0)))
