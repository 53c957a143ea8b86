"""Displays: what is drawn are the numbers that were given, under the user's own names, on any page, and by matplotlib only."""

import re
import subprocess
import sys
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import polars as pl
import pytest

from upstairs import UpstairsError, displays
from upstairs.displays.style import GREY, End, label_ends
from upstairs.svm.path import Path

pytestmark = pytest.mark.usefixtures("closed_figures")


def texts(ax):
    return {text.get_text() for text in ax.texts}


def points(collection):
    """Corners of a band."""
    return collection.get_paths()[0].vertices


def evaluation(kind="pandas", classify=False):
    """What a display reads of an evaluation."""
    rng = np.random.default_rng(0)
    shots, learners = [0, 2, 10], ["forest", "pooled", "mean"]
    at = [(learner, s) for learner in learners for s in shots]
    scores = {
        "learner": [learner for learner, _ in at],
        "shots": [s for _, s in at],
        "error": rng.uniform(1, 2, 9),
        "error_se": rng.uniform(0, 0.1, 9),
    }
    curve = {
        "learner": ["forest"] * 6,
        "n_tasks": [20, 10, 40] * 2,
        "shots": [0] * 3 + [3] * 3,
        "error": [3.0, 4, 2, 2.0, 3, 1],
        "error_se": [0.1] * 6,
    }
    inner = [(learner, s, p) for learner, s in at for p in (0.5, 0.9)]
    share = {"observed": rng.uniform(0.4, 1, 18), "observed_se": np.full(18, 0.02)}
    calibration = {"learner": [i[0] for i in inner], "shots": [i[1] for i in inner]} | share
    calibration |= (
        {"predicted": [i[2] for i in inner], "n_rows": range(1, 19)} if classify else {"nominal": [i[2] for i in inner]}
    )
    table = {"pandas": pd.DataFrame, "polars": pl.DataFrame, "dict": dict}[kind]
    return SimpleNamespace(
        summary=lambda: table(scores), task_curve=lambda: table(curve), calibration=table(calibration),
        own_learners=["forest"], metric="log loss", task_noun="shop", scores=scores, curve=curve,
    )  # fmt: skip


every_results = pytest.mark.parametrize("kind", ["pandas", "polars", "dict"])

# Of an evaluation.


@every_results
def test_learning_curves_are_the_errors(kind):
    found = evaluation(kind)
    display = displays.LearningCurveDisplay.from_evaluation(found).plot()
    error, se = (np.reshape(found.scores[name], (3, 3)) for name in ("error", "error_se"))
    ax = display.ax_
    for line, band, y, width in zip(ax.lines, ax.collections, error, se, strict=True):
        np.testing.assert_array_equal(line.get_xdata(), [0, 2, 10])
        np.testing.assert_array_equal(line.get_ydata(), y)
        np.testing.assert_allclose(sorted(set(points(band)[:, 1])), sorted([*(y - width), *(y + width)]))
    assert [line.get_color() == GREY for line in ax.lines] == [False, True, True]
    assert texts(ax) == {"forest", "pooled", "mean"}
    assert (ax.get_ylabel(), ax.get_xlabel()) == ("log loss", "rows seen of the unseen shop")
    assert [label.get_text() for label in ax.get_xticklabels()] == ["0", "2", "10"]


def test_a_learner_without_an_error_has_a_gap():
    ax = displays.LearningCurveDisplay(["a", "b"], [0, 1, 5], [[1, np.nan, 3], [np.nan] * 3]).plot().ax_
    assert len(ax.lines) == 1
    np.testing.assert_array_equal(ax.lines[0].get_xydata(), [[0, 1], [5, 3]])


@every_results
def test_task_curves_are_those_of_the_nearest_shots(kind):
    found = evaluation(kind)
    display = displays.TaskCurveDisplay.from_evaluation(found).plot()
    assert "after 3 rows" in display.ax_.get_title(loc="left")
    np.testing.assert_array_equal(display.ax_.lines[0].get_xydata(), [[10, 3], [20, 2], [40, 1]])
    found.task_curve = None
    again = displays.TaskCurveDisplay.from_evaluation(found, curve=pd.DataFrame(found.curve), shots=0).plot()
    np.testing.assert_array_equal(again.ax_.lines[0].get_ydata(), [4, 3, 2])
    with pytest.raises(UpstairsError, match="shots=1 is not in the task curve, which has 0, 3"):
        displays.TaskCurveDisplay.from_evaluation(found, curve=found.curve, shots=1)
    with pytest.raises(UpstairsError, match="The table lacks the columns shots; it has"):
        displays.TaskCurveDisplay.from_evaluation(found, curve={k: v for k, v in found.curve.items() if k != "shots"})


@every_results
def test_coverage_stands_beside_what_was_promised(kind):
    found = evaluation(kind)
    ax = displays.CoverageDisplay.from_evaluation(found, learner="pooled").plot().ax_
    observed = np.asarray(found.calibration["observed"]).reshape(3, 3, 2)[1]
    promised, drawn = ax.lines[::2], ax.lines[1::2]
    assert [line.get_ydata()[0] for line in promised] == [0.5, 0.9]
    np.testing.assert_array_equal([line.get_ydata() for line in drawn], observed.T)
    assert texts(ax) == {"50 % intervals", "90 % intervals"}
    assert ax.get_title(loc="left").endswith("shop: pooled")
    with pytest.raises(UpstairsError, match="learner='svm' was not evaluated; there are forest, pooled, mean"):
        displays.CoverageDisplay.from_evaluation(found, learner="svm")


@every_results
def test_reliability_has_a_line_for_each_number_of_shots(kind):
    found = evaluation(kind, classify=True)
    ax = displays.CalibrationDisplay.from_evaluation(found).plot().ax_
    observed = np.asarray(found.calibration["observed"]).reshape(3, 3, 2)[0]
    np.testing.assert_array_equal([line.get_ydata() for line in ax.lines[1:]], observed)
    np.testing.assert_array_equal(ax.lines[1].get_xdata(), [0.5, 0.9])
    np.testing.assert_allclose(np.concatenate([c.get_sizes() for c in ax.collections]), 60 * np.arange(1, 7) / 6)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["0", "2", "10"]


PATH = Path(
    np.array([1.0, 10, 100]), np.array([3.0, 2, 1]), np.array([0.1, 0.5, 2]), np.array([9, 8, 7]), np.array([3, 3, 2]),
    np.array([0.5, 0.3, 0.4]),
)  # fmt: skip


def test_without_a_margin_there_is_no_point_and_a_panel_is_enough():
    display = displays.MetaPathDisplay(PATH.lam, PATH.loss, PATH.norm, PATH.held_out, PATH.n_support, chosen=0, panels=["norm"])
    (ax,) = display.plot().ax_
    assert len(ax.lines) == 1
    np.testing.assert_array_equal(ax.lines[0].get_xydata(), np.column_stack([PATH.lam, PATH.norm]))


# What all share.


def every_display():
    yield displays.LearningCurveDisplay(["forest", "pooled"], [0, 5], [[2, 1], [3, 2]], baselines=["pooled"])
    yield displays.TaskCurveDisplay(["forest"], [10, 20], [[2, 1]], shots=1)
    yield displays.CalibrationDisplay([0, 1], np.full((2, 3), 0.5), np.full((2, 3), 0.5))
    yield displays.CoverageDisplay([0, 1], [0.5, 0.9], np.full((2, 2), 0.7))
    yield displays.TaskPredictionDisplay(
        "price", "sales < 5", [1, 2], [0, 1], [1, 2], [0, 0], [3, 3], x_support=[1], y_support=[1]
    )
    yield displays.EffectDisplay("kind", "sales", ["a", "b"], [1, 2], [[1, 3]])
    yield displays.TaskMapDisplay(np.eye(3, 2), ["a", "b", "c"], [1, 2, 3])
    yield displays.MetaPathDisplay(PATH.lam, PATH.loss, PATH.norm, PATH.held_out, PATH.n_support, chosen=10, budget=2)


each = pytest.mark.parametrize("display", list(every_display()), ids=lambda display: type(display).__name__)


@each
def test_it_draws_where_it_is_told_to(display):
    from matplotlib.figure import Figure

    figure = Figure()
    axes = display.make_axes(figure)
    assert display.plot(axes, ink="#123456", title="Mine") is display
    assert (display.ax_ is axes, display.figure_) == (True, figure)
    first = np.ravel(axes)[0]
    assert first.get_title(loc="left") == "Mine"
    assert {first.xaxis.label.get_color(), first.yaxis.label.get_color(), first._left_title.get_color()} == {"#123456"}
    assert len(first.lines) + len(first.collections) > 0
    assert display.plot(title="").ax_ is not axes
    with pytest.raises(UpstairsError, match=r"^ax must .*Axes"):
        display.plot("here")


@each
def test_it_says_where_matplotlib_is_missing(display, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for draw in (display.plot, lambda: displays.to_svg(display)):
        with pytest.raises(
            UpstairsError, match=r'^Displays are drawn by the package matplotlib: pip install "upstairs\[report\]"\.$'
        ):
            draw()


@each
def test_svg_is_for_any_page(display):
    svg, titled = displays.to_svg(display), displays.to_svg(display, title="Another", ink="#0f0", description="A <b>")
    root = ElementTree.fromstring(svg)
    assert root.attrib["role"] == "img"
    assert root.attrib["aria-label"] == display.title
    assert "currentColor" in svg
    assert "#010203" not in svg
    assert "'DejaVu Sans', Verdana, sans-serif" in svg
    words = {"".join(text.itertext()) for text in root.iter("{http://www.w3.org/2000/svg}text")}
    assert display.title in words
    ids = [set(re.findall(r' id="([^"]+)"', one)) for one in (svg, titled)]
    assert not ids[0] & ids[1]
    assert set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', svg)) and len(ids[0]) == svg.count(' id="')
    used = {name for pair in re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', svg) for name in pair if name}
    assert used == ids[0]
    assert ElementTree.fromstring(titled).attrib["aria-label"] == "A <b>"
    assert "#0f0" in titled


def test_the_same_numbers_are_the_same_svg():
    display = next(every_display())
    assert displays.to_svg(display) == displays.to_svg(display)


def test_labels_keep_apart_and_in_order():
    import matplotlib.pyplot as plt

    ax = plt.figure().subplots()
    heights = [0.5, 0.51, 0.505, 0.9]
    ax.plot([0, 1], [[0] * 4, heights])
    label_ends(ax, [End(1, y, f"{y}", "k") for y in heights], "k")
    placed = {text.get_text(): text.xyann[1] for text in ax.texts}
    assert sorted(placed, key=placed.get) == ["0.5", "0.505", "0.51", "0.9"]
    assert np.diff(sorted(placed.values())).min() > 0.03
    assert placed["0.9"] == pytest.approx(ax.transAxes.inverted().transform(ax.transData.transform((1, 0.9)))[1])


def test_matplotlib_is_loaded_when_something_is_drawn():
    code = "import sys, upstairs; upstairs.displays.EffectDisplay; print('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
