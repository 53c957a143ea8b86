"""Effects that move together from task to task: found where they do, and not where they don't."""

import numpy as np
import pytest

from upstairs import MetaSVR
from upstairs.baselines.hierarchical_ridge import HierarchicalRidgeRegressor
from upstairs.mixed_model import correlations, residual_sums, sums_of
from upstairs.tasks import Tasks, assign_folds

TOGETHER = np.array([1.0, -0.8, 0.6, 0.0, 0.5])


def tables(correlated, n_tasks, rows, seed):
    rng = np.random.default_rng(seed)
    task = np.repeat(np.arange(n_tasks), rows)
    w = rng.normal(size=(n_tasks, 1)) * TOGETHER + 0.15 * rng.normal(size=(n_tasks, 5))
    if not correlated:
        w = TOGETHER * rng.normal(size=(n_tasks, 5)) + 0.15 * rng.normal(size=(n_tasks, 5))
    X = rng.normal(size=(len(task), 5))
    return X, (X * w[task]).sum(axis=1) + 0.5 * rng.normal(size=len(task)), task


@pytest.mark.parametrize("correlated", [True, False])
def test_correlations_are_found_where_held_out_tasks_have_them(correlated):
    X, y, _ = tables(correlated, 200, 8, 0)
    tasks = Tasks(X, y, np.arange(201) * 8, np.arange(200), np.zeros(5, np.int32))
    residual = residual_sums(sums_of(X, y, np.ones(len(y)), tasks), np.zeros((200, 5)))
    R = correlations(residual, TOGETHER**2 + 0.15**2, 0.25, assign_folds(200, 5, np.random.default_rng(0)))
    np.testing.assert_array_equal(np.diag(R), np.ones(5))
    np.testing.assert_allclose(R, R.T)
    if correlated:
        truth = (np.outer(TOGETHER, TOGETHER) + 0.15**2 * np.eye(5)) / np.sqrt(
            np.outer(TOGETHER**2 + 0.15**2, TOGETHER**2 + 0.15**2)
        )
        np.testing.assert_allclose(R, truth, atol=0.25)
    else:
        np.testing.assert_array_equal(R, np.eye(5))


@pytest.mark.parametrize("learner", [HierarchicalRidgeRegressor(random_state=0), MetaSVR(kernel="linear", random_state=0)])
def test_one_row_says_something_of_all_columns(learner):
    meta = learner.fit(*tables(True, 200, 8, 0))
    X, y, task = tables(True, 300, 10, 1)
    shown = np.arange(len(y)) % 10 == 0
    models = meta.adapt_tasks(X[shown], y[shown], groups=task[shown])
    error = ((models.predict(X[~shown], groups=task[~shown]) - y[~shown]) ** 2).mean() / y.var()
    assert error < 0.55  # one who takes effects for independent reaches 0.73

    model, scale = meta.adapt(X[:10], y[:10]), meta.state_.scale
    receipt = model.explain(X[:30])
    own = receipt.level + receipt.slopes.sum(axis=1)
    shown = scale.mean + scale.sd * (receipt.base + receipt.shared.sum(axis=1) + own)
    np.testing.assert_allclose(shown, model.predict(X[:30]), atol=1e-6)
    np.testing.assert_allclose(receipt.support.sum(axis=1), own, atol=1e-6)
    # a column's slope moves the prediction by that column alone
    np.testing.assert_allclose(receipt.slopes[:, 1] / X[:30, 1], receipt.slopes[0, 1] / X[0, 1], atol=0.2)


def test_relevance_is_that_of_columns_though_features_are_turned():
    X, y, task = tables(True, 200, 8, 0)
    meta = MetaSVR(kernel="linear", random_state=0).fit(X, y + 3 * X[:, 3], groups=task)
    head = meta.state_.heads[0]
    assert head.features.turn.size
    np.testing.assert_allclose(meta.relevance_ / meta.relevance_[0], TOGETHER**2, atol=0.2)
    assert np.linalg.norm(head.theta) == pytest.approx(np.linalg.norm(meta.theta_))
    slope, level = np.abs(meta.theta_[0, 4]), np.abs(np.delete(meta.theta_[0], 4))
    assert slope > 5 * level.max()
