"""One model of all tasks in place of the fold models' average."""

import numpy as np
import pytest

import upstairs
from upstairs import MetaRandomForestClassifier, MetaRandomForestRegressor
from upstairs.datasets import make_random_slopes

SMALL = {"n_effect_trees": 10, "n_episodes": 100, "random_state": 0}


@pytest.fixture(scope="module")
def rows():
    data = make_random_slopes(n_tasks=60, n_rows=20, random_state=0)
    return data.X, data.y, data.groups


@pytest.fixture(scope="module")
def both(rows):
    X, y, task = rows
    known = task < 40
    return [
        MetaRandomForestRegressor(ensemble=own, **SMALL).fit(X[known], y[known], groups=task[known]) for own in (True, False)
    ]


def test_an_unseen_task_asks_a_fraction_of_the_trees(both):
    head = both[1].state_.heads[0]
    assert len(head.whole.trees.group) * both[1].n_folds == len(head.mean.trees.group) > 0
    assert both[0].state_.heads[0].whole is None


def test_it_is_about_as_accurate_and_not_the_same(both, rows):
    X, y, task = rows
    support, query = (task >= 40) & (np.arange(len(y)) % 20 < 5), (task >= 40) & (np.arange(len(y)) % 20 >= 5)
    errors = []
    for meta in both:
        models = meta.adapt_tasks(X[support], y[support], groups=task[support])
        errors.append(((models.predict(X[query], groups=task[query]) - y[query]) ** 2).mean())
    assert errors[0] != errors[1]
    assert errors[1] == pytest.approx(errors[0], rel=0.1)
    assert errors[1] < 0.5 * y[query].var()


def test_known_tasks_keep_the_model_that_never_saw_them(both, rows):
    X, _, task = rows
    some = task < 5
    averaged, whole = (meta.predict(X[some], groups=task[some]) for meta in both)
    np.testing.assert_array_equal(averaged, whole)


def test_known_and_unseen_tasks_are_predicted_in_one_call(both, rows):
    X, _, task = rows
    meta, some = both[1], np.isin(task, [3, 50])
    together = meta.predict(X[some], groups=task[some])
    np.testing.assert_array_equal(together[:20], meta.predict(X[task == 3], groups=task[task == 3]))
    np.testing.assert_allclose(together[20:], meta.predict(X[task == 50]), rtol=1e-12)


def test_shares_add_up_to_its_prediction(both, rows):
    X, y, task = rows
    meta = both[1]
    model = meta.adapt(X[task == 50][:6], y[task == 50][:6])
    why = model.explain(X[task == 50][6:])
    shares = why.base + why.shared.sum(axis=1) + why.level + why.scale + why.slopes.sum(axis=1) + why.local
    scale = meta.state_.scale
    np.testing.assert_allclose(scale.mean + scale.sd * shares, model.predict(X[task == 50][6:]), atol=1e-6)


def test_it_is_saved(both, rows, tmp_path):
    X, _, _ = rows
    upstairs.save(both[1], tmp_path / "m.upstairs")
    np.testing.assert_array_equal(upstairs.load(tmp_path / "m.upstairs").predict(X), both[1].predict(X))


def test_it_classifies(rows):
    X, y, task = rows
    label, known = np.digitize(y, np.quantile(y, [0.3, 0.7])), task < 40
    meta = MetaRandomForestClassifier(ensemble=False, **SMALL).fit(X[known], label[known], groups=task[known])
    model = meta.adapt(X[task == 50][:10], label[task == 50][:10])
    proba = model.predict_proba(X[task == 50][10:])
    assert [head.whole is not None for head in meta.state_.heads] == [True] * 3
    assert -np.log(proba[np.arange(10), label[task == 50][10:]]).mean() < np.log(3)
