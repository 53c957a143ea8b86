"""Every learner and baseline through the same checks: what the contract promises, whoever keeps it."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.utils.estimator_checks import parametrize_with_checks

from conftest import TABLE_KINDS
from every_learner import CLASSIFIERS, PRECISION, REGRESSORS
from upstairs import UpstairsError, adaptation

N_TASKS, ROWS = 24, 10
SLOW = settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def make_rows(seed=0, n_tasks=N_TASKS):
    rng = np.random.default_rng(seed)
    task = np.repeat(np.arange(n_tasks), ROWS)
    colour = rng.choice(["blue", "green", "red"], len(task))
    size = rng.normal(size=len(task))
    size[rng.random(len(task)) < 0.05] = np.nan
    weight = rng.normal(size=len(task))
    level = rng.normal(size=n_tasks)[task]
    y = 10 + np.nan_to_num(size) + (colour == "red") + level + 0.3 * rng.normal(size=len(task))
    return {"size": size, "weight": weight, "colour": colour}, y, task


COLUMNS, Y, TASK = make_rows()
LABELS = {
    "two": np.where(Y > np.median(Y), "high", "low"),
    "many": np.digitize(Y, np.quantile(Y, [0.3, 0.6])),
}
_fitted: dict = {}


def rows_of(columns, rows):
    return {name: values[rows] for name, values in columns.items()}


def fitted(kind, name):
    """A fitted learner on arrays of numbers, once a session."""
    if (kind, name) not in _fitted:
        learner = REGRESSORS[name] if kind == "numbers" else CLASSIFIERS[name]
        target = Y if kind == "numbers" else LABELS[kind]
        _fitted[kind, name] = clone(learner).fit(numbers(slice(None)), target, groups=TASK)
    return _fitted[kind, name]


def numbers(rows):
    return np.column_stack([COLUMNS["size"], COLUMNS["weight"], COLUMNS["colour"] == "red"])[rows]


def target_of(kind):
    return Y if kind == "numbers" else LABELS[kind]


def ask(model, X, **groups):
    return np.asarray(model.predict_proba(X, **groups) if hasattr(model, "predict_proba") else model.predict(X, **groups))


every_learner = pytest.mark.parametrize("name", list(REGRESSORS))
every_kind = pytest.mark.parametrize("kind", ["numbers", "two", "many"])
SLOW_TO_FIT = ("auto", "forest", "gradient")
"""What the door alone does is shown by the others; `make test-exhaustive` shows it by these, too."""


def dear(value, when):
    return pytest.param(*value, marks=pytest.mark.exhaustive if when else ())


@pytest.mark.parametrize("kind", ["numbers", "two"])
@pytest.mark.parametrize(
    ("table_kind", "name"),
    [dear((table, name), name in SLOW_TO_FIT and table != "pandas") for table in TABLE_KINDS for name in REGRESSORS],
    indirect=["table_kind"],
)
def test_every_kind_of_table_gives_the_same_answers(table_kind, name, kind):
    learner = REGRESSORS[name] if kind == "numbers" else CLASSIFIERS[name]
    target = target_of(kind)
    meta = clone(learner).fit(table_kind(COLUMNS), target, groups=TASK)
    support, query = table_kind(rows_of(COLUMNS, slice(0, 4))), table_kind(rows_of(COLUMNS, slice(4, 10)))
    model = meta.adapt(support, target[:4])
    answer = model.predict(query)
    assert len(answer) == 6
    if kind == "numbers":
        assert np.isfinite(np.asarray(answer, float)).all()
        interval = np.asarray(model.predict_interval(query))
        assert (interval[:, 0] < interval[:, 1]).all()
    else:
        assert set(np.asarray(answer).tolist()) <= set(target.tolist())
        assert np.allclose(np.asarray(model.predict_proba(query)).sum(axis=1), 1)


@every_learner
@every_kind
@pytest.mark.parametrize("block", [adaptation.BLOCK, 10])
def test_many_tasks_at_once_equal_one_by_one(name, kind, block, monkeypatch):
    monkeypatch.setattr(adaptation, "BLOCK", block)
    meta, target = fitted(kind, name), target_of(kind)
    support = np.concatenate([np.flatnonzero(TASK == t)[: 1 + t] for t in range(8)])
    query = np.concatenate([np.flatnonzero(TASK == t)[-2:] for t in range(8)])
    models = meta.adapt_tasks(numbers(support), target[support], groups=TASK[support])
    together = ask(models, numbers(query), groups=TASK[query])
    near = PRECISION.get(name, 1e-9)
    for t in range(8):
        rows = support[TASK[support] == t]
        alone = meta.adapt(numbers(rows), target[rows])
        asked = query[TASK[query] == t]
        np.testing.assert_allclose(ask(alone, numbers(asked)), together[TASK[query] == t], rtol=near, atol=near)
        np.testing.assert_allclose(ask(models[t], numbers(asked)), together[TASK[query] == t], rtol=near, atol=near)
    assert list(models) == list(range(8))


@every_learner
@every_kind
def test_an_empty_support_is_the_zero_shot_prediction(name, kind):
    meta, target = fitted(kind, name), target_of(kind)
    X, near = numbers(slice(0, 12)), PRECISION.get(name, 1e-12)
    zero_shot = ask(meta, X)
    np.testing.assert_allclose(ask(meta.adapt(X[:0], target[:0]), X), zero_shot, rtol=near)
    np.testing.assert_allclose(ask(meta, X, groups=np.full(12, 999)), zero_shot, rtol=near)
    models = meta.adapt_tasks(X[:3], target[:3], groups=[1, 1, 1])
    np.testing.assert_allclose(ask(models, X, groups=np.full(12, 2)), zero_shot, rtol=near)


@every_learner
@every_kind
def test_update_equals_adapting_to_all_rows(name, kind):
    meta, target = fitted(kind, name), target_of(kind)
    X = numbers(slice(0, 20))
    updated = meta.adapt(X[:3], target[:3]).update(X[3:7], target[3:7])
    np.testing.assert_array_equal(ask(updated, X), ask(meta.adapt(X[:7], target[:7]), X))


@every_learner
@every_kind
@SLOW
@given(seed=st.integers(0, 2**31))
def test_the_order_of_rows_and_tasks_does_not_matter(name, kind, seed):
    meta, target = fitted(kind, name), target_of(kind)
    rows = np.flatnonzero(TASK < 6)
    shuffled = np.random.default_rng(seed).permutation(rows)
    X = numbers(slice(200, 240))
    tasks = np.arange(40) % 7
    first = ask(meta.adapt_tasks(numbers(rows), target[rows], groups=TASK[rows]), X, groups=tasks)
    second = ask(meta.adapt_tasks(numbers(shuffled), target[shuffled], groups=TASK[shuffled]), X, groups=tasks)
    near = PRECISION.get(name, 1e-8)
    np.testing.assert_allclose(first, second, rtol=near, atol=near)


@every_learner
def test_renaming_columns_everywhere_changes_nothing(name):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(COLUMNS)
    renamed = frame.rename(columns={"size": "a", "weight": "b", "colour": "c"})
    one = clone(REGRESSORS[name]).fit(frame, Y, groups=TASK)
    two = clone(REGRESSORS[name]).fit(renamed, Y, groups=TASK)
    np.testing.assert_array_equal(one.predict(frame), two.predict(renamed))


@every_learner
def test_shuffled_targets_bring_no_gain(name):
    rng = np.random.default_rng(3)
    y = rng.permutation(Y)
    train, rest = np.flatnonzero(TASK < 16), np.flatnonzero(TASK >= 16)
    meta = clone(REGRESSORS[name]).fit(numbers(train), y[train], groups=TASK[train])
    support, query = rest[rest % 2 == 0], rest[rest % 2 == 1]
    prediction = np.asarray(meta.adapt_tasks(numbers(support), y[support], TASK[support]).predict(numbers(query), TASK[query]))
    error = ((prediction - y[query]) ** 2).mean()
    assert error > 0.9 * ((y[train].mean() - y[query]) ** 2).mean()


@every_learner
def test_a_known_task_uses_what_fit_learned_of_it(name):
    meta = fitted("numbers", name)
    known = np.asarray(meta.predict(numbers(slice(None)), groups=TASK))
    if name == "pooled":  # a pooled model has nothing to say of a task, but a known one is predicted by the model blind to it
        assert not np.array_equal(known, meta.predict(numbers(slice(None))))
    else:
        assert ((known - Y) ** 2).mean() < ((np.asarray(meta.predict(numbers(slice(None)))) - Y) ** 2).mean()


@every_learner
def test_answers_come_in_the_users_kind_of_table(name):
    pandas, polars, pyarrow = (pytest.importorskip(module) for module in ("pandas", "polars", "pyarrow"))
    frame = pandas.DataFrame(COLUMNS, index=pandas.RangeIndex(1000, 1000 + len(Y)))
    meta = clone(REGRESSORS[name]).fit(frame, Y, groups=TASK)
    mean, std = meta.predict(frame[:5], return_std=True)
    assert mean.index.tolist() == [1000, 1001, 1002, 1003, 1004]
    assert (std > 0).all()
    assert list(meta.predict_interval(frame[:5]).columns) == ["lower", "upper"]
    quantiles = meta.predict_quantiles(polars.DataFrame(rows_of(COLUMNS, slice(0, 5))), [0.1, 0.9])
    assert quantiles.columns == ["q0.1", "q0.9"]
    assert (quantiles["q0.1"] < quantiles["q0.9"]).all()
    assert isinstance(meta.predict(pyarrow.table(rows_of(COLUMNS, slice(0, 5)))), pyarrow.Array)


@every_learner
@every_kind
def test_asking_for_all_at_once_says_what_each_question_says(name, kind):
    model = fitted(kind, name).adapt(numbers(slice(0, 6)), target_of(kind)[:6])
    X = numbers(slice(6, 10))
    told = model.predict_all(X, coverage=0.7)
    if kind == "numbers":
        mean, std = model.predict(X, return_std=True)
        ends = model.predict_interval(X, coverage=0.7)
        expected = {"prediction": mean, "std": std, "lower": ends[:, 0], "upper": ends[:, 1]}
    else:
        expected = {"prediction": model.predict(X), "probability": model.predict_proba(X)}
    assert told.keys() == expected.keys()
    assert all(np.array_equal(told[part], expected[part]) for part in told)
    assert model.nbytes >= model.support_.X.nbytes


@pytest.mark.parametrize("name", [dear((name,), name in SLOW_TO_FIT) for name in REGRESSORS])
def test_labels_keep_the_users_type(name):
    for labels in (LABELS["two"], Y > 10, LABELS["many"].astype(float)):
        meta = clone(CLASSIFIERS[name]).fit(numbers(slice(None)), labels, groups=TASK)
        answer = meta.predict(numbers(slice(0, 3)))
        assert type(answer.tolist()[0]) is type(np.asarray(labels).tolist()[0])
        assert set(answer.tolist()) <= set(np.asarray(labels).tolist())


@pytest.mark.parametrize("label", [3, 2.5, True])
def test_a_label_of_another_type_is_no_class(label):
    with pytest.raises(UpstairsError, match="none of the classes seen in fit"):
        fitted("two", "shrunk-mean").adapt(numbers(slice(0, 1)), np.array([label]))


@every_learner
def test_a_class_missing_from_a_support_is_ordinary(name):
    meta = fitted("many", name)
    only_one = np.flatnonzero(LABELS["many"] == 2)[:3]
    proba = np.asarray(meta.adapt(numbers(only_one), LABELS["many"][only_one]).predict_proba(numbers(slice(0, 5))))
    assert proba.shape == (5, 3)
    assert (proba > 0).all()


@every_learner
@every_kind
@SLOW
@given(seed=st.integers(0, 2**31), s=st.integers(0, 9))
def test_explanations_add_up(name, kind, seed, s):
    meta, target = fitted(kind, name), target_of(kind)
    rows = np.random.default_rng(seed).permutation(len(Y))
    model = meta.adapt(numbers(rows[:s]), target[rows[:s]])
    explained = model.explain(numbers(rows[-3:]))
    for explanation in explained.values() if isinstance(explained, dict) else [explained]:
        own = explanation.level + explanation.scale + explanation.slopes.sum(axis=1) + explanation.local
        np.testing.assert_allclose(explanation.support.sum(axis=1), own, atol=1e-6)
        assert explanation.shared.shape == (3, 3)
        if kind == "numbers":
            center = model._ask(numbers(rows[-3:]), None)[1].center
            total = explanation.base + explanation.shared.sum(axis=1) + own
            np.testing.assert_allclose(total, center, atol=PRECISION.get(name, 1e-6))
        assert ((explanation.borrowed >= 0) & (explanation.borrowed <= 1)).all()
        assert s or (explanation.borrowed == 1).all()


@every_learner
@every_kind
def test_every_learner_is_asked_how_tasks_compare(name, kind):
    meta, target = fitted(kind, name), target_of(kind)
    support = np.concatenate([np.flatnonzero(TASK == t)[: 1 + t] for t in range(9)])
    models = meta.adapt_tasks(numbers(support), target[support], groups=TASK[support])
    p = np.asarray(models.novelty()["p_value"])
    assert ((p >= 1 / (N_TASKS + 1)) & (p <= 1)).all()
    rows = np.flatnonzero(TASK == 8)[:9]
    model = meta.adapt(numbers(rows[::-1]), target[rows[::-1]])
    assert model.novelty_ == pytest.approx(p[8], abs=100 * PRECISION.get(name, 1e-9))
    nearest = meta.nearest_tasks(model, 3)
    assert list(nearest) == ["task", "distance", "alike", "different"]
    assert (np.diff(nearest["distance"]) >= 0).all()
    assert len(meta.task_map()["task"]) == N_TASKS
    suggested = meta.suggest_rows(numbers(slice(100, 120)), model, 4)
    assert len(set(suggested.tolist())) == 4
    assert set(suggested.tolist()) <= set(range(20))


@every_learner
def test_the_same_seed_gives_the_same_model(name):
    one, two = (clone(REGRESSORS[name]).fit(numbers(slice(None)), Y, groups=TASK) for _ in range(2))
    np.testing.assert_array_equal(one.predict(numbers(slice(0, 9))), two.predict(numbers(slice(0, 9))))


@every_learner
def test_adapting_leaves_the_meta_model_alone(name):
    meta = fitted("numbers", name)
    before = meta.predict(numbers(slice(0, 9)))
    meta.adapt(numbers(slice(0, 5)), Y[:5] + 1000)
    np.testing.assert_array_equal(meta.predict(numbers(slice(0, 9))), before)


def test_works_with_scikit_learn_tools():
    meta = REGRESSORS["hierarchical-ridge"]
    prediction = cross_val_predict(meta, numbers(slice(None)), Y, groups=TASK, cv=GroupKFold(3))
    assert ((prediction - Y) ** 2).mean() < Y.var()
    model = clone(meta).fit(numbers(slice(None)), Y, groups=TASK).adapt(numbers(slice(0, 5)), Y[:5])
    assert is_regressor(model)
    assert is_classifier(CLASSIFIERS["pooled"])
    again = clone(model).fit(numbers(slice(0, 5)), Y[:5])
    np.testing.assert_array_equal(again.predict(numbers(slice(0, 9))), model.predict(numbers(slice(0, 9))))


@every_learner
def test_single_row_tasks_and_a_single_task_can_be_learned_from(name):
    X = numbers(slice(0, 40))
    for groups in (np.arange(40), None):
        meta = clone(REGRESSORS[name]).fit(X, Y[:40], groups=groups)
        assert np.isfinite(meta.adapt(X[:2], Y[:2]).predict(X)).all()


def test_a_group_column_of_one_task_is_a_mistake():
    with pytest.raises(UpstairsError, match="groups holds one task only"):
        clone(REGRESSORS["shrunk-mean"]).fit(numbers(slice(None)), Y, groups=np.zeros(len(Y)))


EXPECTED_FAILURES = {
    "check_dataframe_column_names_consistency": "columns may come in another order: they are found by name",
}


DEAR = {
    "regressors": ("auto", "forest", "gradient"),
    "classifiers": ("auto", "forest", "gradient", "hierarchical-ridge", "pooled", "pooled-shift", "svm"),
}
"""Those that take minutes here; they keep to the same door as those that are checked."""
CHECKED = {
    exhaustive: [
        *(learner for name, learner in REGRESSORS.items() if (name in DEAR["regressors"]) == exhaustive),
        *(learner for name, learner in CLASSIFIERS.items() if (name in DEAR["classifiers"]) == exhaustive),
    ]
    for exhaustive in (False, True)
}


@pytest.mark.slow
@parametrize_with_checks(CHECKED[False], expected_failed_checks=lambda estimator: EXPECTED_FAILURES)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.mark.exhaustive
@parametrize_with_checks(CHECKED[True], expected_failed_checks=lambda estimator: EXPECTED_FAILURES)
def test_scikit_learn_checks_of_dear_learners(estimator, check):
    check(estimator)
