"""The mechanism's epoch as one would write it down: a loop over workers, for comparison of time and of numbers.

It knows the case that a benchmark needs: everybody takes part, every forecast is complete, several forecasters, and the
topic is past its first epochs. Rewards and the reputers' gradient are not in it.
"""

from __future__ import annotations

import math

P, C, EPSILON, ALPHA, FLOOR = 3.0, 0.75, 0.01, 0.1, 1e-6
Regrets = dict[tuple[str, int], dict[tuple[str, int], float]]


def weights(regrets: dict[tuple[str, int], float]) -> dict[tuple[str, int], float]:
    """Return the weights of one set of workers."""
    values = list(regrets.values())
    mean = sum(values) / len(values)
    sigma = math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1)) if len(values) > 1 else 0.0
    normalised = {worker: value / (sigma + EPSILON) for worker, value in regrets.items()}
    top = max(normalised.values())
    high, low, cut = C + 6.75 / P, C - 8.25 / P, C - 17.25 / P
    found = {}
    for worker, value in normalised.items():
        x = value - top + low if top < low else min(value, high)
        found[worker] = 0.0 if x < cut else P / (1.0 + math.exp(-P * (x - C)))
    return found


def combined(regrets: dict[tuple[str, int], float], values: dict[tuple[str, int], float]) -> float:
    """Return the weighted mean of ``values`` over the workers in ``regrets``."""
    found = weights(regrets)
    return sum(weight * values[worker] for worker, weight in found.items()) / max(sum(found.values()), 1e-7)


def implied(forecast: list[float], inferences: list[float], loss: float, without: int = -1) -> float:
    """Return a forecaster's implied inference, without one inferer."""
    regrets = {("i", j): loss - expected for j, expected in enumerate(forecast) if j != without}
    return combined(regrets, {("i", j): value for j, value in enumerate(inferences)})


def synthesis(
    regrets: Regrets, inferences: list[float], forecasts: list[list[float]], loss: float
) -> tuple[dict[tuple[str, int], float], dict[tuple[str, int], float]]:
    """Return the inferences of every network and of every worker."""
    n, k = len(inferences), len(forecasts)
    values = {("i", j): inferences[j] for j in range(n)}
    values |= {("f", f): implied(forecasts[f], inferences, loss) for f in range(k)}
    nets = {("all", 0): combined(regrets["all", 0], values), ("naive", 0): combined(regrets["naive", 0], values)}
    for j in range(n):
        fewer = {worker: regret for worker, regret in regrets["out_i", j].items() if worker != ("i", j)}
        instead = values | {("f", f): implied(forecasts[f], inferences, loss, j) for f in range(k)}
        nets["out_i", j] = combined(fewer, instead)
    for f in range(k):
        fewer = {worker: regret for worker, regret in regrets["out_f", f].items() if worker != ("f", f)}
        nets["out_f", f] = combined(fewer, values)
        nets["in_f", f] = combined(regrets["in_f", f], values)
    return nets, values


def epoch(
    regrets: Regrets,
    inferences: list[float],
    forecasts: list[list[float]],
    loss: float,
    truths: list[float],
    stakes: list[float],
) -> tuple[Regrets, dict[tuple[str, int], float], dict[tuple[str, int], float]]:
    """Return the regrets after an epoch, the networks' losses, and the scores of the inferers."""
    nets, values = synthesis(regrets, inferences, forecasts, loss)

    def network_loss(value: float) -> float:
        reported = [math.log10((value - truth) ** 2 + FLOOR) for truth in truths]
        return sum(stake * each for stake, each in zip(stakes, reported, strict=True)) / sum(stakes)

    losses = {net: network_loss(value) for net, value in nets.items()}
    own = {worker: network_loss(value) for worker, value in values.items()}
    after: Regrets = {}
    for net, known in regrets.items():
        after[net] = {}
        for worker, regret in known.items():
            # v0.6: nobody reports implied inferences without an inferer
            reported = not (net[0] == "out_i" and worker[0] == "f")
            after[net][worker] = ALPHA * (losses[net] - own[worker]) + (1 - ALPHA) * regret if reported else regret
    scores = {("i", j): losses["out_i", j] - losses["all", 0] for j in range(len(inferences))}
    return after, losses, scores
