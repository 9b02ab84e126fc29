"""Plots of an evaluation, as PNG bytes."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from crucible.recipe import Recipe
from crucible.validation.losses import topic_loss
from crucible.validation.predictions import OutOfSample

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_INK, _MUTED, _ACCENT = "#1f2933", "#8a94a0", "#0b6bcb"
_COLOURS = ("#0b6bcb", "#d9480f", "#2b8a3e", "#862e9c", "#b08900", "#495057")


def equity_plot(oos: OutOfSample, candidate: str) -> bytes:
    """Cumulative log return of following the sign of each prediction, against holding; no costs."""
    predicted = oos.y_pred[candidate]
    hit = np.sign(predicted) == np.sign(oos.y_true)
    moved = oos.y_true != 0
    with _figure(f"{candidate}: following the forecast's sign, out of sample") as (axes, image):
        axes.plot(oos.times, np.cumsum(np.sign(predicted) * oos.y_true), color=_ACCENT, linewidth=1.4, label=candidate)
        axes.plot(oos.times, np.cumsum(oos.y_true), color=_MUTED, linewidth=1.0, label="always long")
        axes.axhline(0, color=_INK, linewidth=0.6)
        axes.set_ylabel("cumulative log return of all forecasts")
        axes.set_xlabel(
            f"prediction time (UTC) · direction right in {hit[moved].mean():.2%} of {moved.sum():,} forecasts"
        )
        axes.legend(frameon=False, loc="upper left")
        axes.figure.autofmt_xdate()
    return image.getvalue()


def calibration_plot(oos: OutOfSample, candidate: str, *, bins: int = 10) -> bytes:
    """Mean realised return by decile of prediction, with two standard errors, against the identity."""
    predicted = oos.y_pred[candidate]
    with _figure(f"{candidate}: what was forecast, and what came") as (axes, image):
        axes.set_xlabel("mean predicted log return of the bin (basis points)")
        axes.set_ylabel("mean realised log return (basis points)")
        if np.ptp(predicted) == 0:
            axes.text(0.5, 0.5, "every prediction is the same", ha="center", transform=axes.transAxes, color=_MUTED)
        else:
            parts = np.array_split(np.argsort(predicted, kind="stable"), bins)
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
    with _figure(f"{recipe.topic.loss} against the zero forecast, by test block") as (axes, image):
        for index, name in enumerate(names):
            loss = topic_loss(recipe, oos.y_true, oos.y_pred[name], oos.close, scale)
            relative = [100 * (loss[oos.fold == fold].mean() / zero[oos.fold == fold].mean() - 1) for fold in folds]
            place = folds + 0.8 * ((index + 0.5) / len(names) - 0.5)
            axes.bar(place, relative, width=0.8 / len(names), color=_COLOURS[index % len(_COLOURS)], label=name)
        axes.axhline(0, color=_INK, linewidth=0.8)
        # the worst baseline would otherwise flatten everything else
        axes.set_yscale("symlog", linthresh=5)
        axes.set_xticks(folds, [f"block {fold + 1}" for fold in folds])
        axes.set_ylabel("difference of mean loss (%), below 0 is better")
        axes.legend(frameon=False, ncols=len(names), loc="upper center", bbox_to_anchor=(0.5, -0.08))
    return image.getvalue()


@contextmanager
def _figure(title: str) -> Iterator[tuple[Axes, io.BytesIO]]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    image = io.BytesIO()
    # without pyplot there is no global state, so steps in threads cannot draw into one another
    figure = Figure(figsize=(9, 4.5), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_title(title, loc="left", color=_INK, fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e4e7eb", linewidth=0.6)
    axes.set_axisbelow(True)
    yield axes, image
    figure.savefig(image, format="png", metadata={"Software": None})
