"""The pictures of docs/explanation/network.md, from seeded simulations; prints their numbers as JSON.

``python -m benchmarks.network_pictures [FOLDER]``; the folder is docs/images by default.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from crucible.network.field import SyntheticField, Truth
from crucible.network.forecaster import Forecaster
from crucible.network.parameters import Parameters
from crucible.network.simulate import Field, Simulation, simulate
from crucible.validation.marginal import marginal_value
from crucible.validation.reward import reward_backtest

INK, MUTED, ACCENT, WARNING, GREEN = "#1f2933", "#8a94a0", "#0b6bcb", "#d9480f", "#2b8a3e"
PARAMS = Parameters()
HONEST = {"stakes": np.full(4, 1e5), "lies": np.zeros(4)}
WARM, EPOCHS = 50, 250


@contextmanager
def picture(path: Path, panels: int = 1, height: float = 3.6) -> Iterator[Any]:
    """Yield the axes of a figure in the house's style, and write it to ``path``."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, panels, squeeze=False)[0]
    for one in axes:
        one.spines[["top", "right"]].set_visible(False)
    yield axes
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, metadata={"Software": None})


def error(runs: list[Simulation], of: str) -> np.ndarray:
    """Return root mean squared errors over runs and epochs after the first ones; one per worker for inferences."""
    squares = []
    for run in runs:
        values = getattr(run, of)[WARM:]
        truth = run.truth[WARM:].reshape(-1, *(1,) * (values.ndim - 1))
        squares.append(((values - truth) ** 2).mean(axis=0))
    return np.sqrt(np.mean(squares, axis=0))


def beats_the_best(path: Path) -> dict[str, Any]:
    """Eight workers of different skill, the network, and the plain mean."""
    skills = np.linspace(0.5, 2.0, 8)[None, :]
    runs = [simulate(Field(skills, np.zeros(0), **HONEST), EPOCHS, PARAMS, seed=seed) for seed in range(20)]
    workers, network = error(runs, "inferences"), float(error(runs, "combined"))
    plain = float(np.sqrt(np.mean([
        ((run.inferences.mean(axis=1) - run.truth)[WARM:] ** 2).mean() for run in runs
    ])))  # fmt: skip
    with picture(path) as (axes,):
        names = [f"worker {place + 1}" for place in range(8)]
        axes.bar(names, workers, color=MUTED, width=0.6)
        axes.bar(["plain mean"], [plain], color=INK, width=0.6)
        axes.bar(["network"], [network], color=ACCENT, width=0.6)
        for place, value in enumerate([*workers, plain, network]):
            axes.annotate(
                f"{value:.2f}", (place, value), (0, 6), textcoords="offset points", ha="center", fontsize=9,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
            )  # fmt: skip
        axes.axhline(workers.min(), color=WARNING, linewidth=1, linestyle="--")
        axes.annotate(
            "the best single worker", (9.5, workers.min()), (0, 24), textcoords="offset points", ha="right",
            color=WARNING, fontsize=9,
        )  # fmt: skip
        axes.set_ylabel("root mean squared error")
        axes.set_title("the network against its workers, 20 topics of 200 epochs", fontsize=10)
        axes.tick_params(axis="x", labelsize=8)
    return {"best worker": float(workers.min()), "plain mean": plain, "network": network}


def forecasters_help(path: Path) -> dict[str, Any]:
    """Two halves of workers that are good in turn: without forecasters, with told ones, with one that learns."""
    skills = np.array([[0.5, 0.5, 0.5, 1.5, 1.5, 1.5], [1.5, 1.5, 1.5, 0.5, 0.5, 0.5]])
    seeds = range(20)
    none = [simulate(Field(skills, np.zeros(0), **HONEST), EPOCHS, PARAMS, seed=seed) for seed in seeds]
    told = [simulate(Field(skills, np.full(3, 0.3), **HONEST), EPOCHS, PARAMS, seed=seed) for seed in seeds]
    # beside one that knows nothing: a lone forecaster has no score
    learns = [
        simulate(Field(skills, np.full(1, 2.0), **HONEST), EPOCHS, PARAMS, seed=seed, models=(Forecaster.new(),))
        for seed in seeds
    ]
    groups = (("no forecaster", none, MUTED), ("three that know the regime", told, GREEN),
              ("one that learns, one clueless", learns, ACCENT))  # fmt: skip
    width = 15
    with picture(path, 2) as (left, right):
        for name, runs, colour in groups:
            squares = np.mean([(run.combined - run.truth) ** 2 for run in runs], axis=0)
            smooth = np.sqrt(np.convolve(squares, np.ones(width) / width, mode="valid"))
            left.plot(np.arange(len(smooth)) + width, smooth, color=colour, linewidth=1.6, label=name)
        left.set_xlabel("epoch")
        left.set_ylabel("root mean squared error")
        left.set_ylim(0, 1.1)
        left.legend(frameon=False, fontsize=8, loc="upper right")
        left.set_title("the network inference, mean of 20 topics", fontsize=10)
        scores = np.array([[np.mean([run.one_in[WARM:, k].mean() for run in learns]),
                            np.mean([run.one_out[WARM:, k].mean() for run in learns])] for k in (1, 0)])  # fmt: skip
        places = np.arange(2)
        for shift, row, colour, name in ((-0.2, scores[0], ACCENT, "learns"), (0.2, scores[1], MUTED, "clueless")):
            right.bar(places + shift, row, 0.36, color=colour, label=name)
            for place, value in zip(places + shift, row, strict=True):
                right.annotate(f"{value:+.2f}", (place, max(value, 0)), (0, 3), textcoords="offset points",
                               ha="center", fontsize=9)  # fmt: skip
        right.axhline(0, color=INK, linewidth=0.6)
        right.set_xticks(places, ["one-in: naive network\nwith only it", "one-out: network\nwithout it"], fontsize=9)
        right.set_ylabel("score (orders of magnitude of the loss)")
        right.legend(frameon=False, fontsize=8)
        right.set_title("what each of the two forecasters adds", fontsize=10)
    return {
        "rmse": {name: float(error(runs, "combined")) for name, runs, _ in groups},
        "learns, one-in and one-out": scores[0].tolist(), "clueless": scores[1].tolist(),
    }  # fmt: skip


def a_liar_is_not_heard(path: Path) -> dict[str, Any]:
    """Three honest reputers and one that adds noise to every loss."""
    lies = np.array([0.0, 0.0, 0.0, 1.5])
    field = Field(np.linspace(0.2, 1.0, 5)[None, :], np.full(2, 0.3), np.full(4, 1e5), lies, truth_noise=0.02)
    runs = [simulate(field, 150, PARAMS, seed=seed) for seed in range(10)]
    heard = np.mean([run.listening for run in runs], axis=0)
    paid = np.mean([np.nanmean(run.reputer_rewards, axis=0) for run in runs], axis=0)
    paid /= paid.sum()
    colours = [MUTED, MUTED, MUTED, WARNING]
    with picture(path, 2) as (left, right):
        for place, colour in enumerate(colours):
            left.plot(heard[:, place], color=colour, linewidth=1.6)
        left.annotate("honest", (148, heard[-1, :3].mean()), (0, 6), textcoords="offset points", ha="right", color=INK)
        left.annotate("lies", (148, heard[-1, 3]), (0, 6), textcoords="offset points", ha="right", color=WARNING)
        left.set_ylim(0, 1.1)
        left.set_xlabel("epoch")
        left.set_ylabel("listening coefficient")
        left.set_title("how far each reputer is listened to, mean of 10 topics", fontsize=10)
        right.bar(["honest 1", "honest 2", "honest 3", "lies"], paid, color=colours, width=0.6)
        for place, value in enumerate(paid):
            right.annotate(f"{value:.1%}", (place, value), (0, 3), textcoords="offset points", ha="center", fontsize=9)
        right.axhline(0.25, color=INK, linewidth=0.8, linestyle="--")
        right.annotate("an equal part", (3.4, 0.25), (0, 4), textcoords="offset points", ha="right", fontsize=9)
        right.set_ylabel("share of the reputers' reward")
        right.set_ylim(0, 0.42)
        right.set_title("at equal stake", fontsize=10)
    return {"heard at the end": heard[-1].tolist(), "share of reward": paid.tolist()}


def what_a_candidate_earns(path: Path) -> dict[str, Any]:
    """Candidates of several skills among 31 workers, and one of them blended with the field."""
    epochs, skills = 30_000, (0.0, 0.05, 0.1, 0.2, 0.3)
    generator = np.random.default_rng(0)
    truth = Truth.of(1e-3 * generator.standard_t(4, size=epochs))
    luck = generator.normal(size=epochs)
    # the moves are in units of their deviation already
    made = [truth.unscaled(s * s * truth.moves + s * np.sqrt(1 - s * s) * luck) for s in skills]
    field = SyntheticField(truth, workers=31, skill=0.1)
    values = [marginal_value(own, truth, field) for own in made]
    found = reward_backtest(made[3], truth, field, PARAMS, threads=2)
    with picture(path, 2) as (left, right):
        shares = [value.share for value in values]
        low = [share.mean - share.low for share in shares]
        high = [share.high - share.mean for share in shares]
        left.errorbar(skills, [share.mean for share in shares], yerr=[low, high], color=ACCENT, marker="o", capsize=3)
        left.axhline(1, color=INK, linewidth=0.8, linestyle="--")
        left.annotate("an equal part", (0.3, 1), (0, -12), textcoords="offset points", ha="right", fontsize=9)
        left.axvspan(0.05, 0.15, color=MUTED, alpha=0.15)
        left.annotate("the field's skills", (0.1, left.get_ylim()[1]), (0, -10), textcoords="offset points",
                      ha="center", fontsize=9, color=MUTED)  # fmt: skip
        left.set_xlabel("correlation of the candidate with the truth")
        left.set_ylabel("reward, in equal parts")
        left.set_title("skill pays, with 95 % intervals", fontsize=10)
        at = [effect.setting for effect in found.blend]
        right.plot(
            at, [effect.share for effect in found.blend], color=ACCENT, marker="o", label="reward, in equal parts"
        )
        right.axhline(1, color=INK, linewidth=0.8, linestyle="--")
        right.axvline(0, color=MUTED, linewidth=0.8)
        right.annotate("as it is", (0, found.value.share.mean), (6, 6), textcoords="offset points", fontsize=9)
        right.annotate("an equal part", (-1, 1), (0, 4), textcoords="offset points", fontsize=9)
        right.set_xticks([-1, -0.5, 0, 0.5, 1])
        right.set_xlabel("weight of the field's mean (below 0: away from it)")
        right.set_ylabel("reward, in equal parts")
        right.set_title("the candidate of skill 0.2, blended with the field", fontsize=10)
    return {
        "skill": {str(s): [v.share.mean, v.share.low, v.share.high] for s, v in zip(skills, values, strict=True)},
        "score": {str(s): [v.score.mean, v.score.low, v.score.high] for s, v in zip(skills, values, strict=True)},
        "blend": {str(e.setting): [e.share, e.own_loss] for e in found.blend},
        "uptime": {str(e.setting): e.share for e in found.uptime},
        "correlation": {str(e.setting): e.share for e in found.correlation},
        "likeness": found.likeness,
    }  # fmt: skip


def main(folder: Path) -> dict[str, Any]:
    """Draw all pictures into ``folder`` and return their numbers."""
    return {
        "beats the best": beats_the_best(folder / "network-beats-the-best.png"),
        "forecasters": forecasters_help(folder / "network-forecasters.png"),
        "liar": a_liar_is_not_heard(folder / "network-liar.png"),
        "candidate": what_a_candidate_earns(folder / "network-reward.png"),
    }


if __name__ == "__main__":
    if len(sys.argv) > 2:
        sys.exit("usage: python -m benchmarks.network_pictures [FOLDER]")
    print(json.dumps(main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/images")), indent=2))
