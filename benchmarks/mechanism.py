"""How many epochs of a mechanism one core computes in a second, and how long a reward backtest takes; prints JSON.

``--json`` is accepted and changes nothing: there is no other form. Run it with OMP_NUM_THREADS=1.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import plain_loop
from crucible.network.consensus import reputers_output
from crucible.network.epoch import step
from crucible.network.field import SyntheticField, Truth
from crucible.network.inputs import EpochInputs
from crucible.network.layout import COMBINED, NAIVE
from crucible.network.losses import network_losses, squared_log_losses
from crucible.network.networks import synthesise
from crucible.network.open_field import OpenFieldState, step_open_field
from crucible.network.parameters import Parameters
from crucible.network.regrets import filled_regrets, updated_regrets
from crucible.network.state import TopicState
from crucible.validation.reward import reward_backtest

PARAMS = Parameters()
REPEATS = 5
N, K, M = 32, 6, 6
YEAR = 105_120  # epochs of five minutes


def inputs(
    generator: np.random.Generator, n: int, k: int, m: int, batch: tuple[int, ...] = ()
) -> tuple[EpochInputs, np.ndarray]:
    """Return an epoch of skilled inferers, noisy forecasters and honest reputers, and what these hold to be true."""
    truth = generator.normal(size=batch)
    inferences = truth[..., None] + np.geomspace(0.05, 0.5, n) * generator.normal(size=(*batch, n))
    losses = np.log10((inferences - truth[..., None]) ** 2 + plain_loop.FLOOR)
    forecasts = losses[..., None, :] + 0.3 * generator.normal(size=(*batch, k, n))
    truths = truth[..., None] + 0.01 * generator.normal(size=(*batch, m))
    stakes = generator.uniform(1e5, 1e6, (*batch, m))
    names = (tuple(f"{kind}{place:05d}" for place in range(count)) for kind, count in (("i", n), ("f", k), ("r", m)))
    inferers, forecasters, reputers = names
    report = squared_log_losses(truths, plain_loop.FLOOR)
    given = EpochInputs(inferers, inferences, forecasters, forecasts, reputers, stakes, report, np.full(batch, 1e3))
    return given, truths


def best(run: Callable[[], Any], repeats: int = REPEATS) -> float:
    """Return the best of several wall times in seconds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def warm(batch: tuple[int, ...], epochs: list[EpochInputs]) -> TopicState:
    """Return the state after ``epochs``."""
    state = TopicState.new(PARAMS, initial_regret=-1.0, batch=batch)
    for given in epochs:
        state, _ = step(state, given, PARAMS)
    return state


def dense(batch: tuple[int, ...], count: int) -> dict[str, float]:
    """Return epochs per second: whole, without the reputers' gradient, and of synthesis and regrets only."""
    generator = np.random.default_rng(0)
    epochs = [inputs(generator, N, K, M, batch)[0] for _ in range(count + 3)]
    state = warm(batch, epochs[:3])

    def whole() -> None:
        now = state
        for given in epochs[3:]:
            now, _ = step(now, given, PARAMS)

    reports = [_reports(state, given) for given in epochs[3:]]

    def gradient() -> None:
        for report, given in zip(reports, epochs[3:], strict=True):
            reputers_output(report, given.stakes, state.reputers.listening, PARAMS)

    def synthesis() -> None:
        stored = state.regrets
        for given in epochs[3:]:
            filled = filled_regrets(stored, state.initial_regret)
            made = synthesise(
                given.inferences, given.forecasts, state.network_loss, filled, state.initial_regret, PARAMS
            )
            assert callable(given.losses)
            losses = network_losses(given.losses(made), given.stakes)
            stored = updated_regrets(stored, filled, losses, made.layout, PARAMS.alpha_regret)

    scenarios = int(np.prod(batch, dtype=int)) * count
    total, without, synthesised = best(whole), best(gradient), best(synthesis)
    return {
        "step": scenarios / total,
        "step without the reputers' gradient": scenarios / (total - without),
        "synthesis, losses and regrets": scenarios / synthesised,
    }


def _reports(state: TopicState, given: EpochInputs) -> np.ndarray:
    filled = filled_regrets(state.regrets, state.initial_regret)
    made = synthesise(given.inferences, given.forecasts, state.network_loss, filled, state.initial_regret, PARAMS)
    assert callable(given.losses)
    return given.losses(made)


def looped(count: int) -> tuple[float, float]:
    """Return epochs per second of the plain loop, and its largest difference of network losses from the arrays."""
    generator = np.random.default_rng(0)
    epochs = [inputs(generator, N, K, M) for _ in range(count + 3)]
    state = warm((), [given for given, _ in epochs[:3]])
    filled = filled_regrets(state.regrets, state.initial_regret)
    workers = [("i", j) for j in range(N)] + [("f", f) for f in range(K)]
    nets = [("all", 0), ("naive", 0)] + [("out_i", j) for j in range(N)]
    nets += [(kind, f) for kind in ("out_f", "in_f") for f in range(K)]
    regrets = {net: dict(zip(workers, row.tolist(), strict=True)) for net, row in zip(nets, filled, strict=True)}
    regrets["naive", 0] = {worker: value for worker, value in regrets["naive", 0].items() if worker[0] == "i"}
    for f in range(K):
        known = regrets["in_f", f]
        regrets["in_f", f] = {worker: value for worker, value in known.items() if worker[0] == "i" or worker[1] == f}
    loss, off = float(state.network_loss), 0.0
    spent = 0.0
    for given, truths in epochs[3:]:
        start = time.perf_counter()
        regrets, losses, _ = plain_loop.epoch(
            regrets, given.inferences.tolist(), given.forecasts.tolist(), loss, truths.tolist(), given.stakes.tolist()
        )
        spent += time.perf_counter() - start
        loss = losses["all", 0]
        state, result = step(state, given, PARAMS)
        ours = result.losses[: len(nets)]
        off = max(off, max(abs(ours[place] - losses[net]) for place, net in enumerate(nets)))
    assert (COMBINED, NAIVE) == (0, 1)
    return count / spent, off


def open_field(n: int, k: int, count: int) -> dict[str, float]:
    """Return epochs per second of an open field, of the dense step, and their largest relative difference."""
    generator = np.random.default_rng(0)
    epochs = [inputs(generator, n, k, M)[0] for _ in range(count + 5)]
    state = warm((), epochs[:3])
    field = OpenFieldState.of(state)
    spent, off = 0.0, 0.0
    for given in epochs[3:5]:
        start = time.perf_counter()
        state, expected = step(state, given, PARAMS)
        spent += time.perf_counter() - start
        field, found = step_open_field(field, given, PARAMS)
        ours, theirs = found.synthesis.values, expected.synthesis.values
        off = max(off, float(np.nanmax(np.abs(ours - theirs) / np.abs(theirs))))

    def run() -> None:
        now = field
        for given in epochs[5:]:
            now, _ = step_open_field(now, given, PARAMS)

    return {"open field": count / best(run, 3), "dense": 2 / spent, "largest relative difference": off}


def reward_backtest_year() -> dict[str, float]:
    """Return the seconds of a whole reward backtest, uptime, likeness and blending included, and the peak memory.

    The candidate and 31 others fill the active set. Memory is that of the process, after a quarter and after the year.
    """
    figures: dict[str, float] = {}
    for name, epochs in (("a quarter", YEAR // 4), ("a year", YEAR)):
        generator = np.random.default_rng(0)
        truth = Truth.of(1e-3 * generator.standard_t(4, size=epochs))
        own = truth.unscaled(0.01 * truth.moves + 0.1 * generator.normal(size=epochs))
        field = SyntheticField(truth, workers=N - 1)
        start = time.perf_counter()
        reward_backtest(own, truth, field, PARAMS, threads=min(os.cpu_count() or 1, 2))
        figures[f"seconds, {name}"] = time.perf_counter() - start
        figures[f"peak resident MB, {name}"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return figures


def main() -> dict[str, Any]:
    """Return all figures."""
    year = reward_backtest_year()  # first, as the peak of memory never falls
    loop, off = looped(5)  # later the initial regret moves, which the loop does not know
    figures: dict[str, Any] = {
        "benchmark": "mechanism",
        "inferers": N, "forecasters": K, "reputers": M,
        "epochs per second": {
            "plain loop (synthesis, losses, regrets)": loop,
            "one scenario": dense((), 200),
            **{f"batch of {size}": dense((size,), 12) for size in (8, 32, 64)},
        },
        "largest difference of the loop's losses": off,
        "reward_backtest_year": year,
        "1000 inferers, 10 forecasters": open_field(1000, 10, 20),
    }  # fmt: skip
    return figures


def rounded(value: Any) -> Any:
    """Return numbers with four digits."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    return float(f"{value:.4g}") if isinstance(value, float) else value


if __name__ == "__main__":
    if set(sys.argv[1:]) - {"--json"}:
        sys.exit("usage: python -m benchmarks.mechanism [--json]")
    print(json.dumps(rounded(main()), indent=2))
