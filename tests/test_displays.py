"""Displays: what is drawn are the numbers that were given, under the user's own names; and what they compute of a model."""

import re
import subprocess
import sys
from types import SimpleNamespace
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone

from conftest import make_table
from every_learner import CLASSIFIERS, REGRESSORS
from upstairs import MetaSVR, UpstairsError, UpstairsWarning, displays
from upstairs.displays.style import GREY, label_ends
from upstairs.svm.path import Path

matplotlib.use("Agg")

N_TASKS, ROWS = 12, 10
every_table = pytest.mark.parametrize("kind", ["pandas", "polars", "arrow"])
classify_or_not = pytest.mark.parametrize("classify", [False, True], ids=["numbers", "classes"])


@pytest.fixture(autouse=True)
def _close_figures():
    import matplotlib.pyplot as plt

    yield
    plt.close("all")


def columns(n_tasks=N_TASKS, seed=0):
    rng = np.random.default_rng(seed)
    n = n_tasks * ROWS
    price = rng.normal(size=n)
    day = np.datetime64("2024-01-01") + rng.integers(0, 300, n).astype("m8[D]")
    return {"price": price, "kind": rng.choice(["corner", "mall", "street"], n), "day": day.astype("M8[us]")}


def target(X, classify, seed=1):
    rng = np.random.default_rng(seed)
    level = np.repeat(rng.normal(0, 2, len(X["price"]) // ROWS), ROWS)
    y = level - 2 * X["price"] + (X["kind"] == "mall") + 0.1 * rng.normal(size=len(level))
    return np.where(y > 0, "yes", "no") if classify else y


TASK = np.array([f"shop {t:02}" for t in range(N_TASKS)]).repeat(ROWS)


def fitted(kind="pandas", classify=False, learner="hierarchical-ridge"):
    X = columns()
    meta = clone((CLASSIFIERS if classify else REGRESSORS)[learner])
    return meta.fit(make_table(kind, X), target(X, classify), groups=TASK)


def some_rows(start, stop, classify, kind):
    """Rows of one new task as a table, and their target."""
    X = columns(1, seed=7)
    y = target(X, classify, seed=8)[start:stop]
    return make_table(kind, {name: values[start:stop] for name, values in X.items()}), y


def answers(model, X, classify, **groups):
    return np.asarray(model.predict_proba(X, **groups))[:, -1] if classify else np.asarray(model.predict(X, **groups))


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


# Of a model.


@every_table
@classify_or_not
@pytest.mark.parametrize("feature", ["price", "day", "kind"])
def test_one_task_is_drawn_as_it_is_predicted(kind, classify, feature):
    meta = fitted(kind, classify)
    (support, y_support), (query, y_query) = some_rows(0, 4, classify, kind), some_rows(4, 10, classify, kind)
    display = displays.TaskPredictionDisplay.from_estimator(
        meta, support, y_support, query, y_query, feature=feature, target="sales"
    )
    model, x = meta.adapt(support, y_support), np.asarray(columns(1, seed=7)[feature])
    at = np.unique(x[4:])
    for curve, one in ((display.shared, meta), (display.adapted, model)):
        of_rows = answers(one, query, classify)
        np.testing.assert_allclose(curve, [of_rows[x[4:] == value].mean() for value in at])
    seen = [value == "yes" for value in y_support] if classify else y_support
    np.testing.assert_array_equal(display.x_support, x[:4])
    np.testing.assert_array_equal(display.y_support, seen)
    assert (display.lower is None) == classify
    ax = display.plot().ax_
    drawn = [line.get_ydata() for line in ax.lines]
    for values in (display.y_query, display.y_support, display.shared, display.adapted):
        assert any(len(values) == len(line) and np.array_equal(values, line) for line in drawn)
    assert ax.get_xlabel() == feature
    assert ax.get_ylabel() == ("probability that sales is yes" if classify else "sales")
    if feature == "kind":
        assert [label.get_text() for label in ax.get_xticklabels()] == at.tolist()
    if not classify and feature == "price":
        lower, upper = np.asarray(model.predict_interval(query)).T
        assert np.isin(np.round([*lower, *upper], 9), np.round(points(ax.collections[0])[:, 1], 9)).all()
        assert "90 % interval" in [text.get_text() for text in ax.get_legend().get_texts()]


def test_a_task_of_many_rows_is_averaged_over_neighbours():
    X = columns()
    meta, y = fitted(), pd.Series(target(X, False), name="sales")
    table = pd.DataFrame(X)
    table.loc[3, "price"] = np.nan
    display = displays.TaskPredictionDisplay.from_estimator(meta, table[:5], y[:5], table, feature="price")
    order = np.argsort(table["price"].to_numpy())[:-1]
    assert len(display.x) == 19  # 119 rows that have a price, by six
    first = order[np.arange(119) * 19 // 119 == 0]
    assert display.x[0] == pytest.approx(X["price"][first].mean())
    assert display.shared[0] == pytest.approx(np.asarray(meta.predict(table))[first].mean())
    assert display.target == "sales"
    assert len(display.x_query) == 0


@pytest.mark.parametrize("kind", ["pandas", "ndarray"])
def test_a_single_column_has_a_curve(kind):
    X = columns()
    meta = clone(REGRESSORS["hierarchical-ridge"]).fit(make_table(kind, {"price": X["price"]}), target(X, False), groups=TASK)
    support, query = (make_table(kind, {"price": X["price"][some]}) for some in (slice(0, 4), slice(4, 10)))
    display = displays.TaskPredictionDisplay.from_estimator(meta, support, target(X, False)[:4], query)
    np.testing.assert_allclose(display.x, np.linspace(X["price"][:10].min(), X["price"][:10].max(), 60))
    expected = meta.adapt(support, target(X, False)[:4]).predict(make_table(kind, {"price": display.x}))
    np.testing.assert_allclose(display.adapted, expected)
    assert display.feature == ("x0" if kind == "ndarray" else "price")


@pytest.mark.parametrize("kind", ["pandas", "polars", "arrow", "pandas-nullable"])
@classify_or_not
@pytest.mark.parametrize("feature", ["price", "day", "kind"])
def test_effects_are_predictions_with_a_column_set(kind, classify, feature):
    meta, X = fitted(kind, classify), columns()
    models = meta.adapt_tasks(make_table(kind, X), target(X, classify), groups=TASK)
    display = displays.EffectDisplay.from_estimator(meta, make_table(kind, X), feature, models=models, target="sales")
    drawn = np.random.default_rng(0).permutation(len(TASK))[:100]
    rows = {name: values[drawn] for name, values in X.items()}
    for g in (0, len(display.x) - 1):
        table = make_table(kind, rows | {feature: np.full(100, display.x[g], dtype=X[feature].dtype)})
        assert display.shared[g] == pytest.approx(answers(meta, table, classify).mean(), abs=1e-5)
        assert display.tasks[2, g] == pytest.approx(answers(models["shop 02"], table, classify).mean(), abs=1e-5)
    ax = display.plot().ax_
    np.testing.assert_array_equal(ax.lines[-1].get_ydata(), display.shared)
    np.testing.assert_array_equal([line.get_ydata() for line in ax.lines[:-1]], display.tasks)
    assert ax.get_xlabel() == feature
    assert ax.get_title(loc="left") == f"Effect of {feature}, shared by all tasks and in 12 of them"


def test_effects_in_known_tasks_are_theirs():
    meta, X = fitted(), pd.DataFrame(columns())
    display = displays.EffectDisplay.from_estimator(meta, X, "kind")
    assert display.names == sorted(set(TASK))
    mall = X.iloc[np.random.default_rng(0).permutation(len(X))[:100]].assign(kind="mall")
    expected = np.asarray(meta.predict(mall, groups=np.full(100, "shop 03"))).mean()
    assert display.tasks[3, display.x.tolist().index("mall")] == pytest.approx(expected)


@pytest.mark.parametrize("learner", ["hierarchical-ridge", "shrunk-mean", "svm"])
@classify_or_not
def test_a_map_has_tasks_where_their_predictions_put_them(learner, classify):
    meta = fitted("pandas", classify, learner)
    display = displays.TaskMapDisplay.from_estimator(meta, n_labels=3).plot()
    assert display.names == meta.known_.ids.tolist()
    points = display.ax_.collections[0]
    np.testing.assert_array_equal(points.get_offsets(), display.positions)
    np.testing.assert_allclose(points.get_array(), display.values)
    assert len(texts(display.ax_)) == 3
    assert texts(display.ax_) <= set(display.names)
    if learner == "shrunk-mean" and not classify:  # tasks differ by one number
        assert display.shares == pytest.approx((1, 0), abs=1e-6)
        assert abs(np.corrcoef(display.positions[:, 0], display.values)[0, 1]) > 0.95


def test_a_map_is_coloured_by_what_is_asked_for():
    meta, X = fitted(), pd.DataFrame(columns())
    display = displays.TaskMapDisplay.from_estimator(meta, "price")
    np.testing.assert_allclose(display.values, X["price"].groupby(TASK).mean(), atol=1e-6)
    regions = np.array(["north", "south"])[np.arange(N_TASKS) % 2]
    ax = displays.TaskMapDisplay.from_estimator(meta, regions, value_name="region").plot().ax_
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["north", "south"]
    odd = displays.TaskMapDisplay(np.eye(3, 2), ["a", "b", "c"], oddness=[0, 5, 1], n_labels=1).plot()
    assert texts(odd.ax_) == {"b"}


PATH = Path(
    np.array([1.0, 10, 100]), np.array([3.0, 2, 1]), np.array([0.1, 0.5, 2]), np.array([9, 8, 7]), np.array([3, 3, 2]),
    np.array([0.5, 0.3, 0.4]),
)  # fmt: skip


def test_the_path_of_a_machine_is_drawn_with_its_point():
    meta = fitted("pandas", False, "svm")
    path, display = meta.meta_path(), displays.MetaPathDisplay.from_estimator(meta)
    np.testing.assert_allclose(display.lam, path.lam)
    display.plot()
    assert [ax.get_ylabel() for ax in display.ax_][1:] == ["mean loss Ē", "‖θ‖", "support vectors"]
    for ax, values in zip(display.ax_, (path.held_out, path.loss, path.norm, path.n_support), strict=True):
        np.testing.assert_array_equal(ax.lines[0].get_ydata(), values)
        assert ax.lines[1].get_xdata()[0] == pytest.approx(meta.lambda_)
    (x,), (y,) = display.ax_[2].lines[2].get_data()
    assert (x, y) == (pytest.approx(meta.lambda_), pytest.approx(np.linalg.norm(meta.theta_), rel=1e-2))
    assert display.ax_[0].get_title(loc="left") == str(meta.info_)


def test_the_budget_is_a_line_and_a_margin_without_end_has_no_point():
    X = columns()
    y = target(X, False)
    meta = MetaSVR(kernel="linear", loss_budget=0.2, random_state=0).fit(pd.DataFrame(X), y, groups=TASK)
    display = displays.MetaPathDisplay.from_estimator(meta, panels=["loss"]).plot()
    (ax,) = display.ax_
    assert "budget ε = 0.2" in texts(ax)
    assert ax.lines[-1].get_ydata()[0] == 0.2
    with pytest.warns(UpstairsWarning, match="met by θ = 0"):
        meta = MetaSVR(kernel="linear", loss_budget=1e6, random_state=0).fit(pd.DataFrame(X), y, groups=TASK)
    ax = displays.MetaPathDisplay.from_estimator(meta, panels=["norm"]).plot().ax_[0]
    assert len(ax.lines) == 1


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
    assert svg == displays.to_svg(display)
    assert root.attrib["role"] == "img"
    assert root.attrib["aria-label"] == display.title
    assert "currentColor" in svg
    assert "#010203" not in svg
    words = {"".join(text.itertext()) for text in root.iter("{http://www.w3.org/2000/svg}text")}
    assert display.title in words
    ids = [set(re.findall(r' id="([^"]+)"', one)) for one in (svg, titled)]
    assert not ids[0] & ids[1]
    assert set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', svg)) and len(ids[0]) == svg.count(' id="')
    used = {name for pair in re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', svg) for name in pair if name}
    assert used == ids[0]
    assert ElementTree.fromstring(titled).attrib["aria-label"] == "A <b>"
    assert "#0f0" in titled


def test_labels_keep_apart_and_in_order():
    import matplotlib.pyplot as plt

    ax = plt.figure().subplots()
    heights = [0.5, 0.51, 0.505, 0.9]
    ax.plot([0, 1], [[0] * 4, heights])
    from upstairs.displays.style import End

    label_ends(ax, [End(1, y, f"{y}", "k") for y in heights], "k")
    placed = {text.get_text(): text.xyann[1] for text in ax.texts}
    assert sorted(placed, key=placed.get) == ["0.5", "0.505", "0.51", "0.9"]
    assert np.diff(sorted(placed.values())).min() > 0.03
    assert placed["0.9"] == pytest.approx(ax.transAxes.inverted().transform(ax.transData.transform((1, 0.9)))[1])


def test_matplotlib_is_loaded_when_something_is_drawn():
    code = "import sys, upstairs; upstairs.displays.EffectDisplay; print('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


MISTAKES = {
    "a misspelt feature": (
        lambda m, X: displays.EffectDisplay.from_estimator(m, X, "prise"),
        r"'prise' .* Did you mean 'price'\?",
    ),
    "a strange feature": (
        lambda m, X: displays.EffectDisplay.from_estimator(m, X, 9),
        r"feature=9 .* There are price, kind, day",
    ),
    "a class of numbers": (lambda m, X: displays.EffectDisplay.from_estimator(m, X, label="yes"), "'yes' names a class, but"),
    "one value": (lambda m, X: displays.EffectDisplay.from_estimator(m, X[:1], "price"), "two values at least"),
    "a map by text": (lambda m, X: displays.TaskMapDisplay.from_estimator(m, "kind"), "'kind' is no column of numbers"),
    "a map by too few": (
        lambda m, X: displays.TaskMapDisplay.from_estimator(m, [1, 2]),
        r"shape \(2,\), but the model knows 12",
    ),
    "no path": (lambda m, X: displays.MetaPathDisplay.from_estimator(m), "HierarchicalRidgeRegressor has no path"),
    "a strange panel": (
        lambda m, X: displays.MetaPathDisplay(*PATH[:3], PATH.held_out, PATH.n_support, panels=["gap"]),
        "panels names 'gap', but there are held_out, loss, norm, n_support",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_get_one_sentence(mistake):
    call, message = MISTAKES[mistake]
    with pytest.raises(UpstairsError, match=message):
        call(fitted(), pd.DataFrame(columns()))


def test_a_class_that_is_none_and_a_map_of_nothing():
    X = pd.DataFrame(columns())
    with pytest.raises(UpstairsError, match="label='maybe' is none of the classes: no, yes"):
        displays.EffectDisplay.from_estimator(fitted(classify=True), X, label="maybe")
    with pytest.raises(UpstairsError, match="PooledRegressor predicts all tasks alike"):
        displays.TaskMapDisplay.from_estimator(fitted(learner="pooled"))
    meta = clone(REGRESSORS["shrunk-mean"]).fit(X[:20], target(columns(), False)[:20], groups=TASK[:20])
    with pytest.raises(UpstairsError, match="at least three known tasks, but this model knows 2"):
        displays.TaskMapDisplay.from_estimator(meta)
