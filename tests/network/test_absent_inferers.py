"""Inferers who take part in some scenarios of a batch only."""

from dataclasses import replace

import numpy as np
import pytest
from topic_world import epoch

from crucible.errors import MechanismError
from crucible.network.epoch import step
from crucible.network.losses import squared_log_losses
from crucible.network.open_field import OpenFieldState, step_open_field
from crucible.network.parameters import Parameters
from crucible.network.state import TopicState

N, SCENARIOS = 13, 3  # more than the ten whose scores set the scale of rewards


def _alone(given, absent, scenario, truths, oif):
    """The same epoch for one scenario, in which absent inferers have no place at all."""
    here = np.flatnonzero(~absent[scenario])
    return replace(
        given,
        inferers=tuple(given.inferers[place] for place in here),
        inferences=given.inferences[scenario, here],
        forecasts=given.forecasts[scenario][:, here],
        stakes=given.stakes[scenario],
        losses=squared_log_losses(truths[scenario], 1e-6, implied_one_outs=oif),
        topic_reward=1000.0,
        absent=None,
    )


@pytest.mark.parametrize(
    ("version", "k", "oif"), [("0.6", 2, False), ("0.6", 0, False), ("0.6", 2, True), ("0.9", 2, True)]
)
def test_an_absent_inferer_is_as_good_as_not_there(version, k, oif):
    generator, params = np.random.default_rng(1), Parameters.of(version, implied_one_out_losses=oif, min_experienced=1)
    together = TopicState.new(params, batch=(SCENARIOS,))
    apart = [TopicState.new(params) for _ in range(SCENARIOS)]
    for _ in range(25):
        given = epoch(generator, n=N, k=k, batch=(SCENARIOS,))
        absent = generator.random((SCENARIOS, N)) < 0.25
        absent[:, :2] = False
        truths = generator.normal(size=(SCENARIOS, 3))
        report = squared_log_losses(truths, 1e-6, implied_one_outs=oif)
        garbage = np.where(absent, np.nan, given.inferences)
        batch = replace(given, inferences=garbage, losses=report, absent=absent)
        together, found = step(together, batch, params)
        for scenario in range(SCENARIOS):
            one = _alone(given, absent, scenario, truths, oif)
            apart[scenario], expected = step(apart[scenario], one, params)
            here = ~absent[scenario]
            assert found.combined[scenario] == pytest.approx(float(expected.combined), rel=1e-9)
            ours, theirs = found.payout, expected.payout
            if not theirs.reward_error:
                for name in ("inferer_scores", "inferer_fractions"):
                    row = getattr(ours, name)[scenario]
                    assert np.isnan(row[~here]).all()
                    np.testing.assert_allclose(row[here], getattr(theirs, name), rtol=1e-6, atol=1e-9)
                np.testing.assert_allclose(ours.forecaster_scores[scenario], theirs.forecaster_scores, atol=1e-9)
                np.testing.assert_allclose(ours.entropies[scenario, :2], theirs.entropies[:2], rtol=1e-9)
    assert together.initial_regret[0] != 0
    for scenario, state in enumerate(apart):
        assert state.inferers.names == together.inferers.names
        np.testing.assert_allclose(together.regrets[scenario], state.regrets, atol=1e-9)
        np.testing.assert_allclose(together.inferers.score_ema[scenario], state.inferers.score_ema, atol=1e-9)
        np.testing.assert_allclose(together.inferers.window[scenario], state.inferers.window, atol=1e-9)


def test_absence_that_makes_no_sense_is_refused():
    generator = np.random.default_rng(2)
    given = epoch(generator, n=3, batch=(2,))
    state = TopicState.new(Parameters(), batch=(2,))
    with pytest.raises(MechanismError, match="shape"):
        step(state, replace(given, absent=np.zeros(3, dtype=bool)), Parameters())
    nobody = np.array([[True, True, False], [False, False, False]])
    with pytest.raises(MechanismError, match="fewer than two"):
        step(state, replace(given, absent=nobody), Parameters())
    with pytest.raises(MechanismError, match="NaN"):
        step(state, replace(given, inferences=given.inferences * np.nan), Parameters())
    one = epoch(generator, n=3)
    state, _ = step(TopicState.new(Parameters(), initial_regret=-1.0), one, Parameters())
    state, _ = step(state, one, Parameters())
    with pytest.raises(MechanismError, match="take step"):
        step_open_field(OpenFieldState.of(state), replace(one, absent=np.zeros(3, dtype=bool)), Parameters())
