"""Losses, and their standard error over tasks, against what they must be."""

import numpy as np
import pytest
from scipy import integrate, stats

from upstairs.errors import UpstairsError
from upstairs.evaluation.metrics import METRICS, NODES, crps, find_metric, log_loss, mean_over_tasks, root


@pytest.mark.parametrize("distribution", [stats.norm(1, 2), stats.t(3, 0, 1), stats.lognorm(0.8)], ids=["normal", "t", "log"])
@pytest.mark.parametrize("y", [-2.0, 0.7, 6.0])
def test_crps_is_the_integral(distribution, y):
    below = integrate.quad(lambda x: distribution.cdf(x) ** 2, -np.inf, y)[0]
    above = integrate.quad(lambda x: distribution.sf(x) ** 2, y, np.inf)[0]
    assert crps(np.array([y]), distribution.ppf(NODES)[None])[0] == pytest.approx(below + above, rel=0.01)


def test_crps_of_a_certain_prediction_is_its_absolute_error():
    assert crps(np.array([3.0, -1.0]), np.ones((2, len(NODES)))) == pytest.approx([2, 2])


def test_the_standard_error_is_that_of_a_bootstrap_over_tasks():
    rng = np.random.default_rng(0)
    n_rows = rng.integers(1, 40, 200)
    loss = np.array([((rng.normal() + rng.normal(size=n)) ** 2).sum() for n in n_rows])
    mean, se = root(*mean_over_tasks(loss, n_rows, np.arange(200)))
    drawn = rng.integers(0, 200, (4000, 200))
    bootstrap = np.sqrt(loss[drawn].sum(axis=1) / n_rows[drawn].sum(axis=1))
    assert mean == pytest.approx(np.sqrt(loss.sum() / n_rows.sum()))
    assert se == pytest.approx(bootstrap.std(), rel=0.06)
    as_if_rows_were_drawn = np.sqrt(loss.sum() / n_rows.sum() / n_rows.sum() / 2)
    assert se > 2 * as_if_rows_were_drawn


def test_a_task_that_comes_twice_counts_once():
    loss, n_rows = np.array([1.0, 5.0, 2.0]), np.array([2, 3, 4])
    once = mean_over_tasks(loss, n_rows, np.arange(3))
    half = mean_over_tasks(np.repeat(loss / 2, 2), np.repeat(n_rows / 2, 2), np.repeat(np.arange(3), 2))
    assert half == pytest.approx(once)


def test_means_of_several_columns_and_of_nothing():
    mean, se = mean_over_tasks(np.array([[1.0, 0], [3.0, 0]]), np.array([[2, 0], [2, 0]]), np.arange(2))
    assert mean[0] == 1 and np.isnan(mean[1]) and np.isnan(se[1])
    assert np.isnan(mean_over_tasks(np.ones(1), np.ones(1), np.zeros(1))[1])


def test_classes():
    proba, codes = np.array([[0.5, 0.3, 0.2], [0.0, 1.0, 0.0], [0.2, 0.2, 0.6]]), np.array([0, 0, -1])
    assert log_loss(codes, proba)[0] == pytest.approx(np.log(2))
    assert log_loss(codes, proba)[1:] == pytest.approx(np.log(1e6) * np.ones(2), rel=1e-5)
    assert METRICS["brier"].rows(codes, proba) == pytest.approx([0.25 + 0.09 + 0.04, 2, 0.04 + 0.04 + 0.36 + 1])
    assert METRICS["error_rate"].rows(codes, proba).tolist() == [0, 1, 1]


def test_metrics_by_name():
    assert find_metric(None, False).name == "rmse"
    assert find_metric(None, True).name == "log_loss"
    assert find_metric("neg_mean_absolute_error", False).name == "mae"
    assert find_metric("accuracy", True).name == "error_rate"


@pytest.mark.parametrize(
    ("scoring", "classes", "message"),
    [
        ("rsme", False, "no scoring 'rsme'; did you mean 'rmse'?"),
        ("neg_log_los", True, "did you mean 'neg_log_loss'?"),
        ("log_loss", False, "measures classes, but these meta-learners predict numbers: use rmse, mae"),
        ("mae", True, "measures numbers, but these meta-learners predict classes: use log_loss"),
        ("zzzzz", False, "no scoring 'zzzzz'; there are rmse, mae."),
        (print, False, "must be the name of a metric"),
    ],
)
def test_wrong_scoring(scoring, classes, message):
    with pytest.raises(UpstairsError) as error:
        find_metric(scoring, classes)
    assert message in str(error.value)
