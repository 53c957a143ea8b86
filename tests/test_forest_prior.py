"""The prior of the meta random forest: what it learns of tasks, of few rows, of many columns, and of noise."""

import numpy as np
import pytest

from test_forest import make_rows
from upstairs import MetaRandomForestRegressor
from upstairs.adaptation import adapt, predict
from upstairs.auto import inner as auto_room
from upstairs.datasets import make_grouped_forest, make_random_slopes
from upstairs.episodes import draw_episodes
from upstairs.forest import prior as prior_room
from upstairs.forest.effects import blind_leaves, grow_effect_trees
from upstairs.forest.gradient import gather, predict_queries
from upstairs.forest.kernel import FeatureMap
from upstairs.tasks import Tasks, offsets_of
from upstairs.trees import leaf_of


@pytest.mark.parametrize("classify", [False, True])
def test_the_gradient_of_the_prior_is_exact(classify):
    rng = np.random.default_rng(0)
    rows, bumps = make_rows(300, f_b=0.2)
    sizes = np.full(20, 15)
    tasks = Tasks(np.zeros((300, 1), np.float32), np.zeros(300), offsets_of(sizes), np.arange(20), np.zeros(1, np.int32))
    target = rng.normal(size=300) + np.repeat(rng.normal(size=20), sizes)
    target = (target > 0).astype(float) if classify else target
    features = FeatureMap(*(np.zeros(2) for _ in range(2)), np.arange(1), *(np.zeros(1) for _ in range(2)), np.arange(1), bumps)
    data = gather(rows, target, draw_episodes(tasks.offsets, 40, rng), features)
    start = prior_room._first_guess(features, 0.3, 1.0, rng)
    objective = prior_room._class_objective if classify else prior_room._number_objective
    x = prior_room._pack(start)
    _, gradient = objective(prior_room._unpack(x, start), data, 0.1)
    for i in range(len(x) - classify):  # the noise of a logit is fixed
        step = 1e-5 * np.eye(len(x))[i]
        high, low = (objective(prior_room._unpack(x + sign * step, start), data, 0.1)[0] for sign in (1, -1))
        # for classes the curvature is held fixed, so the gradient is exact in the mode only
        assert gradient[i] == pytest.approx((high - low) / 2e-5, abs=2e-3 if classify else 1e-7)


def test_near_rows_of_an_episode_are_told_apart_at_the_largest_variances():
    rng = np.random.default_rng(0)
    rows, bumps = make_rows(200, n_bumps=3)
    rows = rows._replace(linear=0.2 * rows.linear)  # near one another: the kernel has few directions
    tasks = Tasks(np.zeros((200, 1), np.float32), np.zeros(200), offsets_of([40] * 5), np.arange(5), np.zeros(1, np.int32))
    features = FeatureMap(*(np.zeros(2) for _ in range(2)), np.arange(1), *(np.zeros(1) for _ in range(2)), np.arange(1), bumps)
    data = gather(rows, rows.f_w, draw_episodes(tasks.offsets, 20, rng), features)
    prior = prior_room._first_guess(features, 0.3, 1.0, rng)._replace(bump=np.full(3, prior_room.MOST_THETA))
    mean, _, _ = predict_queries(prior, data, classify=False)
    assert np.abs(mean[data.used]).max() < 100


def test_the_prior_learns_which_column_differs_between_tasks():
    rng = np.random.default_rng(0)
    task = np.repeat(np.arange(60), 20)
    X = rng.normal(size=(1200, 3))
    y = X.sum(axis=1) + 1.5 * rng.normal(size=60)[task] * X[:, 1] + 0.3 * rng.normal(size=1200)
    meta = MetaRandomForestRegressor(n_effect_trees=20, n_episodes=300, random_state=0).fit(X, y, groups=task)
    prior = meta.state_.heads[0].prior
    slopes = prior.linear[3:] + (prior.slopes[:, 3:] ** 2).sum(axis=0)
    assert slopes[1] > 5 * max(slopes[0], slopes[2])


def test_the_noise_of_few_rows_is_not_taken_for_slopes():
    rng = np.random.default_rng(0)
    task = np.repeat(np.arange(5), 10)
    y = rng.normal(size=5)[task] + 0.5 * rng.normal(size=50)
    meta = MetaRandomForestRegressor(n_effect_trees=20, random_state=0).fit(rng.normal(size=(50, 8)), y, groups=task)
    assert np.abs(meta.state_.heads[0].prior.slopes).max() < 0.2


def test_columns_that_mean_nothing_get_no_variance():
    rng = np.random.default_rng(0)
    task = np.repeat(np.arange(40), 20)
    y = rng.normal(size=40)[task] + rng.normal(size=800)
    meta = MetaRandomForestRegressor(n_effect_trees=20, n_episodes=300, random_state=0).fit(
        rng.normal(size=(800, 60)), y, groups=task
    )
    prior = meta.state_.heads[0].prior
    assert prior.linear[3:].sum() + prior.bump.sum() + (prior.slopes[:, 3:] ** 2).sum() < 0.3


def test_trees_that_never_saw_a_task_know_nothing_of_its_noise():
    rng = np.random.default_rng(0)
    X, noise, sizes = rng.normal(size=(800, 40)).astype(np.float32), rng.normal(size=800), np.full(40, 20)
    tasks = Tasks(X, noise, offsets_of(sizes), np.arange(40), np.zeros(40, np.int32))
    trees, unseen = grow_effect_trees(tasks, noise, 30, rng)
    assert unseen.shape == (30, 40) and (unseen.sum(axis=0) == 10).all()
    a, b = (np.ravel(20 * np.arange(40)[:, None] + side) for side in np.triu_indices(20, 1))

    def knows(leaf):
        return np.corrcoef((leaf[a] == leaf[b]).mean(axis=1), noise[a] * noise[b])[0, 1]

    assert knows(leaf_of(trees, X)) > 0.06
    assert abs(knows(blind_leaves(trees, unseen, tasks))) < 0.03


def test_variances_are_found_within_40_percent():
    rng = np.random.default_rng(0)
    task = np.repeat(np.arange(150), 8)
    X = rng.normal(size=(1200, 2))
    y = 2 * X[:, 0] + 1.5 * rng.normal(size=150)[task] + rng.normal(size=1200)
    info = MetaRandomForestRegressor(n_episodes=100, random_state=0).fit(X, y, groups=task).info_
    assert info.level_variance == pytest.approx(2.25, rel=0.4)
    assert info.noise_variance == pytest.approx(1.0, rel=0.4)


def test_what_tasks_do_of_their_own_is_no_noise():
    data = make_random_slopes(random_state=0)
    info = MetaRandomForestRegressor(n_episodes=300, random_state=0).fit(data.X, data.y, groups=data.groups).info_
    assert info.noise_variance == pytest.approx(data.truth.noise_variance, rel=0.25)


def test_what_few_rows_leave_unknown_of_f_is_no_noise():
    X, y, groups, _ = make_grouped_forest(1, n_new=0, random_state=0)
    meta = MetaRandomForestRegressor(random_state=0).fit(X, y, groups=groups)
    head = meta.state_.heads[0]
    assert head.prior.sigma2 * head.scale.sd**2 > 1.4  # the prior takes it for noise
    assert meta.info_.noise_variance == pytest.approx(1.0, rel=0.4)


def test_noise_is_the_priors_where_no_task_has_two_rows():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 2))
    meta = MetaRandomForestRegressor(n_episodes=20, random_state=0).fit(X, X[:, 0] + rng.normal(size=60), groups=np.arange(60))
    head = meta.state_.heads[0]
    assert meta.info_.noise_variance == pytest.approx(head.prior.sigma2 * head.scale.sd**2)


def test_what_is_judged_is_predicted_by_priors_that_never_saw_it(monkeypatch):
    X, y, task, _ = make_random_slopes(30, 12, 2, random_state=0)
    widths = []
    for factor in (1, 4):

        def learn(*args, factor=factor):
            prior, blind = prior_room.learn_priors(*args)
            assert len(blind) == 5 and len({one.sigma2 for one in blind}) == 5
            return prior, tuple(one._replace(sigma2=factor * one.sigma2) for one in blind)

        monkeypatch.setattr("upstairs.forest.outer.learn_priors", learn)
        meta = MetaRandomForestRegressor(random_state=0, n_effect_trees=0, n_episodes=100).fit(X, y, groups=task)
        widths.append(np.diff(meta.adapt(X[:6], y[:6]).predict_interval(X)).mean())
    # intervals are calibrated by what those priors say of their own fold
    assert abs(widths[1] / widths[0] - 1) > 0.05


def test_a_known_task_is_judged_by_the_prior_that_never_saw_it_and_answered_for_by_that_of_all():
    X, y, task, _ = make_random_slopes(30, 12, 2, random_state=0)
    meta = MetaRandomForestRegressor(random_state=0, n_effect_trees=0, n_episodes=100).fit(X, y, groups=task)
    state, (head,), Z = meta.state_, meta.state_.heads, meta.columns_.encode(X)
    answered, judged = meta.predict(X, groups=task), predict(adapt(meta, meta.known_, state.fold), Z, task)[0].mean
    assert (judged != answered).all()
    fold = state.fold[0]
    for which in (-1, fold):
        priors = [
            one._replace(linear=one.linear * (9 if k == which else 1))
            for k, one in enumerate((head.prior, *head.blind), start=-1)
        ]
        meta.state_ = state._replace(heads=(head._replace(prior=priors[0], blind=tuple(priors[1:])),))
        moved = predict(adapt(meta, meta.known_, state.fold), Z, task)[0].mean != judged
        np.testing.assert_array_equal(moved, state.fold[task] == which)
        assert (meta.predict(X, groups=task) != answered).all() == (which < 0)
    auto = auto_room.State(
        np.arange(30), head.scale, state.calibration, (auto_room.Member("forest", state),), np.ones((6, 1)), 0
    )
    assert auto_room.for_known(auto).members[0].state.heads[0].blind == () != head.blind
    # models of older versions have no such priors
    meta.state_ = state._replace(heads=(head._replace(blind=()),))
    assert (predict(adapt(meta, meta.known_, state.fold), Z, task)[0].mean == answered).all()
