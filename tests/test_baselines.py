"""The baselines: their formulas against plain references, and that no fold's model ever saw its tasks."""

import importlib.util
import itertools
import warnings

import lightgbm
import numpy as np
import pytest
from scipy import optimize, special
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression, Ridge

from every_learner import CLASSIFIERS, REGRESSORS
from upstairs import mixed_model
from upstairs.baselines import boosting, crossfit, hierarchical_ridge, pooled_shift, shrunk_mean, task_ridge
from upstairs.baselines.posterior import gaussian_posterior, log_probabilities, logistic_posterior, moments, pulls
from upstairs.datasets import make_grouped_classes, make_random_slopes
from upstairs.design import by_column, design_matrix, learn_design
from upstairs.levels import shrunk_levels, task_sums, variance_components
from upstairs.tasks import Tasks, assign_folds, offsets_of

BASELINES = [name for name in REGRESSORS if name not in ("auto", "forest")]
every_baseline = pytest.mark.parametrize("name", BASELINES)
NONE = np.zeros(0, int)


def make_tasks(sizes, seed=0, p=3, levels=None):
    rng = np.random.default_rng(seed)
    n = int(np.sum(sizes))
    X = rng.normal(size=(n, p)).astype(np.float32)
    levels = np.zeros(p, np.int32) if levels is None else np.array(levels, np.int32)
    for j in np.flatnonzero(levels):
        X[:, j] = rng.integers(levels[j], size=n)
    return Tasks(X, rng.normal(size=n), offsets_of(np.array(sizes)), np.arange(len(sizes)), levels)


# ---- crossfit: folds of tasks


def test_a_known_task_has_its_own_fold_and_an_unseen_one_all_of_them():
    weights = crossfit.fold_weights(np.array([1, -1]), 4)
    np.testing.assert_allclose(weights, [[0, 1, 0, 0], [0.25] * 4])


def test_a_single_task_is_learned_from_as_pseudo_tasks_that_nobody_knows():
    held_out, known_fold = crossfit.deal_folds(make_tasks([23]), np.random.default_rng(0))
    assert held_out.tasks.n_tasks == 5 and known_fold.tolist() == [-1]
    assert sorted(held_out.fold) == [0, 1, 2, 3, 4]


def test_population_means_leave_their_fold_out():
    tasks = make_tasks([4, 1, 7, 3, 2])
    fold = np.array([0, 1, 1, 2, 0])
    before = shrunk_mean._population_means(tasks.y[:, None], tasks, fold, 1.0, 0.5)
    changed = np.where(fold[tasks.task_of_row] == 1, 1e6, tasks.y)
    after = shrunk_mean._population_means(changed[:, None], tasks, fold, 1.0, 0.5)
    assert after[1] == before[1] and (after[[0, 2]] != before[[0, 2]]).all()


def test_fixed_effects_leave_their_fold_out():
    tasks = make_tasks([6] * 10)
    fold, D = np.arange(10) % 3, np.column_stack([np.ones(60), tasks.X])
    changed = np.where(fold[tasks.task_of_row] == 2, -1e3, tasks.y)
    before, after = (
        mixed_model.fixed_effects(mixed_model.sums_of(D, u, np.ones(60), tasks), np.full(4, 0.3), 0.7, fold, 1.0)
        for u in (tasks.y, changed)
    )
    np.testing.assert_array_equal(after[2], before[2])
    assert (after[:2] != before[:2]).all()


def test_boosters_leave_their_fold_out(monkeypatch):
    monkeypatch.setattr(boosting, "LEAVES", (5,))
    tasks = make_tasks([20] * 10)
    fold = np.arange(10) % 2
    changed = np.where(fold[tasks.task_of_row] == 1, tasks.X[:, 0] * 100, tasks.y)
    first_trees = []
    for u in (tasks.y, changed):
        boosters, _ = boosting.learn_boosters(tasks, u, 0, fold, 0.1, np.random.default_rng(0))
        first_trees.append([lightgbm.Booster(model_str=text).predict(tasks.X, num_iteration=1) for text in boosters.text])
    np.testing.assert_array_equal(first_trees[0][1], first_trees[1][1])
    assert not np.array_equal(first_trees[0][0], first_trees[1][0])


def test_held_out_scores_come_from_the_booster_of_the_tasks_fold():
    tasks = make_tasks([15] * 8)
    fold = assign_folds(8, 4, np.random.default_rng(0))
    boosters, _ = boosting.learn_boosters(tasks, tasks.y, 0, fold, 0.1, np.random.default_rng(0))
    f = boosting.held_out_scores(boosters, tasks, fold)[:, 0]
    for k, text in enumerate(boosters.text):
        rows = fold[tasks.task_of_row] == k
        np.testing.assert_allclose(f[rows], lightgbm.Booster(model_str=text).predict(tasks.X[rows]) + boosters.start[k, 0])


# ---- levels


def test_variance_components_find_the_truth():
    rng = np.random.default_rng(0)
    sizes = rng.integers(1, 20, 3000)
    task = np.repeat(np.arange(3000), sizes)
    r = np.sqrt(2.0) * rng.normal(size=3000)[task] + np.sqrt(0.5) * rng.normal(size=len(task))
    w, b = variance_components(r, offsets_of(np.bincount(task)))
    assert w == pytest.approx(0.5, rel=0.05) and b == pytest.approx(2.0, rel=0.08)


def test_variance_within_and_between_are_not_told_apart_by_single_rows():
    w, b = variance_components(np.array([1.0, 3.0, 5.0]), np.arange(4))
    assert b == 1e-3 * w


def test_a_tasks_sum_is_untouched_by_its_neighbours():
    values = np.array([1e200, 1.0, 1e-3, -1e200])[:, None]
    np.testing.assert_array_equal(task_sums(values, np.array([0, 1, 3, 4, 4]))[:, 0], [1e200, 1.001, -1e200, 0])


def test_shrunk_levels_are_the_gaussian_posterior():
    r = np.array([1.0, 2.0, 4.0])
    level, variance = shrunk_levels(r[:, None], np.array([0, 3, 3]), 0.5, 2.0)
    K = 2.0 * np.ones((3, 3)) + 0.5 * np.eye(3)
    assert level[0, 0] == pytest.approx(2.0 * np.ones(3) @ np.linalg.solve(K, r))
    assert variance[0] == pytest.approx(2.0 - 4.0 * np.ones(3) @ np.linalg.solve(K, np.ones(3)))
    assert (level[1, 0], variance[1]) == (0.0, 2.0)


# ---- design


def test_design_flags_the_missing_clips_the_far_and_knows_no_new_level():
    tasks = make_tasks([50, 50], p=3, levels=[0, 3, 0])
    tasks.X[::5, 0] = np.nan
    tasks.X[:, 2] = 7.0  # constant
    design = learn_design(tasks)
    assert design.numbers.tolist() == [0] and design.missing.tolist() == [0] and sorted(design.level) == [0, 1, 2]
    D = design_matrix(design, np.array([[np.nan, 1, 7], [99, np.nan, 7]], np.float32))
    one_hot = [float(level == 1) for level in design.level]
    np.testing.assert_allclose(D, [[1, 0, 1, *one_hot], [1, design.high[0], 0, 0, 0, 0]])
    assert by_column(design, D, 3)[0].tolist() == [1, 1, 0]


def test_rare_levels_have_no_column():
    tasks = make_tasks([60], p=1, levels=[4])
    tasks.X[:, 0] = 0
    tasks.X[:3, 0] = 1
    assert learn_design(tasks).level.tolist() == [0]


# ---- posterior


def ragged(sizes=(0, 1, 3, 40, 0, 7), q=5, seed=0):
    rng = np.random.default_rng(seed)
    n = sum(sizes)
    return rng.normal(size=(n, q)), rng.normal(size=n), offsets_of(np.array(sizes))


def slices(offsets):
    return [slice(start, stop) for start, stop in itertools.pairwise(offsets)]


def test_gaussian_posterior_is_bayes_rule():
    """Sizes below and beyond the number of weights, against the formula in the space of weights."""
    A, b, offsets = ragged()
    asked, _, asked_offsets = ragged((2, 5, 1, 3, 4, 0), seed=1)
    posterior = gaussian_posterior(A, b, offsets)
    mean, variance = moments(posterior, asked, asked_offsets)
    for rows, query in zip(slices(offsets), slices(asked_offsets), strict=True):
        covariance = np.linalg.inv(A[rows].T @ A[rows] + np.eye(5))
        np.testing.assert_allclose(mean[query], asked[query] @ covariance @ A[rows].T @ b[rows], atol=1e-12)
        np.testing.assert_allclose(variance[query], ((asked[query] @ covariance) * asked[query]).sum(axis=1), atol=1e-12)


def test_logistic_posterior_is_laplaces():
    A, _, offsets = ragged()
    rng = np.random.default_rng(2)
    y, f = rng.integers(2, size=len(A)).astype(float), rng.normal(size=len(A))
    asked, _, asked_offsets = ragged((2,) * 6, seed=1)
    mean, variance = moments(logistic_posterior(A, y, f, offsets), asked, asked_offsets)
    for rows, query in zip(slices(offsets), slices(asked_offsets), strict=True):
        a, sign, start = A[rows], 2 * y[rows] - 1, f[rows]
        mode = optimize.minimize(
            lambda beta, a=a, sign=sign, start=start: -special.log_expit(sign * (start + a @ beta)).sum() + beta @ beta / 2,
            np.zeros(5),
            tol=1e-10,
        ).x
        p = special.expit(start + a @ mode)
        covariance = np.linalg.inv(a.T @ ((p * (1 - p))[:, None] * a) + np.eye(5))
        np.testing.assert_allclose(mean[query], asked[query] @ mode, atol=1e-4)
        np.testing.assert_allclose(variance[query], ((asked[query] @ covariance) * asked[query]).sum(axis=1), atol=1e-3)


@pytest.mark.parametrize("logistic", [False, True])
def test_pulls_of_support_rows_sum_to_the_mean(logistic):
    A, b, offsets = ragged((12,))
    posterior = logistic_posterior(A, (b > 0) * 1.0, b, offsets) if logistic else gaussian_posterior(A, b, offsets)
    asked = np.random.default_rng(3).normal(size=(4, 5))
    np.testing.assert_allclose(pulls(posterior, asked).sum(axis=1), moments(posterior, asked, np.array([0, 4]))[0], atol=1e-8)


def test_probabilities_average_over_the_logits_uncertainty():
    draws = special.expit(1.5 + 2.0 * np.random.default_rng(0).normal(size=200_000))
    log = log_probabilities(np.array([[1.5]]), np.array([[4.0]]))
    assert np.exp(log[0, 1]) == pytest.approx(draws.mean(), abs=0.01)
    assert np.exp(log).sum() == pytest.approx(1)
    np.testing.assert_allclose(np.exp(log_probabilities(np.array([[-800.0, 3, 3]]), np.zeros((1, 3)))).sum(), 1)


# ---- mixed model and hierarchical ridge


def test_sums_of_residuals_are_those_of_the_rows():
    tasks = make_tasks([3, 8, 1])
    D, weight = np.column_stack([np.ones(12), tasks.X]), np.linspace(0.1, 2, 12)
    gamma = np.random.default_rng(1).normal(size=(3, 4))
    r = tasks.y - (D * gamma[tasks.task_of_row]).sum(axis=1)
    direct = mixed_model.sums_of(D, r, weight, tasks)
    for ours, theirs in zip(
        mixed_model.residual_sums(mixed_model.sums_of(D, tasks.y, weight, tasks), gamma), direct, strict=True
    ):
        np.testing.assert_allclose(ours, theirs, atol=1e-10)


def test_each_step_raises_the_posterior():
    tasks = make_tasks([9] * 30)
    D = np.column_stack([np.ones(270), tasks.X])
    sums = mixed_model.sums_of(D, tasks.y, np.ones(270), tasks)

    def log_posterior(theta, w):
        V = [D[rows] @ np.diag(theta) @ D[rows].T + w * np.eye(9) for rows in slices(tasks.offsets)]
        parts = zip(V, slices(tasks.offsets), strict=True)
        loss = sum(np.linalg.slogdet(v)[1] + tasks.y[rows] @ np.linalg.solve(v, tasks.y[rows]) for v, rows in parts)
        return -loss - 2 * mixed_model.DOUBT * np.log1p(theta / w).sum()

    theta, w = np.full(4, 0.5), 3.0
    values = [log_posterior(theta, w)]
    for _ in range(3):
        theta, w = mixed_model.maximise_posterior(sums, theta, w, np.array([-1, 0, 1, 2]), learn_noise=True)
        values.append(log_posterior(theta, w))
    assert (np.diff(values) > -1e-9).all() and values[-1] > values[0] + 1


@pytest.mark.skipif(importlib.util.find_spec("statsmodels") is None, reason="statsmodels is not installed")
def test_hierarchical_ridge_finds_the_variances_that_statsmodels_finds():
    from statsmodels.regression.mixed_linear_model import MixedLM, MixedLMParams

    data = make_random_slopes(150, 12, 2, level_sd=1.0, slope_sd=0.5, noise_sd=0.7, random_state=0)
    meta = hierarchical_ridge.HierarchicalRidgeRegressor(random_state=0).fit(data.X, data.y, groups=data.groups)
    D = np.column_stack([np.ones(len(data.y)), (data.X - data.X.mean(axis=0)) / data.X.std(axis=0)])
    diagonal = MixedLMParams.from_components(fe_params=np.ones(3), cov_re=np.eye(3))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # statsmodels warns of its own optimiser
        theirs = MixedLM(data.y, D, groups=data.groups, exog_re=D).fit(free=diagonal)
    assert meta.info_.noise_variance == pytest.approx(theirs.scale, rel=0.02)
    assert meta.info_.level_variance == pytest.approx(theirs.cov_re[0, 0], rel=0.06)
    np.testing.assert_allclose(meta.info_.slope_variance, np.diag(theirs.cov_re)[1:], rtol=0.06)
    np.testing.assert_allclose(meta.state_.gamma.mean(axis=0)[0, 1:] * meta.state_.scale.sd, theirs.fe_params[1:], atol=0.03)


def test_noise_is_not_taken_for_many_slopes_where_tasks_are_short():
    rng = np.random.default_rng(2)
    X, task, slopes = rng.normal(size=(1000, 20)), np.repeat(np.arange(200), 5), rng.normal(size=(200, 5))
    y = (X[:, :5] * slopes[task]).sum(axis=1) + 0.1 * rng.normal(size=1000)
    meta = hierarchical_ridge.HierarchicalRidgeRegressor(random_state=0).fit(X, y, groups=task)
    assert 0.005 < meta.info_.noise_variance < 0.02  # by the likelihood alone 0.0002


def test_a_slope_that_is_the_same_everywhere_gets_no_variance():
    data = make_random_slopes(80, 20, 3, slope_sd=0.0, random_state=0)
    meta = hierarchical_ridge.HierarchicalRidgeRegressor(random_state=0).fit(data.X, data.y, groups=data.groups)
    assert (meta.info_.slope_variance < 0.02 * meta.info_.level_variance).all()


def test_logistic_variances_are_of_the_right_size():
    data = make_grouped_classes(200, 30, 2, level_sd=np.sqrt(0.5), slope_sd=0.0, random_state=0)
    meta = hierarchical_ridge.HierarchicalRidgeClassifier(random_state=0).fit(data.X, data.y, groups=data.groups)
    assert meta.info_.level_variance == pytest.approx(1.0, rel=0.4)  # of a difference of two logits
    assert (meta.info_.slope_variance < 0.1).all()


# ---- task ridge


def test_task_ridge_is_ridge_on_the_support():
    data = make_random_slopes(30, 20, 3, random_state=0)
    meta = task_ridge.TaskRidgeRegressor(penalty=2.0, random_state=0).fit(data.X, data.y, groups=data.groups)
    X, y, X_query = data.X[:15], data.y[:15], data.X[15:20]
    sd = data.X.std(axis=0)
    ridge = Ridge(alpha=2.0).fit(X / sd, y)
    np.testing.assert_allclose(meta.adapt(X, y).predict(X_query), ridge.predict(X_query / sd), rtol=1e-2)


def test_task_ridge_is_logistic_regression_on_the_support():
    data = make_grouped_classes(30, 60, 2, random_state=0)
    meta = task_ridge.TaskRidgeClassifier(random_state=0).fit(data.X, data.y, groups=data.groups)
    X, y, X_query = data.X[:40], data.y[:40], data.X[40:60]
    sd = data.X.std(axis=0)
    theirs = LogisticRegression(C=1.0).fit(X / sd, y).predict_proba(X_query / sd)[:, 1]
    ours = meta.adapt(X, y).predict_proba(X_query)[:, 1]
    assert np.corrcoef(special.logit(ours), special.logit(theirs))[0, 1] > 0.98  # ours are also calibrated
    assert ((ours > 0.5) == (theirs > 0.5)).mean() > 0.9


@pytest.mark.parametrize("rows", [[0], [0, 1, 2]])
def test_task_ridge_falls_back_on_the_population(rows):
    """One row; three rows of one class."""
    data = make_grouped_classes(30, 20, 3, random_state=0)
    meta = task_ridge.TaskRidgeClassifier(random_state=0).fit(data.X, data.y, groups=data.groups)
    proba = meta.adapt(data.X[rows], np.zeros(len(rows), int)).predict_proba(data.X[10:15])
    assert np.ptp(proba, axis=0).max() < 1e-12
    frequency = np.bincount(data.y) / len(data.y)
    assert (proba[0].argsort() == frequency.argsort()).all()


# ---- pooled shift


def test_shifts_are_the_mode_of_their_posterior():
    rng = np.random.default_rng(0)
    logits, codes, task = rng.normal(size=(14, 3)), rng.integers(3, size=14), np.repeat([0, 2], [5, 9])
    shift, pull = pooled_shift._shift_logits(logits, codes, np.array([0, 5, 5, 14]), 0.7)
    assert (shift[1] == 0).all()
    for t in (0, 2):
        rows = task == t

        def loss(o, rows=rows):
            log = special.log_softmax(logits[rows] + o, axis=1)
            return -log[np.arange(rows.sum()), codes[rows]].sum() + o @ o / 1.4

        np.testing.assert_allclose(shift[t], optimize.minimize(loss, np.zeros(3), tol=1e-10).x, atol=1e-5)
        np.testing.assert_allclose(pull[rows].sum(axis=0), shift[t], atol=1e-8)


def test_pooled_shift_without_a_support_is_pooled():
    data = make_random_slopes(30, 10, random_state=0)
    ours, pooled = (
        clone(REGRESSORS[name]).fit(data.X, data.y, groups=data.groups).predict(data.X[:9])
        for name in ("pooled-shift", "pooled")
    )
    np.testing.assert_allclose(ours, pooled)


# ---- all of them, on simulated tasks


@every_baseline
def test_intervals_cover_new_tasks(name):
    data = make_random_slopes(240, 24, random_state=1)
    train = data.groups < 120
    meta = clone(REGRESSORS[name]).fit(data.X[train], data.y[train], groups=data.groups[train])
    row = np.arange(len(data.y)) % 24
    query = ~train & (row >= 10)
    for shots in (0, 1, 3, 10):
        support = ~train & (row < shots)
        X, groups = data.X[query], {"groups": data.groups[query]}
        model = meta.adapt_tasks(data.X[support], data.y[support], groups=data.groups[support]) if shots else meta
        low, high = np.asarray(model.predict_interval(X, coverage=0.9, **(groups if shots else {}))).T
        covered = ((low <= data.y[query]) & (data.y[query] <= high)).mean()
        assert covered == pytest.approx(0.9, abs=0.04), shots


@every_baseline
def test_probabilities_are_calibrated_on_new_tasks(name):
    data = make_grouped_classes(240, 24, 3, random_state=1)
    train = data.groups < 120
    meta = clone(CLASSIFIERS[name]).fit(data.X[train], data.y[train], groups=data.groups[train])
    row = np.arange(len(data.y)) % 24
    query, support = ~train & (row >= 10), ~train & (row < 5)
    models = meta.adapt_tasks(data.X[support], data.y[support], groups=data.groups[support])
    proba = models.predict_proba(data.X[query], groups=data.groups[query])
    hit = proba.argmax(axis=1) == data.y[query]
    assert proba.max(axis=1).mean() == pytest.approx(hit.mean(), abs=0.05)


@pytest.mark.parametrize("name", [name for name in BASELINES if name != "pooled"])
def test_rows_of_a_task_help(name):
    data = make_random_slopes(120, 30, level_sd=2.0, slope_sd=0.8, random_state=2)
    train = data.groups < 80
    meta = clone(REGRESSORS[name]).fit(data.X[train], data.y[train], groups=data.groups[train])
    row = np.arange(len(data.y)) % 30
    query, support = ~train & (row >= 15), ~train & (row < 12)
    models = meta.adapt_tasks(data.X[support], data.y[support], groups=data.groups[support])
    without = ((meta.predict(data.X[query]) - data.y[query]) ** 2).mean()
    with_rows = ((models.predict(data.X[query], groups=data.groups[query]) - data.y[query]) ** 2).mean()
    assert with_rows < 0.85 * without


@every_baseline
def test_a_constant_target_is_predicted_as_it_is(name):
    X = np.random.default_rng(0).normal(size=(40, 2))
    meta = clone(REGRESSORS[name]).fit(X, np.full(40, 3.0), groups=np.repeat(np.arange(8), 5))
    np.testing.assert_allclose(meta.adapt(X[:4], np.full(4, 3.0)).predict(X), 3.0, atol=1e-6)
