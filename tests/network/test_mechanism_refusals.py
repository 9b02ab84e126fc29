"""Bad input: a clear error, or what the chain does with it."""

from dataclasses import replace

import numpy as np
import pytest
from topic_world import epoch, run

from crucible.errors import MechanismError
from crucible.network.admission import admit, kept_elements, top_by_score
from crucible.network.emission import topic_rewards, topic_target_weight
from crucible.network.epoch import step
from crucible.network.inputs import EpochInputs
from crucible.network.losses import squared_log_losses
from crucible.network.parameters import Parameters
from crucible.network.payout import NO_SCORES
from crucible.network.rewards import entropy
from crucible.network.state import TopicState
from crucible.network.weights import normalize_weights, weighted_inference


@pytest.fixture
def inputs():
    return epoch(np.random.default_rng(0))


def _first(values, number):
    values = values.copy()
    values.flat[0] = number
    return values


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda e: {"inferers": ("i0000", "i0000", *e.inferers[2:])}, "inferer i0000 appears twice"),
        (lambda e: {"reputers": e.reputers[::-1]}, "order of addresses"),
        (lambda e: {"inferers": (), "inferences": np.zeros(0), "forecasts": np.zeros((2, 0))}, "empty"),
        (lambda e: {"reputers": (), "stakes": np.zeros(0)}, "empty"),
        (lambda e: {"inferences": _first(e.inferences, np.nan)}, "an inference is NaN"),
        (lambda e: {"inferences": e.inferences[1:]}, "shape"),
        (lambda e: {"forecasts": _first(e.forecasts, np.inf)}, "forecast is infinite"),
        (lambda e: {"stakes": _first(e.stakes, 0.0)}, "stake is 0"),
        (lambda e: {"stakes": _first(e.stakes, -5.0)}, "negative"),
        (lambda e: {"topic_reward": -1.0}, "reward is negative"),
        (lambda e: {"losses": np.zeros((3, 5))}, "losses have the shape"),
        (lambda e: {"losses": np.full((3, 18), np.nan)}, "no reputer reports"),
        (lambda e: {"losses": np.full((3, 18), np.inf)}, "infinite"),
    ],
)
def test_what_the_chain_could_not_compute_is_refused(inputs, change, words):
    with pytest.raises(MechanismError, match=words):
        step(TopicState.new(Parameters()), replace(inputs, **change(inputs)), Parameters())


def test_forecasts_of_unknown_workers_are_dropped():
    report = squared_log_losses(np.zeros(1))
    forecasts = {"f": {"a": -1.0, "stranger": -3.0}, "g": {"stranger": -2.0}}
    given = EpochInputs.of({"b": 2.0, "a": 1.0}, forecasts, {"r": 2e4}, report, 10.0)
    assert given.forecasts.tolist()[0][0] == -1.0
    assert np.isnan(given.forecasts).sum() == 3
    _, result = run([given, given])
    implied = result.synthesis.values[result.synthesis.layout.implied]
    assert implied[0] == 1.0  # a single element gives that inference back
    assert np.isnan(implied[1])  # nobody known was forecast: it leaves the epoch
    assert np.isnan(result.payout.forecaster_rewards[1])


def test_the_first_epoch_pays_nobody_and_still_hears_the_reputers(inputs):
    state, result = run([inputs])
    assert result.synthesis.mode == "median"
    assert result.combined == np.median(inputs.inferences)
    assert result.payout.reward_error == NO_SCORES
    assert np.isnan(result.payout.inferer_rewards).all()
    assert not np.isnan(state.reputers.fractions).any()
    assert np.isnan(state.inferers.fractions).all()


def test_a_single_inferer_is_the_network_and_has_no_score():
    given = epoch(np.random.default_rng(1), n=1, k=2)
    _, result = run([given])
    assert result.synthesis.mode == "single"
    assert result.combined == given.inferences[0]
    assert result.payout.inferer_scores.tolist() == [0.0]
    assert np.nansum(result.payout.inferer_rewards) + result.payout.reputer_rewards.sum() == pytest.approx(1000.0)


def test_a_loss_that_nobody_reports_leaves_its_regrets_alone():
    generator = np.random.default_rng(2)
    state, _ = run([epoch(generator) for _ in range(2)])
    given = epoch(generator)

    def silent_about_the_first(synthesis):
        losses = given.losses(synthesis)
        losses[:, synthesis.layout.inferers.start] = np.nan
        return losses

    after, _ = step(state, replace(given, losses=silent_about_the_first), Parameters())
    assert (after.regrets[:2, 0] == state.regrets[:2, 0]).all()
    assert (after.regrets[:2, 1] != state.regrets[:2, 1]).all()


@pytest.mark.parametrize(
    "wrong",
    [
        {"version": "0.7"},
        {"p_norm": 0.0},
        {"alpha_regret": 0.0},
        {"epsilon": float("nan")},
        {"active_inferer_quantile": 1.5},
    ],
)
def test_impossible_parameters_are_refused(wrong):
    with pytest.raises(MechanismError, match=next(iter(wrong))):
        Parameters(**wrong)


def test_weights_and_fractions_that_make_no_sense_are_refused():
    with pytest.raises(MechanismError, match="negative"):
        normalize_weights(np.array([1.0, -1.0]))
    with pytest.raises(MechanismError, match="negative"):
        weighted_inference(np.ones(2), np.array([1.0, -1.0]), 1e-7)
    with pytest.raises(MechanismError, match="logarithm"):
        entropy(np.array([0.0, 1.0]), 1.0, 0.25)
    with pytest.raises(MechanismError, match="sum of all topics"):
        topic_rewards({"1": 0.0}, ["1"], 0.0, 1.0, {"1": 1}, 1.0)
    with pytest.raises(MechanismError, match="epoch length"):
        topic_target_weight(1.0, 1.0, 0.0, Parameters())


def test_admission_is_by_strictly_greater_average():
    emas = {"a": 0.3, "b": 0.1, "c": 0.1, "d": 0.2}
    outcome = admit(["a", "b", "c", "d", "new"], emas, 2, quantile=0.5, alpha=0.1)
    assert outcome.active == ("a", "d")
    assert outcome.score_emas["c"] == pytest.approx(0.1 + 0.1 * 0.4)  # equal is not enough
    assert outcome.score_emas["b"] == pytest.approx(0.1 + 0.1 * 0.4)  # evicted by d
    assert outcome.score_emas["new"] == 0.5
    assert outcome.score_emas["a"] == 0.3
    with pytest.raises(MechanismError, match="b submits twice"):
        admit(["b", "b"], emas, 2, 0.5, 0.1)
    with pytest.raises(MechanismError, match="capacity"):
        admit(["b"], emas, 0, 0.5, 0.1)


def test_the_best_twelve_elements_are_kept():
    losses = {f"i{place:02d}": -float(place) for place in range(20)}
    emas = {name: -loss for name, loss in losses.items()}
    assert sorted(kept_elements(losses, emas, 12)) == [f"i{place:02d}" for place in range(8, 20)]
    assert top_by_score(np.array([1.0, 3.0, 2.0]), 2).tolist() == [1, 2]
