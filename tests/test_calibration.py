"""Calibration: quantiles by hand, and intervals and probabilities that turn out as often right as they say."""

import numpy as np
import pytest
from scipy import special

from upstairs.calibration import (
    COVERAGES,
    between_buckets,
    identity_calibration,
    interval_factor,
    learn_intervals,
    learn_temperatures,
    temper,
)
from upstairs.prediction import from_scale, quantile
from upstairs.target import identity_scale

UNIT = identity_scale(np.array([-1.0, 1.0]))
NINETY = int(np.flatnonzero(COVERAGES == 0.9)[0])


def gaussian(n, spread=1.0, dof=np.inf):
    return from_scale(UNIT, np.zeros(n), np.full(n, spread**2), np.full(n, spread), np.full(n, dof))


def test_factor_by_hand():
    """Ten tasks of one row: 90 % with the correction for ten tasks is 99 %, so the largest of the ten errors."""
    y = np.array([1.0, -2, 3, -4, 5, -6, 7, -8, 9, -10])
    learned = learn_intervals((0,), [gaussian(10)], [y], [np.arange(10)], UNIT)
    assert learned.factor[0, NINETY] == pytest.approx(10 / special.ndtri(0.95))
    half = int(np.flatnonzero(COVERAGES == 0.5)[0])  # 55 %: the sixth
    assert learned.factor[0, half] == pytest.approx(6 / special.ndtri(0.75), rel=1e-5)


def test_each_task_weighs_the_same():
    """Task 0 has 98 rows without error and counts no more than each of 49 tasks of one row."""
    y, task = np.append(np.zeros(98), np.ones(49)), np.append(np.zeros(98, int), np.arange(1, 50))
    learned = learn_intervals((0,), [gaussian(147)], [y], [task], UNIT)
    assert learned.factor[0, 0] == pytest.approx(1 / special.ndtri(0.75), rel=1e-5)


@pytest.mark.parametrize("truth", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("dof", [4.0, np.inf])
def test_a_spread_that_is_wrong_by_a_factor_is_put_right(truth, dof):
    rng = np.random.default_rng(0)
    n = 4000
    y = truth * (rng.standard_t(dof, n) if np.isfinite(dof) else rng.normal(size=n))
    learned = learn_intervals((0,), [gaussian(n, dof=dof)], [y], [np.arange(n) // 4], UNIT)
    np.testing.assert_allclose(learned.factor[0], truth, rtol=0.08)


def test_calibrated_intervals_cover_unseen_tasks():
    """Errors are skewed and heavy-tailed, unlike the Gaussian that is claimed."""
    rng = np.random.default_rng(1)
    task = np.repeat(np.arange(600), 5)
    y = (rng.normal(size=600) * rng.exponential(size=600))[task] + rng.normal(size=3000)
    seen, unseen = task < 300, task >= 300
    learned = learn_intervals((0,), [gaussian(1500)], [y[seen]], [task[seen]], UNIT)
    for coverage in (0.5, 0.8, 0.9, 0.95):
        factor = interval_factor(learned, np.zeros(1500), coverage)
        low, high = (quantile(gaussian(1500), UNIT, p, factor) for p in ((1 - coverage) / 2, (1 + coverage) / 2))
        assert ((low <= y[unseen]) & (y[unseen] <= high)).mean() == pytest.approx(coverage, abs=0.04)


def test_a_bucket_without_rows_takes_the_one_before():
    none = np.array([])
    learned = learn_intervals((0, 1), [gaussian(50), gaussian(0)], [np.linspace(-3, 3, 50), none], [np.arange(50), none], UNIT)
    np.testing.assert_array_equal(learned.factor[1], learned.factor[0])


def test_between_buckets_is_linear_in_the_logarithm():
    shots = np.array([0, 1, 3, 7, 100])
    np.testing.assert_allclose(between_buckets(np.array([1.0, 7.0]), np.array([2.0, 4.0]), shots), [2, 2, 3, 4, 4])


def test_identity_changes_nothing():
    calibration = identity_calibration((0, 5))
    log_proba = np.log([[0.2, 0.8], [0.5, 0.5]])
    np.testing.assert_allclose(temper(calibration, np.array([0, 3]), log_proba), log_proba)
    np.testing.assert_array_equal(interval_factor(calibration, np.array([0, 3, 99]), 0.77), 1)


@pytest.mark.parametrize("confidence", [0.6, 1.0, 2.0])
@pytest.mark.parametrize("n_classes", [2, 5])
def test_temperature_undoes_over_and_under_confidence(confidence, n_classes):
    rng = np.random.default_rng(2)
    logits = 2 * rng.normal(size=(5000, n_classes))
    y = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    claimed = special.log_softmax(confidence * logits, axis=1)
    learned = learn_temperatures((3,), [claimed], [y.astype(float)])
    assert learned.temperature[0] == pytest.approx(confidence, rel=0.06)
    calibrated = temper(learned, np.full(5000, 3), claimed)
    assert calibrated[np.arange(5000), y].mean() >= claimed[np.arange(5000), y].mean()
    np.testing.assert_allclose(np.exp(calibrated).sum(axis=1), 1)


def test_few_rows_leave_the_temperature_near_one():
    claimed = np.log(np.array([[0.9, 0.1], [0.9, 0.1], [0.1, 0.9]]))
    learned = learn_temperatures((0,), [claimed], [np.array([1.0, 0.0, 1.0])])
    assert 0.9 < learned.temperature[0] < 1.15
