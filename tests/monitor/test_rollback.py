import numpy as np
import pytest

from crucible.monitor.rollback import FIRST_LOOK, LEVEL, decide


def losses(worse, n, seed):
    generator = np.random.default_rng(seed)
    previous = generator.gamma(1.0, 1.0, n)
    return previous + generator.normal(worse, 1, n), previous


def test_before_the_first_look_nothing_is_decided():
    found = decide(*losses(5.0, FIRST_LOOK - 1, 1))
    assert (found.back, found.looks) == (False, 0)
    assert "95 of 96 epochs for a first look" in found.sentence


def test_a_much_worse_champion_goes_at_the_first_look_and_a_little_worse_one_later():
    assert decide(*losses(1.0, FIRST_LOOK, 2)).looks == 1
    found = decide(*losses(0.15, FIRST_LOOK * 64, 3))
    assert found.back
    assert 1 < found.looks < 7


def test_a_better_or_equal_one_stays():
    assert not decide(*losses(-0.3, 2000, 4)).back
    same = np.ones(500)
    assert not decide(same, same).back


def test_an_infinite_loss_decides_at_once_and_one_of_the_other_hides_nothing():
    loss, previous = losses(1.0, FIRST_LOOK + 1, 8)
    loss[3] = np.inf
    found = decide(loss[:5], previous[:5])
    assert (found.back, found.epochs, found.looks) == (True, 4, 0)
    assert "infinite" in found.sentence

    loss, previous = losses(1.0, FIRST_LOOK + 1, 8)
    previous[3] = np.inf
    assert decide(loss, previous).back
    loss[3] = np.inf  # whoever is at fault, it is not the champion alone
    assert decide(loss, previous).looks == 1


def test_between_looks_the_answer_does_not_change():
    loss, previous = losses(0.2, FIRST_LOOK * 4, 5)
    answers = {n: decide(loss[:n], previous[:n]) for n in range(FIRST_LOOK, FIRST_LOOK * 4, 7)}
    for low in (FIRST_LOOK, 2 * FIRST_LOOK):
        assert len({(a.back, a.epochs, a.p_value) for n, a in answers.items() if low <= n < 2 * low}) == 1


def test_what_was_decided_once_stays_decided():
    loss, previous = losses(1.0, FIRST_LOOK, 6)
    good, other = losses(-1.0, 5000, 7)
    assert decide(np.concatenate([loss, good]), np.concatenate([previous, other])).back


@pytest.mark.parametrize("overlap", [1, 8])
def test_all_looks_together_rarely_take_back_a_champion_that_is_no_worse(overlap):
    taken = 0
    for seed in range(300):
        generator = np.random.default_rng([seed, overlap])
        raw = generator.standard_t(5, FIRST_LOOK * 16 * overlap // (4 if overlap > 1 else 1) + overlap)
        difference = np.convolve(raw, np.ones(overlap), mode="valid")
        taken += decide(difference + 10, np.full(len(difference), 10.0), overlap=overlap).back
    assert taken <= 9, f"{taken} of 300 at a level of {LEVEL}"
