import struct
from dataclasses import replace

import numpy as np
import pytest

from crucible.validation.plots import calibration_plot, equity_plot, loss_plot, scatter_plot


def size_of(png):
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    return struct.unpack(">II", png[16:24])


def picture(png):
    import io

    from matplotlib.image import imread

    return imread(io.BytesIO(png))[..., :3]


def all_plots(recipe, oos, scale, candidate):
    return [
        equity_plot(oos, candidate), scatter_plot(oos, candidate), calibration_plot(oos, candidate),
        loss_plot(recipe, oos, scale),
    ]  # fmt: skip


def test_plots_are_pictures_of_900_pixels(recipe, make_oos):
    for png in all_plots(recipe, *make_oos(recipe, rows=2000), "ridge"):
        assert size_of(png) == (900, 450)
        assert picture(png).std() > 0.02  # something is drawn


def test_equal_predictions_give_equal_pictures_and_others_others(recipe, make_oos):
    oos, scale = make_oos(recipe, rows=2000)
    first, again = (all_plots(recipe, oos, scale, "ridge") for _ in range(2))
    assert first == again
    other, other_scale = make_oos(recipe, rows=2000, seed=1)
    assert not set(first) & set(all_plots(recipe, other, other_scale, "ridge"))


def test_drawing_leaves_no_figure_behind_in_pyplot(recipe, make_oos):
    all_plots(recipe, *make_oos(recipe, rows=500), "ridge")
    import matplotlib.pyplot as plt

    assert plt.get_fignums() == []


@pytest.mark.parametrize(
    "change",
    [
        lambda oos: {"y_true": np.zeros_like(oos.y_true)},  # a market that stands still
        lambda oos: {"y_pred": {"ridge": np.zeros(len(oos.times))}},  # a model without an opinion
        lambda oos: {"y_pred": {"ridge": oos.y_pred["ridge"], "mean": oos.y_pred["mean"] * 1e6}},  # a loss of infinity
        lambda oos: {"y_pred": {"last_value": oos.y_pred["mean"] * 10, "ridge": oos.y_pred["ridge"]}},
    ],
)
def test_odd_evaluations_are_drawn_all_the_same(recipe, make_oos, change):
    oos, scale = make_oos(recipe, rows=1000)
    for png in all_plots(recipe, replace(oos, **change(oos)), scale, "ridge"):
        assert size_of(png) == (900, 450)


def test_a_handful_of_rows_and_baselines_alone_are_drawn(recipe, make_oos):
    oos, scale = make_oos(recipe, rows=6)
    for png in all_plots(recipe, replace(oos, y_pred={"zero": oos.y_pred["zero"]}), scale, "zero"):
        assert size_of(png) == (900, 450)
    assert size_of(calibration_plot(oos, "ridge")) == (900, 450)
