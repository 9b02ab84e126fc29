from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crucible.errors import EvaluationError
from crucible.recipe import Recipe
from crucible.validation.splits import Fold, Stages, combinatorial, inner_folds
from crucible.validation.walk_forward import _labels_precede_tests

HOUR = timedelta(hours=1)


def hours(count):
    return np.datetime64("2026-01-01T00:00", "us") + np.arange(count) * np.timedelta64(HOUR)


def plan(recipe, *, horizon="2h", folds=2, test="3h", min_train="4h", window="expanding", embargo="1h",
         deployment="2h", inner=2):  # fmt: skip
    values = recipe.model_dump(mode="json")
    values["topic"] |= {"testnet": 9077, "mainnet": None, "horizon": horizon, "cadence": "1h"}
    values["data"] |= {"stored": "1h", "interval": "1h"}
    values["validation"] |= {"folds": folds, "test": test, "min_train": min_train, "window": window,
                             "embargo": embargo, "deployment": deployment}  # fmt: skip
    values["search"] |= {"folds": inner}
    return Recipe.model_validate(values)


def test_the_three_stages_are_exactly_these_rows(recipe):
    stages = Stages.of(plan(recipe), hours(15))
    # the deployment set is (12, 14], the windows (6, 9] and (9, 12]; a label of 2 h and an embargo of 1 h come off
    assert stages.deployment.test.tolist() == [13, 14]
    assert stages.deployment.train.tolist() == list(range(10))
    assert [fold.test.tolist() for fold in stages.outer] == [[7, 8, 9], [10, 11, 12]]
    assert [fold.train.tolist() for fold in stages.outer] == [[0, 1, 2, 3], [0, 1, 2, 3, 4, 5, 6]]
    assert stages.inner.tolist() == [0, 1, 2, 3]


def test_a_rolling_window_keeps_the_length_of_the_first_training_set(recipe):
    stages = Stages.of(plan(recipe, window="rolling"), hours(15))
    assert [fold.train.tolist() for fold in stages.outer] == [[0, 1, 2, 3], [3, 4, 5, 6]]


def test_missing_rows_shift_nothing_since_blocks_are_cut_by_time(recipe):
    times = np.delete(hours(15), [8, 5])
    first, second = Stages.of(plan(recipe), times).outer
    assert times[first.test].tolist() == hours(15)[[7, 9]].tolist()
    assert times[second.train].tolist() == hours(15)[[0, 1, 2, 3, 4, 6]].tolist()


def test_later_rows_leave_the_stages_of_a_version_where_they_are(recipe):
    times = hours(30)
    before, later = Stages.of(plan(recipe), times[:15]), Stages.of(plan(recipe), times, end=times[14])
    assert later.inner.tolist() == before.inner.tolist()
    assert later.deployment.test.tolist() == [13, 14]


def test_inner_folds_are_exactly_these_rows(recipe):
    folds = inner_folds(plan(recipe, embargo="1h", horizon="1h"), hours(41), np.arange(41))
    # the tests cover the newer half, (20, 40], in two parts of 10 h; before each 2 h are left out, and 10 h validate
    assert [fold.test.tolist() for fold in folds] == [list(range(21, 31)), list(range(31, 41))]
    assert [fold.validation.tolist() for fold in folds] == [list(range(9, 19)), list(range(19, 29))]
    assert [fold.train.tolist() for fold in folds] == [list(range(7)), list(range(17))]


@pytest.mark.parametrize("folds", [2, 3, 4, 6])
def test_the_inner_tests_cover_the_same_rows_whatever_the_number_of_folds(recipe, folds):
    made = inner_folds(plan(recipe, embargo="1h", horizon="1h", inner=folds), hours(241), np.arange(241))
    assert np.concatenate([fold.test for fold in made]).tolist() == list(range(121, 241))
    assert {len(fold.validation) for fold in made} == {len(fold.test) for fold in made} == {120 // folds}


def test_combinatorial_folds_are_exactly_these_rows():
    made = list(combinatorial(hours(12), groups=4, tested=2, horizon=HOUR, embargo=HOUR))
    assert len(made) == 6
    assert made[0].test.tolist() == [0, 1, 2, 3, 4, 5]
    assert made[0].train.tolist() == [8, 9, 10, 11]  # the last label ends at 6, its embargo at 7
    assert made[1].test.tolist() == [0, 1, 2, 6, 7, 8]
    assert made[1].train.tolist() == [11]  # 5 would see 6; 9 and 10 look back on 8
    tested = np.concatenate([fold.test for fold in made])
    assert np.bincount(tested).tolist() == [3] * 12
    with pytest.raises(EvaluationError, match="4 of 4 pieces of 12 rows is no split"):
        list(combinatorial(hours(12), groups=4, tested=4, horizon=HOUR, embargo=HOUR))


def test_a_combinatorial_search_tests_every_pair_of_pieces_and_validates_far_from_them(recipe):
    asked = plan(recipe, embargo="1h", horizon="1h", inner=4)
    asked = asked.model_copy(update={"search": asked.search.model_copy(update={"split": "combinatorial"})})
    made = inner_folds(asked, hours(40), np.arange(40))
    assert len(made) == 6
    first, last = made[0], made[-1]
    assert first.test.tolist() == list(range(20))
    assert first.validation.tolist() == list(range(30, 40))
    assert first.train.tolist() == list(range(22, 29))  # 20 and 21 follow the tests, 29 sees the validation part
    assert last.test.tolist() == list(range(20, 40))
    assert last.validation.tolist() == list(range(10))
    assert last.train.tolist() == list(range(12, 19))
    for fold in made:
        assert not set(fold.train) & (set(fold.validation) | set(fold.test))
        assert not set(fold.validation) & set(fold.test)
    with pytest.raises(EvaluationError, match="10 inner rows cannot be cut into 4 pieces with 2h between them"):
        inner_folds(asked, hours(10), np.arange(10))


@given(
    rows=st.integers(60, 200), folds=st.integers(2, 5), test=st.integers(2, 6), horizon=st.integers(1, 5),
    embargo=st.integers(1, 4), window=st.sampled_from(["expanding", "rolling"]), seed=st.integers(0, 99),
)  # fmt: skip
@settings(deadline=None)
def test_no_training_label_reaches_what_is_judged(recipe, rows, folds, test, horizon, embargo, window, seed):
    times = hours(rows)[np.sort(np.random.default_rng(seed).permutation(rows)[: rows * 9 // 10])]
    asked = plan(recipe, folds=folds, test=f"{test}h", horizon=f"{horizon}h", embargo=f"{embargo}h", min_train="8h",
                 window=window)  # fmt: skip
    try:
        stages = Stages.of(asked, times)
    except EvaluationError:
        return
    parts = [*stages.outer, stages.deployment]
    seen = np.concatenate([part.test for part in parts])
    assert len(np.unique(seen)) == len(seen)
    assert seen[-1] == len(times) - 1
    reach = np.timedelta64((horizon + embargo) * HOUR)
    for part in parts:
        assert (times[part.train] + reach).max() < times[part.test].min()
    assert (times[stages.inner] + reach).max() < times[seen].min()
    try:
        inner = inner_folds(asked, times, stages.inner)
    except EvaluationError:
        return
    for fold in inner:
        assert (times[fold.train] + reach).max() < times[fold.validation].min()
        assert (times[fold.validation] + reach).max() < times[fold.test].min()


def test_the_check_on_the_rows_that_were_used_sees_a_label_that_ends_with_the_first_test_row():
    times = hours(12)

    def purged(last):
        return _labels_precede_tests(times, [Fold(0, np.arange(last + 1), np.arange(7, 9))], np.timedelta64(2 * HOUR))

    assert (purged(4), purged(5)) == (True, False)


def test_too_little_history_says_how_much_is_needed(recipe):
    with pytest.raises(EvaluationError, match=r"2 outer windows of 3h after 4h .* need 12h of rows"):
        Stages.of(plan(recipe), hours(9))
    with pytest.raises(EvaluationError, match="none"):
        Stages.of(plan(recipe), hours(0))
    with pytest.raises(EvaluationError, match=r"do not fit into; lengthen validation\.min_train to"):
        inner_folds(plan(recipe), hours(12), np.arange(12))
