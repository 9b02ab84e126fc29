"""Plots of an evaluation, as PNG bytes."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from crucible.features.report import FeatureRow
from crucible.recipe import Recipe
from crucible.validation.losses import topic_loss
from crucible.validation.predictions import OutOfSample

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_INK, _MUTED, _ACCENT = "#1f2933", "#8a94a0", "#0b6bcb"
_COLOURS = ("#0b6bcb", "#d9480f", "#2b8a3e", "#862e9c", "#b08900", "#495057")


def equity_plot(oos: OutOfSample, candidate: str) -> bytes:
    """Cumulative log return of following the sign of each prediction, against baselines and the oracle; no costs.

    Where targets overlap, each forecast counts, so the sum is that of many positions held at once. The oracle, which
    knows every sign, would leave the picture: it is drawn at the scale of a hundredth.
    """
    predicted = oos.y_pred[candidate]
    others = [name for name in ("last_value", "drift") if name in oos.y_pred and name != candidate]
    oracle = np.cumsum(np.abs(oos.y_true))
    moved = oos.y_true != 0
    hit = (np.sign(predicted) == np.sign(oos.y_true))[moved]
    right = f"direction right in {hit.mean():.2%} of {len(hit):,} forecasts" if len(hit) else "no return differs from 0"
    with _figure(f"{candidate}: following the forecast's sign, out of sample") as (axes, image):
        axes.plot(oos.times, np.cumsum(np.sign(predicted) * oos.y_true), color=_ACCENT, linewidth=1.4, label=candidate)
        axes.plot(oos.times, np.cumsum(oos.y_true), color=_MUTED, linewidth=1.0, label="always long")
        for name, colour in zip(others, _COLOURS[1:], strict=False):
            axes.plot(
                oos.times, np.cumsum(np.sign(oos.y_pred[name]) * oos.y_true), color=colour, linewidth=0.9, label=name
            )
        axes.plot(oos.times, oracle / 100, color=_MUTED, linewidth=0.9, linestyle=":", label="1 % of the oracle")
        axes.axhline(0, color=_INK, linewidth=0.6)
        axes.set_ylabel("sum of the log returns of all forecasts")
        axes.set_xlabel("prediction time (UTC)")
        axes.set_title(right, loc="right", color=_MUTED, fontsize=9)
        axes.legend(frameon=False, loc="upper left")
        _dates(axes)
    return image.getvalue()


def scatter_plot(oos: OutOfSample, candidate: str) -> bytes:
    """Realised against predicted log returns, one hexagon per crowd of forecasts, with the least-squares line."""
    predicted, truth = 1e4 * oos.y_pred[candidate], 1e4 * oos.y_true
    with _figure(f"{candidate}: predicted against actual") as (axes, image):
        axes.set_xlabel("predicted log return (basis points)")
        axes.set_ylabel("realised log return (basis points)")
        if np.ptp(predicted) == 0:
            axes.text(0.5, 0.5, "every prediction is the same", ha="center", transform=axes.transAxes, color=_MUTED)
        else:
            x_reach, y_reach = (float(np.quantile(np.abs(values), 0.995)) or 1.0 for values in (predicted, truth))
            extent = (-x_reach, x_reach, -y_reach, y_reach)
            drawn = axes.hexbin(predicted, truth, gridsize=45, bins="log", cmap="Blues", mincnt=1, extent=extent)
            axes.figure.colorbar(drawn, ax=axes, label="forecasts")
            line, slope = np.array([-x_reach, x_reach]), float((predicted * truth).mean() / (predicted**2).mean())
            axes.plot(line, slope * line, color=_COLOURS[1], linewidth=1.4, label=f"truth per forecast: {slope:.2f}")
            axes.axhline(0, color=_INK, linewidth=0.6)
            axes.axvline(0, color=_INK, linewidth=0.6)
            axes.set_xlim(-x_reach, x_reach)
            axes.set_ylim(-y_reach, y_reach)
            axes.legend(frameon=False, loc="upper left")
            axes.set_title("the outermost 0.5 % are not shown", loc="right", color=_MUTED, fontsize=9)
    return image.getvalue()


def information_plot(rows: Sequence[FeatureRow]) -> bytes:
    """Rank correlation of each feature with the target, in the newest year, with its 95 % interval."""
    known = [
        (row.feature, row.information[-1]) for row in rows if row.information and np.isfinite(row.information[-1].value)
    ]
    known.sort(key=lambda item: item[1].value)
    year = known[-1][1].year if known else ""
    with _figure(f"rank correlation with the target, {year}", height=max(3.0, 0.22 * len(known) + 1.0)) as (
        axes,
        image,
    ):
        places = np.arange(len(known))
        values = np.array([item.value for _, item in known])
        spread = np.array([[item.value - item.low, item.high - item.value] for _, item in known]).reshape(-1, 2).T
        axes.barh(places, values, color=_ACCENT, height=0.6)
        axes.errorbar(values, places, xerr=spread, fmt="none", ecolor=_INK, elinewidth=0.8)
        axes.axvline(0, color=_INK, linewidth=0.6)
        axes.set_yticks(places, [name for name, _ in known], fontsize=8)
        axes.set_xlabel("Spearman's rho; the interval counts overlapping targets as what they are")
    return image.getvalue()


def calibration_plot(oos: OutOfSample, candidate: str, *, bins: int = 10) -> bytes:
    """Mean realised return by decile of prediction, with two standard errors, against the identity.

    The errors are those of independent rows; where targets overlap, they are too small.
    """
    predicted = oos.y_pred[candidate]
    with _figure(f"{candidate}: what was forecast, and what came") as (axes, image):
        axes.set_xlabel("mean predicted log return of the bin (basis points)")
        axes.set_ylabel("mean realised log return (basis points)")
        if np.ptp(predicted) == 0:
            axes.text(0.5, 0.5, "every prediction is the same", ha="center", transform=axes.transAxes, color=_MUTED)
        else:
            parts = np.array_split(np.argsort(predicted, kind="stable"), min(bins, len(predicted)))
            x = 1e4 * np.array([predicted[rows].mean() for rows in parts])
            y = 1e4 * np.array([oos.y_true[rows].mean() for rows in parts])
            error = 2e4 * np.array([oos.y_true[rows].std() / np.sqrt(len(rows)) for rows in parts])
            slope = float(np.cov(predicted, oos.y_true)[0, 1] / predicted.var(ddof=1))
            axes.plot([x.min(), x.max()], [x.min(), x.max()], color=_MUTED, linewidth=1.0, label="perfect")
            axes.errorbar(x, y, yerr=error, fmt="o", color=_ACCENT, capsize=3, markersize=5, label="deciles, ± 2 s.e.")
            axes.axhline(0, color=_INK, linewidth=0.6)
            axes.legend(frameon=False, loc="upper left", title=f"slope {slope:.2f} (1 is calibrated)")
    return image.getvalue()


def loss_plot(recipe: Recipe, oos: OutOfSample, scale: np.ndarray) -> bytes:
    """Mean topic loss of every candidate in every test block, relative to the zero forecast; below 0 is better."""
    zero = topic_loss(recipe, oos.y_true, np.zeros_like(oos.y_true), oos.close, scale)
    folds = np.unique(oos.fold)
    names = [name for name in oos.y_pred if name != "zero"]
    loss = {name: topic_loss(recipe, oos.y_true, oos.y_pred[name], oos.close, scale) for name in names}
    with np.errstate(divide="ignore", invalid="ignore"):  # where the truth never moved, the zero forecast has no loss
        relative = {
            name: np.array(
                [100 * (loss[name][oos.fold == fold].mean() / zero[oos.fold == fold].mean() - 1) for fold in folds]
            )
            for name in names
        }
    # a hopeless baseline would flatten everything else: its bars are cut off and their height written beside them
    learners = [name for name in names if name != "last_value"] or names
    heights = np.abs(np.concatenate([relative[name] for name in learners] or [np.zeros(1)]))
    reach = 1.25 * float(max(heights[np.isfinite(heights)], default=0)) or 1.0
    with _figure(f"{recipe.topic.loss} against the zero forecast, by test block") as (axes, image):
        for index, name in enumerate(names):
            place = folds + 0.8 * ((index + 0.5) / len(names) - 0.5)
            colour = _COLOURS[learners.index(name) % len(_COLOURS)] if name in learners else _MUTED
            axes.bar(
                place,
                np.clip(relative[name], -10 * reach, 10 * reach),
                width=0.8 / len(names),
                color=colour,
                label=name,
            )
            for x, height in zip(place, relative[name], strict=True):
                if abs(height) > reach:
                    axes.annotate(
                        f"{height:+.0f} %",
                        (x, np.sign(height) * reach * 0.97),
                        rotation=90,
                        ha="center",
                        va="top" if height > 0 else "bottom",
                        color="white",
                        fontsize=8,
                    )
        axes.axhline(0, color=_INK, linewidth=0.8)
        axes.set_ylim(-reach, reach)
        axes.set_xticks(folds, [f"block {fold + 1}" for fold in folds])
        axes.set_ylabel("difference of mean loss (%), below 0 is better")
        if names:
            axes.legend(frameon=False, ncols=len(names), loc="upper center", bbox_to_anchor=(0.5, -0.08))
    return image.getvalue()


@contextmanager
def _figure(title: str, height: float = 4.5) -> Iterator[tuple[Axes, io.BytesIO]]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    image = io.BytesIO()
    # without pyplot there is no global state, so steps in threads cannot draw into one another
    figure = Figure(figsize=(9, height), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_title(title, loc="left", color=_INK, fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e4e7eb", linewidth=0.6)
    axes.set_axisbelow(True)
    yield axes, image
    figure.savefig(image, format="png", metadata={"Software": None})


def _dates(axes: Axes) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator()
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
