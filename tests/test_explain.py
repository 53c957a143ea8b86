"""The borrowing receipt, novelty, nearest tasks and suggested rows, on tasks whose truth is known."""

import json
import re

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest
from scipy import stats

import upstairs
from every_learner import SMALL_FOREST
from shop import fit_model, run, sales
from test_persistence import DATA
from upstairs import MetaRandomForestRegressor, UpstairsError, novelty
from upstairs.baselines.hierarchical_ridge import HierarchicalRidgeRegressor
from upstairs.baselines.pooled import PooledRegressor
from upstairs.baselines.shrunk_mean import ShrunkMeanClassifier, ShrunkMeanRegressor
from upstairs.baselines.task_ridge import TaskRidgeRegressor
from upstairs.datasets import make_families, make_heavy_tails, make_random_slopes


def population(n_tasks, n_rows, seed, slopes=(1.0, -0.7), level=0.0, noise=0.5):
    """Lines with a level and slopes of each task's own; by default the population that the models below learn."""
    rng = np.random.default_rng(seed)
    task = np.repeat(np.arange(n_tasks), n_rows)
    X = rng.normal(size=(len(task), 2))
    own = np.array(slopes) + 0.3 * rng.normal(size=(n_tasks, 2))
    y = level + 0.8 * rng.normal(size=n_tasks)[task] + (X * own[task]).sum(axis=1) + noise * rng.normal(size=len(task))
    return X, y, task


OTHERS = {
    "slopes run the other way": {"slopes": (-1.0, 0.7)},
    "columns are swapped": {"slopes": (-0.7, 1.0)},
    "level is far off": {"level": 8.0},
    "noise is larger": {"noise": 3.0},
}


@pytest.fixture(scope="module")
def ridge():
    X, y, task = population(200, 20, seed=0)
    return HierarchicalRidgeRegressor(random_state=0).fit(X, y, groups=task)


@pytest.fixture(scope="module")
def forest():
    X, y, task = population(110, 12, seed=0)
    return MetaRandomForestRegressor(random_state=0, n_folds=3, **SMALL_FOREST).fit(X, y, groups=task)


@pytest.fixture(scope="module")
def shrunk():
    X, y, task = population(200, 20, seed=0, slopes=(0.0, 0.0))
    return ShrunkMeanRegressor(random_state=0).fit(X, y, groups=task)


# How much is borrowed.


@pytest.mark.parametrize("s", [1, 3, 10])
def test_a_random_intercept_borrows_what_theory_says(shrunk, s):
    X, y, _ = population(1, 20, seed=1)
    noise, level = shrunk.info_
    receipt = shrunk.adapt(X[:s], y[:s]).explain(X[10:12])
    np.testing.assert_allclose(receipt.borrowed, noise / (noise + s * level), rtol=1e-9)
    np.testing.assert_allclose(receipt.borrowed_after(5), noise / (noise + (s + 5) * level), rtol=1e-9)


def test_a_model_with_columns_borrows_as_much_where_only_levels_differ():
    rng = np.random.default_rng(0)
    task = np.repeat(np.arange(200), 20)
    X = rng.normal(size=(4000, 2))
    y = X[:, 0] + 0.6 * rng.normal(size=200)[task] + rng.normal(size=4000)
    meta = HierarchicalRidgeRegressor(random_state=0).fit(X, y, groups=task)
    for s in (1, 4, 12):
        borrowed = np.mean([meta.adapt(X[r : r + s], y[r : r + s]).explain(X[:9]).borrowed.mean() for r in range(0, 400, 20)])
        assert borrowed == pytest.approx(1 / (1 + s * 0.36), abs=0.06)


@pytest.mark.parametrize("labels", [["a", "b"], ["a", "b", "c"]], ids=["two", "three"])
def test_classes_borrow_what_a_dirichlet_does(labels):
    X, y, task = population(100, 20, seed=0)
    label = np.array(labels)[np.searchsorted(np.quantile(y, np.arange(1, len(labels)) / len(labels)), y)]
    meta = ShrunkMeanClassifier(random_state=0).fit(X, label, groups=task)
    noise, level = meta.info_
    meta.state_ = meta.state_._replace(calibration=meta.state_.calibration._replace(temperature=np.ones(6)))
    explained = meta.adapt(X[:6], label[:6]).explain(X[:2])
    for receipt in explained.values() if isinstance(explained, dict) else [explained]:
        assert receipt.unit == "logit"
        np.testing.assert_allclose(receipt.borrowed, noise / (noise + 6 * level), rtol=1e-4)


def test_pooled_borrows_everything_and_a_model_of_the_task_alone_nothing():
    X, y, task = population(30, 20, seed=0)
    for learner, borrowed in ((PooledRegressor, 1.0), (TaskRidgeRegressor, 0.0)):
        model = learner(random_state=0).fit(X[200:], y[200:], groups=task[200:]).adapt(X[:10], y[:10])
        np.testing.assert_allclose(model.explain(X[10:12]).borrowed, borrowed, atol=2e-3)


def test_rows_that_may_come_are_foreseen(ridge):
    X, y, task = population(30, 20, seed=2)
    foreseen, true = [], []
    for rows in (np.flatnonzero(task == t) for t in range(30)):
        foreseen.append(ridge.adapt(X[rows[:2]], y[rows[:2]]).explain(X[rows[10:]]).borrowed_after(5).mean())
        true.append(ridge.adapt(X[rows[:7]], y[rows[:7]]).explain(X[rows[10:]]).borrowed.mean())
    assert np.mean(foreseen) == pytest.approx(np.mean(true), abs=0.02)


# In a table and in words.


def test_the_table_adds_up_in_the_units_of_the_target(forest):
    pandas = pytest.importorskip("pandas")
    X, y, _ = population(1, 20, seed=3)
    frame = pandas.DataFrame(X[6:9], index=[7, 8, 9], columns=["x0", "x1"])
    model = forest.adapt(X[:6], y[:6])
    receipt, mean = model.explain(frame), model.predict(frame)
    table = receipt.to_table()
    assert list(table.index) == [7, 8, 9]
    parts = ["base", "shared: x0", "shared: x1", "level", "scale", "own: x0", "own: x1", "local"]
    assert list(table.columns) == [*parts, "total", "borrowed"]
    np.testing.assert_allclose(table[parts].sum(axis=1), table["total"], atol=1e-9)
    assert receipt.unit == "y"
    np.testing.assert_allclose(table["total"], mean, atol=1e-6)


@pytest.mark.parametrize("module", ["pandas", "polars", "pyarrow"])
def test_tables_come_in_the_users_kind(module):
    kind = pytest.importorskip(module)
    table = (lambda columns: kind.table(columns)) if module == "pyarrow" else kind.DataFrame
    X, y, task = population(30, 12, seed=0)
    X = table({"a": X[:, 0], "b": X[:, 1]})
    meta = HierarchicalRidgeRegressor(random_state=0).fit(X, y, groups=[f"store {t:02}" for t in task])
    model = meta.adapt(X[:12], y[:12])
    for answer in (model.explain(X[4:6]).to_table(), meta.nearest_tasks(model, 3), meta.task_map()):
        assert type(answer) is type(X)
    nearest = meta.nearest_tasks(model, 3)
    assert np.asarray(nearest["task"])[0] == "store 00"  # whose rows these are
    assert np.diff(np.asarray(nearest["distance"])).min() >= 0
    assert type(meta.adapt_tasks(X, y, groups=task).novelty()) is type(X)


def test_in_words(ridge):
    X, y, _ = population(1, 20, seed=4)
    told = repr(ridge.adapt(X[:4], y[:4]).explain(X[4:6]))
    assert "2 predictions after 4 rows" in told
    assert "% of it is borrowed from other tasks" in told
    assert "with 5 more rows about" in told
    zero_shot = ridge.explain(X[:1]).sentences(3)
    assert zero_shot[-1].startswith("No row of this task was seen: all is borrowed from other tasks; with 3 rows about")
    assert ridge.explain(X[:1])._repr_html_().count("<li>") == len(zero_shot)
    with pytest.raises(UpstairsError, match="n_more must be 1 or more rows, but is 0"):
        ridge.explain(X[:1]).borrowed_after(0)


def test_the_row_that_moved_a_prediction_most_is_named(shrunk):
    X, y = np.zeros((3, 2)), np.array([0.0, 0.0, 9.0])
    moved = shrunk.adapt(X, y).predict(X[:1]) - shrunk.adapt(X[:2], y[:2]).predict(X[:1])
    last = shrunk.adapt(X, y).explain(X[:1]).sentences()[-1]
    assert last == f"Row 2 of the support (counted from 0) moved it most: by +{moved[0]:.3g}."


def test_a_log_target_is_explained_in_logs():
    X, y, task, _ = make_heavy_tails(n_tasks=24, n_rows=12, random_state=0)
    meta = MetaRandomForestRegressor(random_state=0, n_folds=2, **SMALL_FOREST).fit(X[12:], y[12:], groups=task[12:])
    receipt = meta.adapt(X[:5], y[:5]).explain(X[5:7])
    assert receipt.unit == "log y"
    assert "in log y" in receipt.sentences()[0]
    median = meta.adapt(X[:5], y[:5]).predict_quantiles(X[5:7], [0.5])[:, 0]
    total = receipt.to_table()[:, -2]
    np.testing.assert_allclose(total, np.log(median + meta.state_.scale.shift), atol=1e-6)


def test_counts_are_explained_in_logs_of_one_more():
    rng = np.random.default_rng(0)
    task = np.repeat(np.arange(24), 12)
    X = rng.normal(size=(288, 2))
    y = rng.poisson(np.exp(X[:, 0] + rng.normal(size=24)[task])).astype(float)
    meta = MetaRandomForestRegressor(random_state=0, n_folds=2, **SMALL_FOREST).fit(X[12:], y[12:], groups=task[12:])
    receipt = meta.adapt(X[:5], y[:5]).explain(X[5:7])
    assert (receipt.unit, meta.state_.scale.log) == ("log(y + 1)", True)
    assert "in log(y + 1): " in receipt.sentences()[0]


# Is this task like the others?


@pytest.mark.parametrize("name", ["ridge", "forest", "shrunk"])
@pytest.mark.parametrize("s", [2, 7, 10])
def test_p_values_of_ordinary_tasks_are_uniform(name, s, request):
    meta = request.getfixturevalue(name)
    X, y, task = population(300, s, seed=10 + s, slopes=(0.0, 0.0) if name == "shrunk" else (1.0, -0.7))
    p = np.asarray(meta.adapt_tasks(X, y, groups=task).novelty()["p_value"])
    n = 1 / (1 / len(p) + 1 / meta.known_.n_tasks)  # two samples are compared: these tasks, and the known ones
    assert stats.kstwobign.sf(np.sqrt(n) * stats.kstest(p, "uniform").statistic) > 0.01
    assert (p < 0.05).mean() < 0.05 + 3 * np.sqrt(0.05 * 0.95 / n)


@pytest.mark.parametrize("name", ["ridge", "forest"])
@pytest.mark.parametrize("other", OTHERS)
def test_tasks_of_another_population_stand_out(name, other, request):
    meta = request.getfixturevalue(name)
    X, y, task = population(40, 10, seed=5, **OTHERS[other])
    p = np.asarray(meta.adapt_tasks(X, y, groups=task).novelty()["p_value"])
    assert np.median(p) < 0.01


def test_p_values_do_not_depend_on_the_order_of_rows_or_on_other_tasks(ridge):
    X, y, task = population(9, 13, seed=6)
    shuffled = np.random.default_rng(0).permutation(len(y))
    together = np.asarray(ridge.adapt_tasks(X[shuffled], y[shuffled], groups=task[shuffled]).novelty()["p_value"])
    alone = [ridge.adapt(X[task == t], y[task == t]).novelty_ for t in range(9)]
    np.testing.assert_allclose(together, alone, rtol=1e-9)
    assert ridge.adapt(X[:0], y[:0]).novelty_ == 1.0


def test_a_p_value_is_no_smaller_than_the_known_tasks_allow(ridge):
    X, y, _ = population(1, 40, seed=6)
    assert ridge.adapt(X, y + 1e3).novelty_ == pytest.approx(1 / 201)


def test_novelty_survives_saving_even_without_known_tasks(ridge, tmp_path):
    X, y, _ = population(1, 8, seed=7)
    expected = ridge.adapt(X, y).novelty_
    for known in (True, False):
        upstairs.save(ridge, tmp_path / "m.upstairs", known_tasks=known)
        back = upstairs.load(tmp_path / "m.upstairs")
        assert isinstance(back._reference, novelty.Reference)
        assert back.adapt(X, y).novelty_ == expected


def test_an_older_file_learns_it_from_its_known_tasks_or_says_that_it_cannot():
    old = upstairs.load(DATA / "format-1.upstairs")
    assert old._reference is None
    assert old.novelty_reference_.n_tasks[0] == old.known_.n_tasks
    empty = upstairs.load(DATA / "format-1.upstairs")
    empty.known_ = empty.known_.take(np.array([], int))
    with pytest.raises(UpstairsError, match="holds 0 of them"):
        _ = empty.novelty_reference_


# Which tasks is it like?


def test_nearest_tasks_are_of_the_same_family():
    X, y, task, truth = make_families(110, 20, random_state=0)
    family, known = truth.tasks[:, 0], task < 90
    meta = HierarchicalRidgeRegressor(random_state=0).fit(X[known], y[known], groups=task[known])
    hits, chance = [], []
    for t in range(90, 110):
        model = meta.adapt(X[task == t][:10], y[task == t][:10])
        hits += (family[np.asarray(meta.nearest_tasks(model, 3)["task"])] == family[t]).tolist()
        chance.append((family[:90] == family[t]).mean())
    assert np.mean(hits) > 1.8 * np.mean(chance)


def test_how_tasks_are_alike(ridge):
    X = population(1, 60, seed=8)[0]
    model = ridge.adapt(X, 3 * X[:, 0] - 0.7 * X[:, 1])  # a slope on x0 as no known task has it
    nearest = ridge.nearest_tasks(model, 200)
    assert list(nearest["different"]).count("x0") > 150
    assert nearest["alike"][0] == "x0"


def test_the_map_lays_levels_along_its_first_axis(shrunk):
    _, y, task = population(200, 20, seed=0, slopes=(0.0, 0.0))
    places = shrunk.task_map()
    means = np.bincount(task, y) / 20
    assert list(places) == ["task", "x", "y"]
    assert abs(np.corrcoef(np.asarray(places["x"]), means)[0, 1]) > 0.999
    assert np.ptp(np.asarray(places["y"])) < 1e-6


# Which rows to label?


def test_the_first_suggestion_leaves_the_least_variance(ridge):
    X, y, _ = population(1, 24, seed=9)
    for s in (0, 3):
        model, candidates = ridge.adapt(X[:s], y[:s]), X[4:]
        left = [(model.update(X[[j]], y[[j]]).predict(candidates, return_std=True)[1] ** 2).sum() for j in range(4, 24)]
        assert ridge.suggest_rows(candidates, model)[0] == np.argmin(left)
    assert ridge.suggest_rows(candidates, n=4).tolist() == ridge.suggest_rows(candidates, ridge.adapt(X[:0], y[:0]), 4).tolist()


@pytest.mark.parametrize("name", ["ridge", "forest"])
def test_suggested_rows_teach_more_than_random_ones(name, request):
    meta = request.getfixturevalue(name)
    X, y, task = population(30, 50, seed=11)
    rng, left = np.random.default_rng(0), []
    for rows in (np.flatnonzero(task == t) for t in range(30)):
        candidates, query = rows[:25], rows[25:]
        goal = meta.adapt(X[candidates], y[candidates]).predict(X[query])
        suggested = candidates[meta.suggest_rows(X[candidates], n=8)]
        draws = [suggested, *(rng.permutation(candidates)[:8] for _ in range(5))]
        left.append([((meta.adapt(X[drawn], y[drawn]).predict(X[query]) - goal) ** 2).mean() for drawn in draws])
    to_learn = np.mean(left, axis=0)
    assert to_learn[0] < 0.75 * to_learn[1:].mean()


def test_suggestions_are_distinct_also_where_all_rows_tell_the_same(shrunk):
    assert sorted(shrunk.suggest_rows(np.zeros((5, 2)), n=5).tolist()) == [0, 1, 2, 3, 4]


def test_mistakes_are_said_in_a_sentence(ridge, shrunk):
    X, y, task = population(3, 8, seed=0)
    with pytest.raises(UpstairsError, match="n must lie between 1 and the 24 rows of X_candidates, but is 25"):
        ridge.suggest_rows(X, n=25)
    with pytest.raises(UpstairsError, match="model must be what adapt of this meta-model gave"):
        ridge.nearest_tasks(shrunk.adapt(X, y))
    with pytest.raises(UpstairsError, match="for one task, but is another AdaptedRegressors"):
        ridge.suggest_rows(X, ridge.adapt_tasks(X, y, groups=task))
    with pytest.raises(UpstairsError, match="k must be 1 or more tasks, but is 0"):
        ridge.nearest_tasks(ridge.adapt(X, y), 0)


# On the command line.


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """A folder with a model of stores, rows of a new one to adapt to, others to explain, and rows of three."""
    folder = tmp_path_factory.mktemp("stores")
    fit_model(folder, "hierarchical-ridge")
    new = sales(3, 12, seed=5)
    pa.csv.write_csv(new.slice(0, 6), folder / "support.csv")
    pa.csv.write_csv(new.slice(6, 6).drop_columns(["sales"]), folder / "query.csv")
    pa.csv.write_csv(new, folder / "three.csv")
    return folder


def test_the_command_tells_the_receipt(stores):
    code, out, _ = run("explain", stores / "stores.upstairs", stores / "query.csv", "--support", stores / "support.csv")
    assert code == 0
    for told in (
        "Task 000",
        "shared: price",
        "is borrowed from other tasks",
        "Is this task like the others? p = ",
        "Known tasks",
    ):
        assert told in out


def test_the_command_gives_the_same_numbers_as_python(stores):
    files = stores / "stores.upstairs", stores / "three.csv"
    code, out, _ = run("explain", *files, "--support", stores / "three.csv", "--which=002", "--rows=2", "--json")
    assert code == 0
    found, meta, rows = json.loads(out), upstairs.load(files[0]), sales(3, 12, seed=5).slice(24, 12)
    model = meta.adapt(rows.select(["price", "kind"]), rows["sales"])
    receipt = model.explain(rows.select(["price", "kind"]).slice(0, 2))
    assert (found["task"], found["support_rows"], found["novelty"]) == ("002", 12, model.novelty_)
    assert found["receipts"][0]["rows"] == receipt.to_table().to_pylist()
    assert found["nearest"] == meta.nearest_tasks(model).to_pylist()


@pytest.mark.parametrize(
    ("file", "options", "sentence"),
    [
        ("three.csv", [], r"rows of 3 tasks \('000', '001', '002'\): say which to explain with --which"),
        ("three.csv", ["--which=9"], "has no row whose 'store' is '9'; it holds '000', '001', '002'"),
        ("three.csv", ["--which=002", "--support={}/support.csv"], "support.csv has no row whose 'store' is '002'"),
        ("query.csv", ["--task=shop"], "query.csv has no column 'shop'"),
        ("query.csv", ["--support={}/query.csv"], "query.csv has no column 'sales'"),
    ],
)
def test_mistakes_on_the_command_line(stores, file, options, sentence):
    given = [option.format(stores) for option in options]
    code, out, err = run("explain", stores / "stores.upstairs", stores / file, *given)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert re.search(sentence, err)


def test_random_slopes_are_told_apart_by_their_parts():
    X, y, task, truth = make_random_slopes(n_tasks=60, n_rows=30, n_columns=2, random_state=0)
    meta = HierarchicalRidgeRegressor(random_state=0).fit(X[30:], y[30:], groups=task[30:])
    receipt = meta.adapt(X[:29], y[:29]).explain(X[29:30])
    own = receipt.slopes[0] * meta.state_.scale.sd
    np.testing.assert_allclose(own, truth.tasks[0, 1:] * X[29], atol=0.5)
    with pytest.raises(UpstairsError, match="X has no rows, so there is nothing to explain"):
        meta.explain(X[:0])
