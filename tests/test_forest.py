"""The meta random forest: its trees against LightGBM, its mathematics against references."""

import itertools

import numpy as np
import pytest
from scipy import integrate, optimize, special
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel
from threadpoolctl import threadpool_info, threadpool_limits

from upstairs import MetaRandomForestClassifier, MetaRandomForestRegressor
from upstairs.baselines.pooled import PooledRegressor
from upstairs.blending import blend_weights
from upstairs.datasets import make_random_slopes
from upstairs.design import design_matrix, learn_design
from upstairs.forest import boosting
from upstairs.forest.deviation import adapt_deviation, predict_deviation
from upstairs.forest.effects import grow_effect_trees
from upstairs.forest.kernel import Prior, Rows
from upstairs.forest.losses import jackknife_logit, within_loss
from upstairs.levels import leave_one_out, newton_offsets, shrunk_levels, variance_components
from upstairs.target import back_quantile
from upstairs.tasks import Tasks, offsets_of


def make_rows(n, n_linear=3, n_bumps=1, seed=0, f_b=0.0):
    rng = np.random.default_rng(seed)
    linear = rng.uniform(-2, 2, size=(n, n_linear)).astype(np.float32)
    category = rng.integers(0, 3, size=(n, 1)).astype(np.int16)
    leaf = rng.integers(0, 4, size=(n, 5)).astype(np.uint8)
    return Rows(rng.normal(size=n), np.full(n, f_b), linear, category, leaf), np.arange(n_linear)[:n_bumps].astype(np.int32)


def make_prior(n_linear=3, n_bumps=1, **changes):
    zero = Prior(np.full(1 + n_linear, 1e-12), np.zeros((2, 1 + n_linear)), np.zeros(1), np.zeros(n_bumps), 0.0, 1.0, 0.3)
    return zero._replace(**changes)


def one_task(prior, bumps, rows, u, query, classify=False):
    priors = (prior,), np.zeros(1, int)
    deviation = adapt_deviation(*priors, bumps, rows, u, np.array([0, len(u)]), classify)
    return predict_deviation(*priors, bumps, deviation, query, np.array([0, len(query.f_w)]), classify)


# --------------------------------------------------------------------------------------------------------------- levels


def test_variance_components_find_the_truth():
    rng = np.random.default_rng(1)
    sizes = rng.integers(2, 12, 3000)
    r = 2 * np.repeat(rng.normal(size=3000), sizes) + 0.5 * rng.normal(size=sizes.sum())
    w, b = variance_components(r, offsets_of(sizes))
    assert w == pytest.approx(0.25, rel=0.05)
    assert b == pytest.approx(4.0, rel=0.1)


def test_variance_components_of_single_row_tasks_are_all_noise():
    w, b = variance_components(np.array([1.0, 2.0, 4.0]), np.array([0, 1, 2, 3]))
    assert w == pytest.approx(np.var([1, 2, 4]))
    assert b == pytest.approx(1e-3 * w)


def test_leave_one_out_equals_leaving_each_row_out():
    r, offsets = np.array([1.0, 2.0, 4.0, -1.0, 0.5]), np.array([0, 3, 5])
    expected = []
    for start, stop in ((0, 3), (3, 5)):
        for i in range(start, stop):
            others = [r[j] for j in range(start, stop) if j != i]
            expected.append(r[i] - 0.7 * sum(others) / (len(others) * 0.7 + 0.2))
    np.testing.assert_allclose(leave_one_out(r, offsets, 0.2, 0.7), expected)


def test_the_within_loss_ignores_a_level_that_is_shared_by_a_large_task():
    u, offsets, rows = np.full(1000, 5.0), np.array([0, 1000]), np.arange(1000)
    gradient, hessian = within_loss(u, w=1.0, b=1.0)(rows, offsets).gradient(np.zeros(1000))
    assert np.abs(gradient).max() < 0.01
    assert (hessian == 1).all()
    np.testing.assert_allclose(shrunk_levels(u, offsets, 1.0, 1.0)[0], 5 * 1000 / 1001)


def test_the_within_loss_knows_the_levels_of_its_rows_tasks():
    rng = np.random.default_rng(0)
    u, F, rows, offsets = rng.normal(size=50), rng.normal(size=20), rng.permutation(50)[:20], np.array([0, 1, 8, 20])
    loss, r = within_loss(u, w=0.5, b=2.0)(rows, offsets), u[rows] - F
    level = np.repeat(shrunk_levels(r, offsets, 0.5, 2.0)[0], np.diff(offsets))
    np.testing.assert_allclose(loss.gradient(F)[0], level - r)
    np.testing.assert_allclose(loss.held_out(F), (leave_one_out(r, offsets, 0.5, 2.0) ** 2).mean())


def test_boosting_ends_where_the_mean_of_the_folds_hardly_falls(monkeypatch):
    asked = []

    def errors(booster, fold, start, loss):
        for i in itertools.count():
            asked.append(i)
            # one fold is best at once, the other, of twice the rows, falls for a while
            yield 1 + 0.01 * i if start[0] == 0 else 30 - min(i, length)

    monkeypatch.setattr(boosting, "_held_out_errors", errors)
    folds = [boosting.Fold(*[None] * 3, np.arange(n), None, None, can_split=False) for n in (10, 20)]
    for length in (10, 29):
        asked.clear()
        boosted = boosting.boost(folds, np.array([[0.0], [1.0]]), None, 5, 0, 0.1)
        best = min(length, boosting.LONG_PATIENCE)
        assert boosted.rounds == best * boosting.STRIDE
        assert boosted.error == pytest.approx((1 + 0.01 * best + 2 * (30 - best)) / 3)
        assert max(asked) == min(length + boosting.PATIENCE, boosting.LONG_PATIENCE)


def test_a_fit_keeps_to_one_thread(monkeypatch):
    seen = []

    def grow(*args):
        seen.extend(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")
        return grow_effect_trees(*args)

    monkeypatch.setattr("upstairs.forest.outer.grow_effect_trees", grow)
    X, y, task, _ = make_random_slopes(8, 8, 1, random_state=0)
    with threadpool_limits(2, "blas"):
        before = threadpool_info()
        MetaRandomForestRegressor(random_state=0, n_episodes=20).fit(X, y, groups=task)
        assert set(seen) == {1}
        assert [pool for pool in threadpool_info() if pool in before] == before


def test_jackknife_is_close_to_fitting_without_the_row():
    rng = np.random.default_rng(0)
    y, F, offsets = rng.integers(0, 2, 30).astype(float), rng.normal(size=30), np.array([0, 30])
    o = newton_offsets(y, F, offsets, np.zeros(1), steps=20)
    others = newton_offsets(y[1:], F[1:], np.array([0, 29]), np.zeros(1), steps=20)
    jackknife = jackknife_logit(y, F, offsets, o, 1.0)[0]
    assert jackknife == pytest.approx(F[0] + others[0], abs=0.01)


# ------------------------------------------------------------------------------------------------------------ deviation


def test_the_deviation_equals_a_gaussian_process():
    rows, bumps = make_rows(12)
    query, _ = make_rows(7, seed=5)
    prior = make_prior(linear=np.array([0.8, 1e-12, 1e-12, 1e-12]), bump=np.array([1.7]))
    u = np.random.default_rng(2).normal(size=12)
    mean, variance = one_task(prior, bumps, rows, u, query)
    kernel = prior.sigma2 * (ConstantKernel(0.8) + ConstantKernel(1.7) * RBF(0.5))
    reference = GaussianProcessRegressor(kernel, alpha=prior.sigma2, optimizer=None)
    reference.fit(rows.linear[:, :1].astype(float), u - rows.f_w)
    expected, std = reference.predict(query.linear[:, :1].astype(float), return_std=True)
    np.testing.assert_allclose(mean, query.f_w + expected, atol=1e-6)
    np.testing.assert_allclose(variance, std**2 + prior.sigma2, atol=1e-6)


def test_more_queries_than_are_asked_at_once_equal_few():
    rows, bumps = make_rows(5)
    query, _ = make_rows(700, seed=1)
    prior = make_prior(linear=np.array([0.5, 0.1, 0.2, 0.3]), bump=np.array([0.4]), leaf=0.3)
    u = np.random.default_rng(2).normal(size=5)
    mean, variance = one_task(prior, bumps, rows, u, query)
    for start in range(0, 700, 100):
        part = Rows(*(field[start : start + 100] for field in query))
        few = one_task(prior, bumps, rows, u, part)
        np.testing.assert_allclose((mean[start : start + 100], variance[start : start + 100]), few, rtol=1e-12)


def test_level_and_slope_equal_the_mixed_model_of_statsmodels():
    sm = pytest.importorskip("statsmodels.api")
    rng = np.random.default_rng(0)
    n_tasks, n = 40, 8
    task, x = np.repeat(np.arange(n_tasks), n), rng.uniform(-2, 2, n_tasks * n)
    effects = rng.multivariate_normal([0, 0], [[1.0, 0.4], [0.4, 0.6]], n_tasks)
    y = effects[task, 0] + effects[task, 1] * x + 0.5 * rng.normal(size=len(x))
    fit = sm.MixedLM(y, np.ones((len(y), 1)), groups=task, exog_re=np.column_stack([np.ones(len(y)), x])).fit()
    # the learned covariance of level and slope is diag(linear) plus the two directions
    covariance, noise = np.asarray(fit.cov_re) / fit.scale, fit.scale
    values, vectors = np.linalg.eigh(covariance - 1e-6 * np.eye(2))
    slopes = (vectors * np.sqrt(values)).T
    rows = Rows(np.full(n, fit.fe_params[0]), np.zeros(n), x[:n, None].astype(np.float32), np.zeros((n, 0), np.int16),
                np.zeros((n, 0), np.uint8))  # fmt: skip
    prior = Prior(np.full(2, 1e-6), slopes, np.zeros(0), np.zeros(0), 0.0, 1.0, noise)
    mean, _ = one_task(prior, np.zeros(0, np.int32), rows, y[:n], rows)
    blup = np.asarray(fit.random_effects[0])
    np.testing.assert_allclose(mean, fit.fe_params[0] + blup[0] + blup[1] * x[:n], atol=1e-4)


def test_laplace_is_close_to_the_exact_integral_on_three_rows():
    rows, bumps = make_rows(3, n_linear=1)
    prior = make_prior(n_linear=1, linear=np.array([1.0, 1e-12]), sigma2=1.0)
    y = np.array([1.0, 0.0, 1.0])
    query, _ = make_rows(1, n_linear=1, seed=3)
    mean, variance = one_task(prior, bumps, rows, y, query, classify=True)
    laplace = special.expit(mean / np.sqrt(1 + np.pi / 8 * variance))[0]

    def joint(level, with_query):
        logit = rows.f_w + level
        likelihood = np.prod(np.where(y == 1, special.expit(logit), special.expit(-logit)))
        prior_density = np.exp(-(level**2) / 2)
        return likelihood * prior_density * (special.expit(query.f_w[0] + level) if with_query else 1.0)

    exact = integrate.quad(joint, -8, 8, args=(True,))[0] / integrate.quad(joint, -8, 8, args=(False,))[0]
    assert laplace == pytest.approx(exact, abs=0.01)


def test_the_mode_of_two_classes_is_stationary():
    rows, bumps = make_rows(9, n_linear=1)
    prior = make_prior(n_linear=1, linear=np.array([2.0, 1e-12]), sigma2=1.0)
    y = np.array([1.0] * 7 + [0.0] * 2)
    deviation = adapt_deviation((prior,), np.zeros(1, int), bumps, rows, y, np.array([0, 9]), True)
    # for a constant kernel the level is θ Σ alpha, and alpha = y − p there
    level = optimize.brentq(lambda m: m - 2.0 * (y - special.expit(rows.f_w + m)).sum(), -20, 20)
    np.testing.assert_allclose(deviation.alpha, y - special.expit(rows.f_w + level), atol=1e-6)


def test_level_mixing_forgets_what_x_says_of_the_level_once_it_is_seen():
    rows, bumps = make_rows(20, f_b=3.0)
    query, _ = make_rows(1, seed=1, f_b=0.0)
    u = rows.f_w + 3.0
    flat = make_prior(linear=np.array([1e-12] * 4), rho=1e-9)
    mean, _ = one_task(flat, bumps, rows, u, query)
    assert mean[0] - query.f_w[0] == pytest.approx(3.0 * 20 / 21)
    mean, _ = one_task(flat._replace(rho=1.0), bumps, rows, u, query)
    assert mean[0] == pytest.approx(query.f_w[0])


# ------------------------------------------------------------------------------------------------------- numbers, whole


def test_one_giant_task_draws_the_weight_to_the_middle():
    rng = np.random.default_rng(0)
    task = np.repeat(np.arange(30), 10)
    y = rng.normal(size=300)
    wrong, right = y + 1.0, y + 0.01 * rng.normal(size=300)
    assert blend_weights([wrong, right], y, task, rng)[1] > 0.95
    giant = np.where(task == 0, 1e4, 0.0)  # the second model misses the giant, which half of the bootstraps hold
    weight = blend_weights([wrong + 0.3 * giant, right + giant], y, task, rng)[1]
    assert 0.1 < weight < 0.9
    assert blend_weights([y], y, task, rng).tolist() == [1.0]


def test_a_multiplicative_target_is_modelled_on_a_log_scale():
    rng = np.random.default_rng(0)
    task = np.repeat(np.arange(60), 15)
    X = rng.normal(size=(900, 2))
    y = np.exp(3 + X[:, 0] + 1.5 * rng.normal(size=60)[task] + 0.2 * rng.normal(size=900))
    meta = MetaRandomForestRegressor(n_episodes=200, random_state=0).fit(X[:750], y[:750], groups=task[:750])
    assert meta.info_.log_target
    assert meta.info_.log_weight[-1] > 0.5
    interval = meta.adapt(X[750:755], y[750:755]).predict_interval(X[755:765])
    assert (interval[:, 0] >= 0).all()


def test_counts_with_zeros_are_modelled_on_a_log_scale_too(monkeypatch):
    rng = np.random.default_rng(1)
    task = np.repeat(np.arange(80), 15)
    X = rng.normal(size=(1200, 2))
    y = rng.poisson(np.exp(X[:, 0] + rng.normal(size=80)[task])).astype(float)
    train = task < 50
    assert 0.2 < (y == 0).mean() < 0.5

    def error():
        meta = MetaRandomForestRegressor(n_episodes=200, random_state=0).fit(X[train], y[train], groups=task[train])
        shown = ~train & (np.arange(1200) % 15 < 5)
        models = meta.adapt_tasks(X[shown], y[shown], groups=task[shown])
        asked = ~train & ~shown
        return ((models.predict(X[asked], groups=task[asked]) - y[asked]) ** 2).mean(), meta.info_.log_weight

    both, weight = error()
    monkeypatch.setattr("upstairs.forest.outer.log_scale", lambda y: None)
    assert weight[3] > 0.3 and both < 0.85 * error()[0]


def test_a_level_linear_in_log_x_reaches_tasks_larger_than_any_seen():
    rng = np.random.default_rng(2)
    size, task = np.exp(rng.normal(size=60)), np.repeat(np.arange(60), 15)
    X = np.column_stack([size[task] * np.exp(0.2 * rng.normal(size=900)), rng.normal(size=900)])
    y = size[task] ** 1.5 * np.exp(0.2 * rng.normal(size=900))  # the level alone: within a task x says nothing
    train = task < 36
    meta = MetaRandomForestRegressor(n_effect_trees=20, n_episodes=200, random_state=0)
    forest, pooled = (
        model.fit(X[train], y[train], groups=task[train]).predict(X[~train])
        for model in (meta, PooledRegressor(random_state=0))
    )
    assert ((forest - y[~train]) ** 2).mean() < 0.4 * ((pooled - y[~train]) ** 2).mean()


def test_intervals_cover_on_unseen_tasks():
    rng = np.random.default_rng(0)
    task = np.repeat(np.arange(200), 12)
    X = rng.normal(size=(2400, 2))
    y = X[:, 0] * (1 + 0.5 * rng.normal(size=200)[task]) + rng.normal(size=200)[task] + 0.5 * rng.standard_t(4, size=2400)
    train = task < 100
    meta = MetaRandomForestRegressor(n_episodes=300, random_state=0).fit(X[train], y[train], groups=task[train])
    for shots in (0, 2, 6):
        position = np.tile(np.arange(12), 200)
        support, query = ~train & (position < shots), ~train & (position >= 6)
        models = meta.adapt_tasks(X[support], y[support], groups=task[support])
        interval = models.predict_interval(X[query], coverage=0.9, groups=task[query])
        inside = (interval[:, 0] <= y[query]) & (y[query] <= interval[:, 1])
        assert 0.85 < inside.mean() < 0.95


def test_support_rows_teach_a_classifier():
    rng = np.random.default_rng(0)
    task = np.repeat(np.arange(120), 12)
    X = rng.normal(size=(1440, 2))
    y = rng.random(1440) < special.expit(X[:, 0] + 2 * rng.normal(size=120)[task])
    train, position = task < 80, np.tile(np.arange(12), 120)
    meta = MetaRandomForestClassifier(n_effect_trees=20, n_episodes=200, random_state=0).fit(
        X[train], y[train], groups=task[train]
    )
    losses = []
    for shots in (0, 2, 6):
        support, query = ~train & (position < shots), ~train & (position >= 6)
        proba = meta.adapt_tasks(X[support], y[support], groups=task[support]).predict_proba(X[query], groups=task[query])
        losses.append(-np.log(np.where(y[query], proba[:, 1], proba[:, 0])).mean())
    assert losses[0] > losses[1] + 0.02
    assert losses[1] > losses[2] + 0.01


def test_the_shares_of_columns_and_support_rows_add_up_to_the_prediction():
    rng = np.random.default_rng(0)
    task = np.repeat(np.arange(40), 12)
    X = rng.normal(size=(480, 3))
    X[rng.random(X.shape) < 0.05] = np.nan
    y = np.nan_to_num(X[:, 0]) + rng.normal(size=40)[task] + 0.3 * rng.normal(size=480)
    meta = MetaRandomForestRegressor(n_episodes=200, random_state=0).fit(X, y, groups=task)
    model = meta.adapt(X[:6], y[:6])
    why = model.explain(X[6:12])
    own = why.level + why.scale + why.slopes.sum(axis=1) + why.local
    scale = meta.state_.scale
    np.testing.assert_allclose(
        scale.mean + scale.sd * (why.base + why.shared.sum(axis=1) + own), model.predict(X[6:12]), atol=1e-6
    )
    np.testing.assert_allclose(why.support.sum(axis=1), own, atol=1e-9)
    assert why.exact


def test_where_y_and_its_log_are_blended_the_head_behind_the_intervals_is_explained():
    rng = np.random.default_rng(0)
    task = np.repeat(np.arange(40), 12)
    X = rng.normal(size=(480, 2))
    y = np.exp(X[:, 0] + rng.normal(size=40)[task] + 0.1 * rng.normal(size=480))
    meta = MetaRandomForestRegressor(n_episodes=200, random_state=0).fit(X, y, groups=task)
    assert len(meta.state_.heads) == 2
    model = meta.adapt(X[:6], y[:6])
    why = model.explain(X[6:12])
    own = why.level + why.scale + why.slopes.sum(axis=1) + why.local
    median = back_quantile(meta.state_.scale, why.base + why.shared.sum(axis=1) + own)
    np.testing.assert_allclose(median, model.predict_quantiles(X[6:12], [0.5])[:, 0], rtol=1e-6)


def test_skewed_columns_come_on_a_log_scale_where_the_target_does():
    rng = np.random.default_rng(0)
    X = np.column_stack([np.exp(rng.normal(size=300)), rng.normal(size=300)]).astype(np.float32)
    tasks = Tasks(X, np.zeros(300), np.array([0, 300]), np.arange(1), np.zeros(2, np.int32))
    assert len(learn_design(tasks).logs) == 0
    design = learn_design(tasks, logs=True)
    assert design.logs.tolist() == [0]
    log = design_matrix(design, X)[:, -1]
    assert np.corrcoef(log, np.log(X[:, 0]))[0, 1] > 0.98
    assert np.isfinite(design_matrix(design, np.array([[np.nan, np.nan], [-50, 0]], np.float32))).all()
