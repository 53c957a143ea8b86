"""Displays of models: what they compute is what the model answers, for tables of any kind, numbers and classes."""

import re

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from conftest import make_table
from every_learner import CLASSIFIERS, REGRESSORS
from upstairs import MetaSVR, UpstairsError, displays

pytestmark = pytest.mark.usefixtures("closed_figures")

N_TASKS, ROWS = 12, 10
every_table = pytest.mark.parametrize("kind", ["pandas", "polars", "arrow"])
classify_or_not = pytest.mark.parametrize("classify", [False, True], ids=["numbers", "classes"])


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


@pytest.mark.parametrize("learner", ["hierarchical-ridge", "shrunk-mean"])
@classify_or_not
def test_a_map_has_tasks_where_their_predictions_put_them(learner, classify):
    meta = fitted("pandas", classify, learner)
    display = displays.TaskMapDisplay.from_estimator(meta, n_labels=3).plot()
    assert display.names == meta.known_.ids.tolist()
    np.testing.assert_allclose(display.positions, meta.task_map()[["x", "y"]])
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
    assert display.value_name == "mean price"
    kinds, days = (displays.TaskMapDisplay.from_estimator(meta, name) for name in ("kind", "day"))
    shown = X["kind"].groupby(TASK).agg(lambda kind: kind.value_counts().sort_index().idxmax())
    assert (kinds.values.tolist(), kinds.value_name) == (shown.tolist(), "kind")
    mean = pd.to_datetime(X["day"]).astype("datetime64[us]").groupby(TASK).mean().to_numpy().astype("M8[D]")
    assert (days.values == mean).all()
    assert re.match(r"20\d\d-", days.plot().figure_.axes[1].get_yticklabels()[0].get_text())
    regions = np.array(["north", "south"])[np.arange(N_TASKS) % 2]
    ax = displays.TaskMapDisplay.from_estimator(meta, regions, value_name="region").plot().ax_
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["north", "south"]
    odd = displays.TaskMapDisplay(np.eye(3, 2), ["a", "b", "c"], oddness=[0, 5, 1], n_labels=1).plot()
    assert texts(odd.ax_) == {"b"}


def test_the_path_of_a_machine_is_drawn_with_its_point_and_budget():
    X = columns()
    meta = MetaSVR(kernel="linear", loss_budget=0.001, random_state=0).fit(pd.DataFrame(X), target(X, False), groups=TASK)
    path, display = meta.meta_path(), displays.MetaPathDisplay.from_estimator(meta)
    np.testing.assert_allclose(display.lam, path.lam)
    display.plot()
    assert [ax.get_ylabel() for ax in display.ax_][1:] == ["mean loss Ē", "‖θ‖", "support vectors"]
    for ax, values in zip(display.ax_, (path.held_out, path.loss, path.norm, path.n_support), strict=True):
        np.testing.assert_array_equal(ax.lines[0].get_ydata(), values)
        assert ax.lines[1].get_xdata()[0] == pytest.approx(meta.lambda_)
    (x,), (y,) = display.ax_[2].lines[2].get_data()
    assert (x, y) == (pytest.approx(meta.lambda_), pytest.approx(np.linalg.norm(meta.theta_), rel=0.1))
    assert display.ax_[0].get_title(loc="left") == str(meta.info_)
    assert texts(display.ax_[1]) == {"budget ε = 0.001"}
    assert display.ax_[1].lines[-1].get_ydata()[0] == 0.001


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
    "a map by no column": (lambda m, X: displays.TaskMapDisplay.from_estimator(m, "kin"), "values='kin' .* mean 'kind'"),
    "a map by too few": (
        lambda m, X: displays.TaskMapDisplay.from_estimator(m, [1, 2]),
        r"shape \(2,\), but the model knows 12",
    ),
    "no path": (lambda m, X: displays.MetaPathDisplay.from_estimator(m), "HierarchicalRidgeRegressor has no path"),
    "a strange panel": (
        lambda m, X: displays.MetaPathDisplay([1], [1], [1], [1], [1], panels=["gap"]),
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
    no_price = X.assign(price=np.nan)
    with pytest.raises(UpstairsError, match="'price' has no value in any query row"):
        displays.TaskPredictionDisplay.from_estimator(fitted(), X[:4], target(columns(), False)[:4], no_price)
    with pytest.raises(UpstairsError, match="at least three known tasks, but this model knows 2"):
        displays.TaskMapDisplay.from_estimator(meta)
