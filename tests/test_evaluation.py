"""Evaluations: against truths that are known, against themselves, and what is said of them."""

import json
import re
from typing import ClassVar

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.model_selection import GroupShuffleSplit

import upstairs
from upstairs.baselines.hierarchical_ridge import HierarchicalRidgeRegressor
from upstairs.baselines.shrunk_mean import ShrunkMeanClassifier, ShrunkMeanRegressor
from upstairs.datasets import make_grouped_classes, make_random_slopes
from upstairs.errors import UpstairsError
from upstairs.evaluation.result import Evaluation
from upstairs.evaluation.task_curve import gain_of_doubling
from upstairs.evaluation.value import rows_needed
from upstairs.tasks import Tasks
from upstairs.wording import noun_of, number

LEVEL_SD, NOISE_SD, N_TASKS, SIZE = 2.0, 1.0, 300, 24
STORE = np.repeat(np.arange(N_TASKS), SIZE)


def levels(seed=0):
    """y = b_t + ε: the shrunk mean is the best there is, and its error is known at every number of shots."""
    rng = np.random.default_rng(seed)
    level = rng.normal(size=N_TASKS)
    level = LEVEL_SD * (level - level.mean()) / level.std()  # the drawn ones have the true variance
    y = level[STORE] + NOISE_SD * rng.normal(size=len(STORE))
    return rng.normal(size=(len(y), 1)), y


def true_error(shots):
    return np.sqrt(NOISE_SD**2 + LEVEL_SD**2 / (1 + shots * LEVEL_SD**2 / NOISE_SD**2))


@pytest.fixture(scope="module")
def known_truth():
    X, y = levels()
    frame = pd.DataFrame(X, columns=["noise"])
    return upstairs.evaluate(
        ShrunkMeanRegressor(random_state=0),
        frame,
        y,
        pd.Series(STORE, name="store_id"),
        baselines=["task-ridge"],
        random_state=0,
    )


@pytest.fixture(scope="module")
def slopes():
    X, y, groups, _ = make_random_slopes(n_tasks=30, n_rows=14, random_state=0)
    metas = {"mine": HierarchicalRidgeRegressor(random_state=0), "level": ShrunkMeanRegressor(random_state=0)}
    return upstairs.evaluate(metas, X, y, groups, baselines=["task-ridge"], cv=3), (X, y, groups)


def test_errors_are_the_true_ones(known_truth):
    table = known_truth.summary()
    for row in table[table["learner"] == "shrunk-mean"].itertuples():
        assert abs(row.error - true_error(row.shots)) < 3 * row.error_se < 0.3
        assert abs(row.crps - row.error / np.sqrt(np.pi)) < 0.02 * row.error  # of a normal distribution
        assert abs(row.coverage - 0.9) < 0.03
        assert abs(row.width - 2 * 1.645 * row.error) < 0.1 * row.width
        assert row.relative_error == pytest.approx(row.error**2 / (NOISE_SD**2 + LEVEL_SD**2), rel=0.1)
        assert row.calibration < 0.03


def test_coverage_is_what_was_promised(known_truth):
    table = known_truth.calibration
    own = table[table["learner"] == "shrunk-mean"]
    assert len(own) == 4 * len(known_truth.shots)
    assert (np.abs(own["observed"] - own["nominal"]) < 0.03 + 2 * own["observed_se"]).all()


def test_unseen_and_known_tasks(known_truth):
    table = known_truth.overfitting
    row = table[(table["learner"] == "shrunk-mean") & (table["shots"] == 0)].iloc[0]
    assert row["known_error"] == pytest.approx(true_error(SIZE - SIZE // 5), abs=3 * row["known_error_se"])
    assert row["unseen_error"] == pytest.approx(true_error(0), abs=3 * row["unseen_error_se"])
    assert np.isnan(row["support_error"])
    ten = table[(table["learner"] == "task-ridge") & (table["shots"] == 10)].iloc[0]
    assert ten["support_error"] < ten["query_error"]  # a line of its own fits noise
    told = r"Unseen stores are predicted 2\.[123] times as badly as known ones without a row, and \d+ % worse than known ones"
    assert any(re.match(told, sentence) for sentence in known_truth.sentences())


def test_rows_have_their_value(known_truth):
    table = known_truth.value_curve()
    own = table[table["learner"] == "shrunk-mean"]
    shots = np.array(known_truth.shots)
    truth = (true_error(0) - true_error(shots)) / (true_error(0) - true_error(10))
    assert own["share"].to_numpy() == pytest.approx(truth, abs=0.06)
    needed = r"A new store needs [23] rows to reach 90 % of what 10 rows give\."  # 2.8 in truth
    assert any(re.fullmatch(needed, sentence) for sentence in known_truth.sentences())


def test_rows_needed():
    assert rows_needed([0, 1, 3, 7], [0, 0.5, 0.8, 1.0]) == 5  # half-way from 3 to 7 in log(1 + shots) is 4.7
    assert rows_needed([0, 1], [0, 1]) == 1
    assert rows_needed([5, 10], [0, 1], 0.0) == 5
    assert rows_needed([0, 1], [np.nan, np.nan]) is None


def test_where_rows_bring_nothing():
    X, y = levels()
    found = upstairs.evaluate(Oracle(0.0), X[:480], y[:480], STORE[:480], cv="prefit", shots=(0, 3))
    assert np.isnan(found.value_curve()["share"]).all()
    assert "Rows of a new task bring nothing: the error after 3 rows is no lower than without a row." in found.sentences()


def test_harm_is_found_where_it_was_planted():
    rng, odd = np.random.default_rng(0), [3, 117, 229]
    y = rng.normal(size=len(STORE)) + 20 * np.isin(STORE, odd)
    metas = {"all are alike": Oracle(0.0), "task-ridge": Oracle(1.0)}
    found = upstairs.evaluate(metas, rng.normal(size=(len(y), 1)), y, STORE, cv="prefit", shots=(0, 1, 5))
    table, tasks = found.negative_transfer(), pd.DataFrame(found.tasks)
    assert table["shots"].tolist() == [1, 5] and set(table["learner"]) == {"all are alike"}
    for at, shots in enumerate((1, 5)):
        alike, own = (
            tasks[(tasks["learner"] == name) & (tasks["shots"] == shots)].set_index("task")["error"] for name in metas
        )
        assert set(table["tasks"][at]) == set(alike.index[alike > own])
        assert set(table["tasks"][at][:3]) == set(odd)
        assert table["share"][at] == (alike > own).mean()
    assert any(s.startswith("all are alike: for ") and "a model of their own 5 rows" in s for s in found.sentences())


def test_a_win_is_told_from_chance():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(len(STORE), 1)), rng.normal(size=len(STORE))
    y += 1000 * (STORE == 7)  # one task holds nearly all of the loss
    y += np.where(STORE % 2, 2, -2)
    found = upstairs.evaluate({"mine": Oracle(0.95), "other": Oracle(0.0)}, X, y, STORE, cv="prefit", shots=(0, 10))
    (sentence, *_) = first_beside_the_others(found).sentences()
    assert re.search(r"\d\d % lower than that of the best baseline, other, and lower on (9\d|100) % of the tasks", sentence)
    same = upstairs.evaluate({"mine": Oracle(0.5), "other": Oracle(0.5)}, X, y, STORE, cv="prefit", shots=(0, 10))
    (sentence, *_) = first_beside_the_others(same).sentences()
    assert "which can't be told from that of the best baseline, other" in sentence


def first_beside_the_others(found):
    """The same findings, where all but the first learner count as baselines."""
    return Evaluation(found._findings, found._asked._replace(own={"mine": None}))


def test_every_table_tells_the_same(slopes):
    found, (_, y, _) = slopes
    scores, tasks, summary = (pd.DataFrame(table) for table in (found.scores, found.tasks, found.summary()))
    keys = ["learner", "shots", "fold"]
    assert len(scores) == 3 * len(found.shots) * 3
    tasks["loss"] = tasks["error"] ** 2 * tasks["n_rows"]
    by_fold = tasks.groupby(keys, sort=False)[["loss", "n_rows"]].sum()
    assert by_fold.index.tolist() == list(zip(*(scores[key] for key in keys), strict=True))
    assert np.sqrt(by_fold["loss"] / by_fold["n_rows"]).to_numpy() == pytest.approx(scores["error"].to_numpy())
    total = tasks.groupby(keys[:2], sort=False)[["loss", "n_rows"]].sum()
    assert np.sqrt(total["loss"] / total["n_rows"]).to_numpy() == pytest.approx(summary["error"].to_numpy())
    assert (summary["n_rows"] == len(y) / 2).all() and (summary["n_tasks"] == 30).all()
    assert (tasks.groupby(keys[:2])["task"].nunique() == 30).all()
    own = pd.DataFrame(found.overfitting)
    assert own["query_error"].to_numpy() == pytest.approx(summary["error"].to_numpy())


def test_what_is_said(slopes):
    found, _ = slopes
    said = found.sentences()
    assert any(s.startswith("mine: after 5 rows the root mean squared error on unseen tasks is") for s in said)
    assert any(s.startswith("level: ") for s in said)
    assert any("90 % intervals hold" in s for s in said)
    assert all(s.endswith(".") and "nan" not in s for s in said)
    assert found.warnings == [
        "shots=10, 20 left out: no task can give so many, since half of its rows, at most 7, may be support."
    ]
    for text in (repr(found), found._repr_html_()):
        assert "task-ridge" in text and said[0] in text and found.warnings[0] in text


def test_as_json(slopes):
    found = slopes[0].to_dict()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["errors"]["mine"] == [
        e for n, e in zip(found["summary"]["learner"], found["summary"]["error"], strict=True) if n == "mine"
    ]
    assert found["overfitting"]["support_error"][0] is None
    assert {len(column) for column in found["tasks"].values()} == {3 * len(found["shots"]) * 30}


def test_more_tasks(slopes):
    found, _ = slopes
    assert not any("twice as many" in s for s in found.sentences())
    curve = pd.DataFrame(found.task_curve(shares=(0.3,)))
    assert sorted(set(curve["n_tasks"])) == [6, 20]
    whole = curve[curve["n_tasks"] == 20]
    assert whole["error"].tolist() == [*found.errors()["mine"], *found.errors()["level"]]
    mine = curve[(curve["learner"] == "mine") & (curve["shots"] == 5)].set_index("n_tasks")["error"]
    assert mine[20] < mine[6]
    assert sum("twice as many tasks would bring" in s for s in found.sentences()) == 2
    assert found.to_dict()["task_curve"]["n_tasks"] == curve["n_tasks"].tolist()
    with pytest.raises(UpstairsError, match="leaves a single task to learn from"):
        found.task_curve(shares=(0.01,))
    with pytest.raises(UpstairsError, match="shares must hold parts of the tasks"):
        found.task_curve(shares=(2,))


def test_what_doubling_brings():
    n = np.array([10, 20, 40])
    assert gain_of_doubling(n, 3 + 20 / n) == pytest.approx((20 / 80) / 3.5)
    assert gain_of_doubling(n, [1.0, 1.0, 1.1]) == 0


def test_tables_are_of_the_users_kind(table_kind):
    rng = np.random.default_rng(0)
    X = table_kind({"a": rng.normal(size=60), "b": rng.normal(size=60)})
    groups = np.repeat([f"s{t}" for t in range(12)], 5)
    found = upstairs.evaluate(
        ShrunkMeanRegressor(random_state=0), X, rng.normal(size=60), groups, shots=(0, 2), cv=2, baselines=["task-ridge"]
    )
    for table in (found.scores, found.summary(), found.tasks, found.calibration, found.negative_transfer(), found.overfitting):
        assert type(table) is (dict if isinstance(X, np.ndarray) else type(X))
        names = getattr(table, "column_names", None) or list(getattr(table, "columns", table))
        assert names[:2] == ["learner", "shots"]
    assert set(np.asarray(found.tasks["task"]).tolist()) == set(groups.tolist())


def test_processes_change_nothing_and_neither_does_the_order_of_rows():
    X, y, groups, _ = make_random_slopes(n_tasks=12, n_rows=8, random_state=1)
    meta = ShrunkMeanRegressor(random_state=0)
    one = upstairs.evaluate(meta, X, y, groups, baselines=False, cv=2)
    with joblib.parallel_config("threading"):  # a process takes seconds to start
        two = upstairs.evaluate(meta, X, y, groups, baselines=False, cv=2, n_jobs=2)
    assert one.errors() == two.errors()
    other_draw = upstairs.evaluate(meta, X, y, groups, baselines=False, cv=2, random_state=1)
    assert one.errors() != other_draw.errors()
    fresh = upstairs.evaluate(meta, X, y, groups, baselines=False, cv=2, random_state=np.random.RandomState(0))
    assert set(fresh.errors()) == {"shrunk-mean"}


def test_classes():
    X, y, groups, _ = make_grouped_classes(n_tasks=60, n_rows=16, n_classes=3, level_sd=2.0, random_state=0)
    label = np.array(["x", "y", "z"])[y]
    found = upstairs.evaluate(ShrunkMeanClassifier(random_state=0), X, label, groups, baselines=["task-ridge"], cv=3)
    assert found.metric == "log loss"
    zero, *_, five = found.errors()["shrunk-mean"]
    assert five < 0.9 * zero
    table = pd.DataFrame(found.calibration)
    own = table[(table["learner"] == "shrunk-mean") & (table["shots"] == 5)]
    assert own["n_rows"].sum() == 3 * 60 * 8
    assert (own["predicted"] * own["n_rows"]).sum() == pytest.approx(60 * 8)
    assert (np.abs(own["predicted"] - own["observed"]) < 0.05 + 3 * own["observed_se"]).all()
    assert found.summary()["accuracy"].max() > 0.5
    assert any(re.search(r"predicted probabilities lie [0-5]\.\d points from what happens", s) for s in found.sentences())
    rate = upstairs.evaluate(ShrunkMeanClassifier(random_state=0), X, label, groups, baselines=False, cv=3, scoring="accuracy")
    assert rate.errors()["shrunk-mean"] == pytest.approx((1 - np.array(found.errors("accuracy")["shrunk-mean"])).tolist())


def test_a_class_that_only_unseen_tasks_have():
    X, y, groups, _ = make_grouped_classes(n_tasks=12, n_rows=8, n_classes=2, random_state=0)
    label = np.where(groups == 0, 2, y)
    found = upstairs.evaluate(ShrunkMeanClassifier(random_state=0), X, label, groups, baselines=False, shots=(0, 2), cv=3)
    tasks = pd.DataFrame(found.tasks)
    assert tasks[tasks["task"] == 0]["error"].to_numpy() == pytest.approx(np.log(1e6), rel=1e-6)
    assert tasks[tasks["task"] != 0]["error"].max() < 5


class Oracle(RegressorMixin, BaseEstimator):
    """A fitted meta-learner that remembers what it is asked; it moves by ``rate`` of the mean of a support."""

    def __init__(self, rate=1.0):
        self.rate = rate
        self.known_ = Tasks(np.zeros((0, 1)), np.zeros(0), np.zeros(1, int), np.array([], int), np.zeros(1))
        self.supports, self.queries = [], []

    def fit(self, X, y, groups=None):
        return self

    def adapt_tasks(self, X, y, groups):
        self.supports.append(set(X[:, 0].tolist()))
        self.means = {g: y[groups == g].mean() for g in np.unique(groups).tolist()}
        return self

    def predict(self, X, groups=None):
        self.queries.append(set(X[:, 0].tolist()))
        return np.zeros(len(X)) if groups is None else np.array([self.rate * self.means.get(g, 0) for g in groups.tolist()])

    def predict_quantiles(self, X, quantiles, groups=None):
        return np.tile(self.predict(X, groups)[:, None], len(quantiles))


def test_a_fitted_one_is_asked_and_never_shown_a_query():
    X, y = levels()
    X = np.arange(len(y), dtype=float)[:, None]
    oracle = Oracle()
    found = upstairs.evaluate(oracle, X, y, STORE, cv="prefit", shots=(0, 2, 10), order=-X[:, 0])
    two, ten = oracle.supports
    assert two < ten and len(ten) == 10 * N_TASKS
    queries = oracle.queries[0]
    assert len(queries) == N_TASKS * SIZE / 2 and not queries & ten
    for shown in oracle.supports:
        assert min(shown & set(range(SIZE))) > max(queries & set(range(SIZE)))  # the order was turned round
    assert found.learners == ["Oracle"] and np.isnan(pd.DataFrame(found.overfitting)["known_error"]).all()
    assert found.errors()["Oracle"][2] == pytest.approx(np.sqrt(1 + 1 / 10), rel=0.03)
    with pytest.raises(UpstairsError, match="came fitted"):
        found.task_curve()
    with pytest.raises(UpstairsError, match="Negative transfer is told by the baseline 'task-ridge'"):
        found.negative_transfer()


class Recorder(Oracle):
    """Remembers what it learned from, and of which known rows it is asked."""

    known: ClassVar[list] = []

    def fit(self, X, y, groups=None):
        self.learned = set(X[:, 0].tolist())
        return self

    def adapt_tasks(self, X, y, groups):
        return Oracle(self.rate).adapt_tasks(X, y, groups)

    def predict(self, X, groups=None):
        assert not self.learned & set(X[:, 0].tolist())
        if groups is not None:
            self.known.extend(X[:, 0].tolist())
            assert set(groups.tolist()) <= {row // SIZE for row in self.learned}
        return np.zeros(len(X))


def test_nothing_that_was_learned_is_asked():
    y = np.random.default_rng(0).normal(size=30 * SIZE)
    found = upstairs.evaluate(Recorder(), np.arange(len(y), dtype=float)[:, None], y, STORE[: len(y)], baselines=False)
    assert len(Recorder.known) == len(set(Recorder.known)) == 30 * (SIZE // 5)  # a fifth of each task, once
    held = pd.DataFrame(found.overfitting)
    assert (
        held["known_error"][0]
        == held["unseen_error"][0]
        == pytest.approx(np.sqrt((y[np.array(Recorder.known, int)] ** 2).mean()))
    )


def test_a_single_split():
    X, y, groups, _ = make_random_slopes(n_tasks=20, n_rows=10, random_state=0)
    cv = GroupShuffleSplit(1, test_size=0.3, random_state=0)
    found = upstairs.evaluate(HierarchicalRidgeRegressor(random_state=0), X, y, groups, cv=cv, baselines=False, scoring="mae")
    assert found.n_folds == 1 and found.metric == "mean absolute error"
    assert (found.summary()["n_tasks"] == 6).all()
    assert (found.overfitting["known_error"] < found.overfitting["unseen_error"][0]).all()


def test_few_tasks_and_small_ones_are_warned_of():
    rng = np.random.default_rng(0)
    groups = np.repeat(range(6), [40, 2, 2, 2, 1, 1])
    meta = ShrunkMeanRegressor(random_state=0)
    found = upstairs.evaluate(meta, rng.normal(size=(48, 1)), rng.normal(size=48), groups, shots=(0, 10), cv=2, baselines=False)
    few, short = found.warnings
    assert "only 6 tasks" in few
    assert "At 10 shots 83 % of the tasks show fewer rows" in short


def test_nouns_and_numbers():
    assert noun_of("store_id") == ("store", "stores")
    assert noun_of("city") == ("city", "cities")
    assert noun_of("bus") == ("bus", "buses")
    assert noun_of("day") == ("day", "days")
    assert noun_of(None) == ("task", "tasks")
    assert [number(x) for x in (0.012345, 1.5, 123456.7, np.nan)] == ["0.0123", "1.5", "123,457", "–"]
