import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from crucible.errors import EvaluationError
from crucible.recipe import Recipe
from crucible.validation.gates import against_champion, confirm, judge

PURGED = "no label reaches its test block"


def gate(verdict, name):
    return next(item for item in verdict.gates if item.name == name)


def changed(recipe, **sections):
    values = recipe.model_dump(mode="json")
    for section, changes in sections.items():
        values[section] |= changes
    return Recipe.model_validate(values)


def test_real_skill_passes_and_is_selected(recipe, make_oos):
    oos, scale = make_oos(recipe)
    verdict, card = judge(recipe, oos, "ridge", scale, {PURGED: True})
    assert verdict.clear, verdict.reasons
    assert not verdict.passed  # the deployment set has not been asked
    assert verdict.grade == card.grade
    assert verdict.reasons == ()
    assert {item.outcome for item in verdict.gates} == {"pass"}
    assert "below that of zero, the best baseline" in gate(verdict, "loses less than the baselines").sentence
    skill = gate(verdict, "knows more than zero").sentence
    assert re.search(r"correlate by \+0\.1.*, a true 0\.05|would show 0\.0\d\d in four of five cases", skill)
    assert confirm(recipe, oos, oos, "ridge", np.concatenate([scale, scale])).passed


def test_a_verdict_is_plain_json_and_a_table(recipe, make_oos):
    oos, scale = make_oos(recipe)
    verdict, _ = judge(recipe, oos, "mean", scale, {PURGED: True})
    values = json.loads(json.dumps(verdict.to_json(), allow_nan=False))
    assert values["passed"] is False
    assert values["reasons"] == list(verdict.reasons)
    assert [item["name"] for item in values["gates"]] == [item.name for item in verdict.gates]
    text = io.StringIO()
    Console(file=text, width=320).print(verdict.table())
    assert "mean: refused, grade" in text.getvalue()
    for item in verdict.gates:
        assert item.sentence in text.getvalue()


def test_noise_is_refused_with_the_reason(recipe, make_oos):
    oos, scale = make_oos(recipe)
    verdict, _ = judge(recipe, oos, "mean", scale, {})
    assert not verdict.passed
    assert gate(verdict, "loses less than the baselines").outcome == "fail"
    assert "ABOVE that of zero" in gate(verdict, "loses less than the baselines").sentence
    assert gate(verdict, "calibration").outcome == "fail"
    assert "far too large" in gate(verdict, "calibration").sentence


def test_what_is_too_good_is_refused(recipe, make_oos):
    oos, scale = make_oos(recipe, correlation=0.4)
    verdict, _ = judge(recipe, oos, "ridge", scale, {})
    assert [item.name for item in verdict.gates if not item.passed] == ["not too good to be true"]
    assert "look for a leak" in verdict.reasons[0]


def test_the_alarm_level_depends_on_the_horizon(recipe, make_oos):
    oos, scale = make_oos(recipe)
    verdict, _ = judge(recipe, oos, "ridge", scale, {})
    assert gate(verdict, "not too good to be true").threshold == 0.56
    hours = changed(recipe, topic={"testnet": 9077, "mainnet": None, "horizon": "8h"})
    verdict, _ = judge(hours, oos, "ridge", scale, {})
    assert gate(verdict, "not too good to be true").threshold == 0.58
    known = recipe.model_copy(update={"gates": recipe.gates.model_copy(update={"too_good": 0.8})})
    assert gate(judge(known, oos, "ridge", scale, {})[0], "not too good to be true").threshold == 0.8
    assert (known.digest == recipe.digest, "too_good" in recipe.canonical()) == (False, False)


def test_a_grade_below_the_minimum_is_refused(recipe, make_oos):
    oos, scale = make_oos(recipe)
    strict = changed(recipe, gates={"minimum_grade": "A+"})
    verdict, card = judge(strict, oos, "ridge", scale, {})
    assert verdict.reasons == (f"grade {card.grade} ({card.num_passed} of 7), A+ is required",)
    assert gate(verdict, "minimum grade").threshold == 7


def test_broken_integrity_is_named(recipe, make_oos):
    oos, scale = make_oos(recipe)
    verdict, _ = judge(recipe, oos, "ridge", scale, {PURGED: False})
    assert verdict.reasons == (f"it does not hold that {PURGED}",)
    oos.y_pred["ridge"][5] = np.nan
    verdict, _ = judge(recipe, oos, "ridge", scale, {})
    assert verdict.grade == "F"
    assert "every prediction is finite" in verdict.reasons[0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda oos: {"times": np.sort(np.append(oos.times[1:], oos.times[7]))}, "times ascend without repetition"),
        (lambda oos: {"fold": np.minimum(oos.fold, 1)}, "every test block has rows"),
        (lambda oos: {"close": np.where(oos.fold == 0, 0.0, oos.close)}, "every price is above zero"),
        (lambda oos: {"y_pred": {"ridge": np.full(len(oos.times), 1e-4)}}, "predictions vary"),
    ],
)
def test_every_integrity_check_can_fail(recipe, make_oos, change, words):
    oos, scale = make_oos(recipe)
    verdict, _ = judge(recipe, replace(oos, **change(oos)), "ridge", scale, {})
    assert verdict.reasons[0] == f"it does not hold that {words}"


def test_a_third_of_the_rows_is_not_enough(recipe, make_oos):
    oos, scale = make_oos(recipe)
    third = replace(
        oos, times=oos.times[::3], fold=oos.fold[::3], close=oos.close[::3], y_true=oos.y_true[::3],
        y_pred={"zero": oos.y_pred["zero"][::3]},
    )  # fmt: skip
    verdict, _ = judge(recipe, third, "zero", scale[::3], {})
    assert "nine tenths of the expected rows" in verdict.reasons[0]


def test_one_absurd_prediction_whose_loss_is_infinite_is_refused(recipe, make_oos):
    # its gain is minus infinity; every comparison with it is false, which once counted as the smallest p-value
    oos, scale = make_oos(recipe)
    oos.y_pred["ridge"][7] = 1000.0
    verdict, _ = judge(recipe, oos, "ridge", scale, {})
    assert "the sqe of 1 predictions is not finite" in verdict.reasons


def test_too_few_rows_for_a_verdict_are_undecided_and_stop(recipe, make_oos):
    oos, scale = make_oos(recipe)
    week = changed(recipe, topic={"testnet": 9077, "mainnet": None, "horizon": "7d"})  # 2,016 of 14,400 rows
    verdict, _ = judge(week, oos, "ridge", scale, {})
    assert not verdict.clear
    skill = gate(verdict, "knows more than zero")
    assert skill.outcome == "undecided"
    assert skill.sentence == "no verdict: 14400 rows are too few for a test: with a bandwidth of 4032 it takes 20160."
    assert confirm(week, oos, oos, "ridge", np.concatenate([scale, scale])).outcome != "undecided"
    short = replace(oos, **{name: getattr(oos, name)[:50] for name in ("times", "fold", "close", "y_true")},
                    y_pred={name: values[:50] for name, values in oos.y_pred.items()})  # fmt: skip
    assert confirm(week, short, short, "ridge", scale[:100]).outcome == "undecided"


def test_earlier_tries_on_the_same_rows_count(recipe, make_oos):
    oos, scale = make_oos(recipe, correlation=0.02, seed=3)
    generator = np.random.default_rng(5)
    tries = {str(index): 1e-4 * generator.normal(size=len(scale)) for index in range(40)}
    quick = changed(recipe, gates={"bootstrap": 400})
    alone, _ = judge(quick, oos, "ridge", scale, {})
    after, _ = judge(quick, oos, "ridge", scale, {}, tries)
    name = "not the luck of many tries"
    assert "the only try" in gate(alone, name).sentence
    assert "one of 41 tries" in gate(after, name).sentence
    assert gate(after, name).value > 2 * gate(alone, name).value


@pytest.mark.parametrize("name", ["knows more than zero", "not the luck of many tries"])
def test_evidence_passes_below_the_level_and_not_above(recipe, make_oos, name):
    oos, scale = make_oos(recipe, correlation=0.03, seed=3, rows=3000)

    def judged(alpha):
        levels = changed(recipe, gates={"alpha": alpha, "bootstrap": 400})
        return gate(judge(levels, oos, "ridge", scale, {})[0], name)

    p_value = judged(0.05).value
    assert 0.005 < p_value < 0.3
    assert (judged(1.01 * p_value).passed, judged(0.99 * p_value).passed) == (True, False)


@pytest.mark.parametrize(
    ("size", "drift", "words"),
    [
        (1.0, 0.0, "below that of zero"),
        (2.5, 0.0, "ABOVE that of zero"),  # by a fifth of a percent: overconfidence costs what it knows
        (1.0, 1.5, "below that of drift"),
        (0.3, 1.0, "ABOVE that of drift"),  # better than zero, and worse than what costs nothing
    ],
)
def test_a_gain_is_over_the_best_baseline_however_small(recipe, make_oos, size, drift, words):
    oos, scale = make_oos(recipe, correlation=0.04, rows=3000)
    oos.y_pred.update(ridge=size * oos.y_pred["ridge"], drift=drift * oos.y_pred["ridge"])
    found = gate(
        judge(changed(recipe, gates={"bootstrap": 200}), oos, "ridge", scale, {})[0], "loses less than the baselines"
    )
    assert words in found.sentence
    assert found.passed == ("below" in words)
    assert 0 < abs(found.value) < 0.005


def test_many_regimes_share_the_level(recipe, make_oos):
    oos, scale = make_oos(recipe, rows=3000)
    found = gate(judge(changed(recipe, gates={"bootstrap": 200}), oos, "ridge", scale, {})[0], "holds in every regime")
    regimes = int(re.search(r"in none of (\d+) regimes", found.sentence)[1])
    assert regimes >= 6
    assert found.threshold == pytest.approx(recipe.gates.alpha / regimes)


def test_a_regime_in_which_it_is_worse_than_zero_stops_it(recipe, make_oos):
    oos, scale = make_oos(recipe, correlation=0.15)
    scale = scale * np.where(np.arange(len(scale)) % 3 == 0, 1.5, 1.0)  # every third row is turbulent
    oos.y_pred["ridge"][scale > 1.2e-3] *= -1
    verdict, _ = judge(recipe, oos, "ridge", scale, {})
    stability = gate(verdict, "holds in every regime")
    assert stability.outcome == "fail"
    assert "worse than zero in turbulent" in stability.sentence


def test_a_challenger_must_beat_the_champion(recipe, make_oos):
    oos, scale = make_oos(recipe, correlation=0.15)
    weak = np.where(np.arange(len(scale)) < 3000, np.nan, 0.3 * oos.y_pred["ridge"])
    better = against_champion(recipe, oos, "ridge", scale, weak)
    assert better.passed
    assert "on 11400 common rows" in better.sentence
    oos.y_pred["mean"] = 0.2 * oos.y_pred["ridge"]
    worse = against_champion(recipe, oos, "mean", scale, oos.y_pred["ridge"])
    assert (worse.outcome, worse.passed) == ("fail", False)
    same = against_champion(recipe, oos, "ridge", scale, oos.y_pred["ridge"])
    assert (same.outcome, same.passed) == ("undecided", False)  # not better is not enough


def test_the_deployment_set_can_refuse(recipe, make_oos):
    oos, scale = make_oos(recipe)
    wrong = replace(oos, y_pred={**oos.y_pred, "ridge": -0.2 * oos.y_pred["ridge"]})
    both = np.concatenate([scale, scale])
    refused = confirm(recipe, oos, wrong, "ridge", both)
    assert refused.outcome == "fail"
    assert "do NOT agree" in refused.sentence
    assert confirm(recipe, oos, oos, "ridge", both, looks=5).threshold == recipe.gates.confirm / 5


def test_an_unknown_candidate_is_refused(recipe, make_oos):
    oos, scale = make_oos(recipe)
    with pytest.raises(EvaluationError, match="no predictions of 'lightgbm'"):
        judge(recipe, oos, "lightgbm", scale, {})


def test_candidates_without_skill_are_promoted_no_oftener_than_alpha_says(recipe, make_oos):
    # the best case for a false pass: predictions so small that they cost nothing, over overlapping targets
    horizon = 12
    hour = changed(recipe, topic={"testnet": 9077, "mainnet": None, "horizon": "1h"}, gates={"bootstrap": 200})
    oos, scale = make_oos(recipe, rows=3000)
    passed = 0
    for seed in range(120):
        generator = np.random.default_rng(seed)
        steps, views = generator.normal(0, 1e-3, size=(2, 3000 + horizon))
        y = np.convolve(steps, np.ones(horizon), mode="valid")[:3000]
        view = 1e-3 * np.convolve(views, np.ones(horizon), mode="valid")[:3000]
        verdict, _ = judge(hour, replace(oos, y_true=y, y_pred={"ridge": view}), "ridge", scale, {})
        passed += gate(verdict, "knows more than zero").passed
    assert 0 < passed / 120 <= 0.1  # nominal 5 %, standard error 2 points
