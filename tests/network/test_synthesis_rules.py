"""Synthesis against a reference that goes worker by worker, with forecasts that miss elements."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crucible.network.layout import layout
from crucible.network.networks import synthesise
from crucible.network.parameters import Parameters

P, C, EPSILON = 3.0, 0.75, 0.01


def weights(regrets):
    values = list(regrets.values())
    mean = sum(values) / len(values)
    sigma = math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1)) if len(values) > 1 else 0.0
    scaled = {w: v / (sigma + EPSILON) for w, v in regrets.items()}
    top = max(scaled.values())
    low, found = C - 8.25 / P, {}
    for worker, value in scaled.items():
        x = value - top + low if top < low else min(value, C + 6.75 / P)
        found[worker] = 0.0 if x < C - 17.25 / P else P / (1 + math.exp(-P * (x - C)))
    return found


def combined(regrets, values):
    found = weights(regrets)
    return sum(found[w] * values[w] for w in found) / max(sum(found.values()), 1e-7)


def implied(elements, inferences, loss, without=None):
    left = {j: value for j, value in elements.items() if j != without} or elements
    return combined({j: loss - value for j, value in left.items()}, inferences)


def reference(inferences, elements, loss, regrets):
    """Values in the order of the layout; ``elements`` are the forecasters' losses by inferer."""
    n, k = len(inferences), len(elements)
    places = layout(n, k)
    found = np.full(places.size, np.nan)
    own = dict(enumerate(inferences))
    taking = [f for f in range(k) if elements[f]]
    full = {n + f: implied(elements[f], own, loss) for f in taking}
    values = own | full

    def network(row, workers, instead=None):
        return combined({w: regrets[row, w] for w in workers}, values | (instead or {}))

    inferers, forecasters = list(range(n)), [n + f for f in taking]
    found[0], found[1] = network(0, inferers + forecasters), network(1, inferers)
    for j in range(n):
        instead = {n + f: implied(elements[f], own, loss, j) for f in taking}
        found[2 + j] = network(2 + j, [w for w in inferers + forecasters if w != j], instead)
        for f in taking:
            found[places.implied_one_outs.start + f * n + j] = instead[n + f]
    if len(taking) > 1:
        for f in taking:
            others = [w for w in forecasters if w != n + f]
            found[2 + n + f] = network(2 + n + f, inferers + others)
            found[2 + n + k + f] = network(2 + n + k + f, [*inferers, n + f])
    found[places.inferers] = inferences
    for worker, value in full.items():
        found[places.rows + worker] = value
    return found


@settings(max_examples=150)
@given(st.integers(0, 2**32 - 1), st.integers(2, 6), st.integers(0, 4), st.sampled_from([0.0, 0.4, 0.8]))
def test_every_network_follows_the_rules(seed, n, k, missing):
    generator = np.random.default_rng(seed)
    inferences = generator.normal(size=n)
    forecasts = np.where(generator.random((k, n)) < missing, np.nan, generator.normal(-1, 1, (k, n)))
    places = layout(n, k)
    # also sets in which all do badly, and workers at the cap and the cut
    regrets = generator.normal(generator.choice([-1.0, 0.0, 1.0]), 1.0, (places.rows, places.columns))
    regrets *= generator.choice([0.01, 1.0], size=(places.rows, 1))
    loss = float(generator.normal(-1))
    found = synthesise(inferences, forecasts, np.asarray(loss), regrets, np.asarray(-1.0), Parameters())
    elements = [{j: forecasts[f, j] for j in range(n) if not np.isnan(forecasts[f, j])} for f in range(k)]
    expected = reference(inferences, elements, loss, regrets)
    assert found.values == pytest.approx(expected, rel=1e-9, abs=1e-10, nan_ok=True)


def test_a_batch_may_mix_new_and_old_topics_and_partial_forecasts():
    generator = np.random.default_rng(7)
    n, k = 4, 3
    places = layout(n, k)
    inferences, forecasts = generator.normal(size=(3, n)), generator.normal(-1, 1, (3, k, n))
    forecasts[1, 0] = np.nan
    forecasts[2, 1, :2] = np.nan
    regrets = generator.normal(size=(3, places.rows, places.columns))
    loss, first = generator.normal(size=3), np.array([0.0, -1.0, -1.0])
    every = synthesise(inferences, forecasts, loss, regrets, first, Parameters())
    for b in range(3):
        one = synthesise(inferences[b], forecasts[b], loss[b : b + 1][0], regrets[b], first[b], Parameters())
        assert every.values[b] == pytest.approx(one.values, rel=1e-12, nan_ok=True)
