"""Generators: what they say of their truth is true."""

import numpy as np
import pytest

from upstairs import UpstairsError
from upstairs.datasets import (
    GROUPED_FOREST_SETTINGS,
    make_families,
    make_grouped_classes,
    make_grouped_forest,
    make_heavy_tails,
    make_random_slopes,
    make_sinusoids,
    make_sloped_sinusoids,
)

MAKERS = [
    make_random_slopes, make_sinusoids, make_sloped_sinusoids, make_families, make_grouped_forest, make_heavy_tails,
    make_grouped_classes,
]  # fmt: skip


@pytest.mark.parametrize("make", MAKERS)
def test_rows_are_sorted_by_task_finite_and_reproducible(make):
    X, y, groups, truth = make(random_state=3)
    assert len(X) == len(y) == len(groups) == len(truth[0])
    assert (np.diff(groups) >= 0).all() and len(truth.tasks) == groups.max() + 1
    assert np.isfinite(X).all() and np.isfinite(y).all()
    again, other = make(random_state=3), make(random_state=4)
    np.testing.assert_array_equal(again.y, y)
    assert not np.array_equal(other.y, y)


def test_random_slopes_are_lines_with_the_claimed_variances():
    X, y, groups, truth = make_random_slopes(2000, 5, 2, level_sd=2.0, slope_sd=0.7, noise_sd=0.3, random_state=0)
    np.testing.assert_allclose(truth.tasks.std(axis=0), [2.0, 0.7, 0.7], rtol=0.05)
    own = (np.column_stack([np.ones(len(X)), X]) * truth.tasks[groups]).sum(axis=1)
    np.testing.assert_allclose(truth.mean, truth.shared + own)
    assert np.var(y - truth.mean) == pytest.approx(truth.noise_variance, rel=0.05)


def test_sinusoids_are_those_of_the_paper():
    X, y, groups, truth = make_sinusoids(500, 10, random_state=0)
    amplitude, phase, frequency = truth.tasks[groups].T
    np.testing.assert_allclose(y, amplitude * np.sin(X[:, 0] - phase))
    assert amplitude.min() >= 0.1 and amplitude.max() <= 5 and phase.min() >= 0 and phase.max() <= np.pi
    assert np.abs(X).max() <= 5 and (frequency == 1).all()
    noisy = make_sinusoids(500, 10, noise_sd=0.5, random_state=0)
    assert np.var(noisy.y - noisy.truth.mean) == pytest.approx(0.25, rel=0.1)


def test_sinusoids_may_differ_in_frequency():
    X, y, groups, truth = make_sinusoids(500, 10, frequencies=(0.8, 1.2), random_state=0)
    amplitude, phase, frequency = truth.tasks[groups].T
    np.testing.assert_allclose(y, amplitude * np.sin(frequency * X[:, 0] - phase))
    assert 0.8 <= frequency.min() < 0.81 and 1.19 < frequency.max() <= 1.2


def test_sloped_sinusoids_are_those_of_the_paper():
    X, y, groups, truth = make_sloped_sinusoids(20_000, 2, random_state=0)
    np.testing.assert_allclose(truth.tasks.mean(axis=0), [1, 0, 0.5, 5], atol=0.01)
    np.testing.assert_allclose(truth.tasks.std(axis=0), [0.6 / 12**0.5, 0.1, 0.2, 0.1], rtol=0.02)
    amplitude, shift, slope, level = truth.tasks[groups].T
    np.testing.assert_allclose(truth.mean, amplitude * np.sin(1.5 * (X[:, 0] - shift)) + slope * X[:, 0] + level)
    assert np.var(y - truth.mean) == pytest.approx(truth.noise_variance, rel=0.05)
    near = np.abs(X[:, 0] - 2) < 0.2
    assert np.mean(truth.mean[near] - truth.shared[near]) == pytest.approx(0, abs=0.05)


def test_families_are_those_of_the_paper():
    X, y, groups, truth = make_families(20_000, 2, random_state=0)
    family = truth.tasks[:, 0]
    np.testing.assert_allclose(np.bincount(family.astype(int)) / 20_000, 0.25, atol=0.01)
    largest = np.abs(truth.tasks[:, [1, 3, 4, 5, 6]])
    for f, expected in enumerate([[5, 0, 0, 0, 2 * np.pi], [0, 0, 0, 3, 3], [0, 0, 0.2, 2, 3], [0, 0.1, 0.2, 2, 3]]):
        np.testing.assert_allclose(largest[family == f].max(axis=0), expected, rtol=0.01)
    _, a, w, *polynomial = truth.tasks[groups].T
    np.testing.assert_allclose(
        truth.mean, a * np.sin(w * X[:, 0]) + sum(c * X[:, 0] ** (3 - k) for k, c in enumerate(polynomial))
    )
    assert np.var(y - truth.mean) == pytest.approx(0.09, rel=0.05)
    near = np.abs(X[:, 0] - 2) < 0.2
    assert np.mean(truth.mean[near] - truth.shared[near]) == pytest.approx(0, abs=0.3)


@pytest.mark.parametrize("setting", range(1, 7))
def test_grouped_forest_is_that_of_the_paper(setting):
    X, y, groups, truth = make_grouped_forest(setting, n_known=1000, n_new=50, n_new_rows=12, random_state=0)
    m, level_variance = GROUPED_FOREST_SETTINGS[setting - 1]
    sizes = np.bincount(groups)
    assert np.unique(sizes[:1000], return_counts=True)[1].tolist() == [200] * 5
    assert sizes[:5].tolist() == [1, 3, 5, 7, 9] and set(sizes[1000:]) == {12}
    assert truth.tasks.var() == pytest.approx(level_variance, rel=0.15)
    assert np.var(y - truth.mean) == pytest.approx(1, rel=0.1)
    x1, x2, x3 = X[7]
    assert truth.shared[7] == pytest.approx(m * (2 * x1 + x2**2 + 4 * (x3 > 0) + 2 * x3 * np.log(abs(x1))))


@pytest.mark.parametrize("setting", [0, 7, 1.5, "third"])
def test_an_unknown_setting_is_a_mistake(setting):
    with pytest.raises(UpstairsError, match="from 1 to 6"):
        make_grouped_forest(setting)


def test_heavy_tails_have_an_expected_value_and_few_rows_hold_the_squares():
    X, y, groups, truth = make_heavy_tails(200, 50, noise_sd=2.0, random_state=0)
    log_mean = truth.shared + truth.tasks[groups, 0]
    np.testing.assert_allclose(truth.mean, np.exp(log_mean + truth.noise_variance / 2))
    assert np.var(np.log(y) - log_mean) == pytest.approx(4, rel=0.05)
    assert np.sort(y**2)[-len(y) // 100 :].sum() > 0.9 * (y**2).sum()
    assert np.corrcoef(X[:, 3], truth.shared)[0, 1] == pytest.approx(0, abs=0.05)


def test_classes_come_as_often_as_their_probability_says():
    X, y, _, truth = make_grouped_classes(300, 30, 3, random_state=0)
    assert set(y) == {0, 1, 2} and X.shape == (9000, 5)
    np.testing.assert_allclose(truth.proba.sum(axis=1), 1)
    for c in range(3):
        likely = truth.proba[:, c] > 0.7
        assert (y[likely] == c).mean() == pytest.approx(truth.proba[likely, c].mean(), abs=0.03)
