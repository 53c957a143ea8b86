"""Trees replayed without LightGBM: the same numbers, by groups and weights."""

import lightgbm
import numpy as np
import pytest

from upstairs.trees import Booster, flatten, leaf_of, sum_of


@pytest.fixture
def grown():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2000, 5)).astype(np.float32)
    X[:, 3] = rng.integers(0, 40, len(X))
    X[rng.random(X.shape) < 0.1] = np.nan
    X[:, 0] = rng.normal(size=len(X))  # no missing value in training: LightGBM then reads NaN as 0
    y = X[:, 0] + np.sin(np.nan_to_num(X[:, 3])) + rng.normal(size=len(X))
    params = {"verbosity": -1, "num_threads": 1, "cat_smooth": 1, "min_data_per_group": 5}
    booster = lightgbm.train(params, lightgbm.Dataset(X, y, categorical_feature=[3]), 50)
    X[rng.random(X.shape) < 0.1] = np.nan
    X[:, 3] = rng.integers(-1, 80, len(X))  # codes never seen
    return booster, X


def test_replaying_equals_lightgbm_bit_for_bit(grown):
    booster, X = grown
    trees = flatten([Booster(booster.model_to_string(), 1.0, 0)])
    np.testing.assert_array_equal(sum_of(trees, X, 1)[:, 0], booster.predict(X))
    np.testing.assert_array_equal(leaf_of(trees, X), booster.predict(X, pred_leaf=True))


def test_columns_with_more_thresholds_than_a_byte_has_levels():
    rng = np.random.default_rng(1)
    X = rng.normal(size=(9000, 2)).astype(np.float32)
    data = lightgbm.Dataset(X, np.sin(40 * X[:, 0]) + X[:, 1], params={"max_bin": 2000})
    booster = lightgbm.train({"verbosity": -1, "num_threads": 1, "num_leaves": 63}, data, 60)
    trees = flatten([Booster(booster.model_to_string(), 1.0, 0)])
    assert len(trees.levels.feature) > 2
    X[::7, 0], X[1], X[2] = np.nan, np.inf, -np.inf
    np.testing.assert_array_equal(sum_of(trees, X, 1)[:, 0], booster.predict(X))


def test_trees_of_older_files_learn_their_levels_on_the_way(grown):
    booster, X = grown
    trees = flatten([Booster(booster.model_to_string(), 1.0, 0)])
    np.testing.assert_array_equal(leaf_of(trees._replace(levels=None), X), leaf_of(trees, X))


def test_boosters_add_to_their_groups_by_weight(grown):
    booster, X = grown
    text = booster.model_to_string()
    sums = sum_of(flatten([Booster(text, 0.5, 0), Booster(text, 2.0, 1), Booster(text, 1.0, 1)]), X, 2)
    np.testing.assert_allclose(sums[:, 0], 0.5 * booster.predict(X), atol=1e-12)
    np.testing.assert_allclose(sums[:, 1], 3.0 * booster.predict(X), atol=1e-12)


def test_no_trees_sum_to_zero():
    assert sum_of(flatten([]), np.zeros((3, 2), np.float32), 1).tolist() == [[0.0], [0.0], [0.0]]
