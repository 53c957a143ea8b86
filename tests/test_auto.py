"""AutoMeta: the right learner gets the weight at the right number of shots, and nothing else stays."""

import numpy as np
import pytest
from scipy import optimize

from upstairs import AutoMetaClassifier, AutoMetaRegressor, UpstairsError
from upstairs.auto import outer
from upstairs.blending import _best_on_simplex, blend_weights, mixture_weights

TASK = np.repeat(np.arange(120), 16)
SEEN = TASK < 80


def sloped(seed=0):
    """Each task has a line of its own, which the shrunk mean and a pooled shift can't follow."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(len(TASK), 2))
    slope, level = 2 * rng.normal(size=120)[TASK], rng.normal(size=120)[TASK]
    return X, level + slope * X[:, 0] + X[:, 1] + 0.3 * rng.normal(size=len(TASK))


@pytest.fixture(scope="module")
def auto():
    X, y = sloped()
    return AutoMetaRegressor(learners=["hierarchical-ridge"], random_state=0).fit(X[SEEN], y[SEEN], groups=TASK[SEEN])


def weight_of(meta, name):
    return meta.info_.weight[:, meta.info_.tried.index(name)]


def test_the_learner_that_is_right_gets_the_weight_and_what_has_none_is_dropped(auto):
    assert (weight_of(auto, "hierarchical-ridge")[2:] > 0.9).all()
    assert (weight_of(auto, "shrunk-mean") == 0).all()
    assert "shrunk-mean" not in [member.learner for member in auto.state_.members]
    np.testing.assert_allclose(auto.info_.weight.sum(axis=1), 1)
    assert auto.info_.error.shape == (6, 3)


def test_where_nothing_beats_a_baseline_it_is_the_answer():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(len(TASK), 2)), rng.normal(size=120)[TASK] + rng.normal(size=len(TASK))
    meta = AutoMetaRegressor(learners=["task-ridge"], random_state=0).fit(X, y, groups=TASK)
    assert weight_of(meta, "shrunk-mean").mean() > 0.5
    assert (weight_of(meta, "task-ridge")[1:] < 0.1).all()  # from nothing both say the mean


def test_the_blend_is_no_worse_than_its_best_member_on_unseen_tasks(auto):
    X, y = sloped()
    support = ~SEEN & (np.arange(len(TASK)) % 16 < 5)
    query = ~SEEN & ~support
    models = auto.adapt_tasks(X[support], y[support], groups=TASK[support])
    error = np.mean((models.predict(X[query], groups=TASK[query]) - y[query]) ** 2)
    assert error < 0.15
    low, high = models.predict_interval(X[query], coverage=0.9, groups=TASK[query]).T
    assert 0.85 < ((low <= y[query]) & (y[query] <= high)).mean() < 0.95


def test_classes_are_mixed_too():
    X, y = sloped()
    meta = AutoMetaClassifier(learners=["hierarchical-ridge"], random_state=0).fit(X[SEEN], y[SEEN] > 0, groups=TASK[SEEN])
    assert weight_of(meta, "hierarchical-ridge")[3] > 0.8
    support = ~SEEN & (np.arange(len(TASK)) % 16 < 8)
    models = meta.adapt_tasks(X[support], y[support] > 0, groups=TASK[support])
    query = ~SEEN & ~support
    assert (models.predict(X[query], groups=TASK[query]) == (y[query] > 0)).mean() > 0.85


def test_a_learner_that_is_late_is_left_out_and_the_baselines_answer():
    X, y = sloped()
    meta = AutoMetaRegressor(learners=["svm", "forest"], time_budget=0.01, random_state=0).fit(X, y, groups=TASK)
    assert meta.info_.tried == ("shrunk-mean", "pooled-shift")
    assert len(meta.info_.left_out) == 2
    assert "svm is left out: it wasn't ready within the time budget" in meta.info_.left_out[0]
    assert np.isfinite(meta.predict(X[:5])).all()


def test_a_learner_whose_extra_is_missing_is_left_out_with_the_reason(monkeypatch):
    def without_jax(name, classify):
        if name == "gradient":
            raise UpstairsError("Meta-gradient descent needs the package jax.")
        return found(name, classify)

    found = outer.learner_class
    monkeypatch.setattr(outer, "learner_class", without_jax)
    X, y = sloped()
    meta = AutoMetaRegressor(learners=["gradient"], random_state=0).fit(X, y, groups=TASK)
    assert meta.info_.left_out == ("gradient is left out: Meta-gradient descent needs the package jax.",)


def test_processes_give_the_same_as_one_after_the_other(auto):
    X, y = sloped()
    apart = AutoMetaRegressor(learners=["hierarchical-ridge"], n_jobs=2, random_state=0)
    apart.fit(X[SEEN], y[SEEN], groups=TASK[SEEN])
    np.testing.assert_allclose(apart.predict(X[:40], groups=TASK[:40]), auto.predict(X[:40], groups=TASK[:40]), rtol=1e-9)


def test_a_single_task_is_answered_by_the_first_learner():
    X, y = sloped()
    meta = AutoMetaRegressor(learners=["hierarchical-ridge", "pooled"], random_state=0).fit(X[:60], y[:60])
    assert [member.learner for member in meta.state_.members] == ["hierarchical-ridge"]


@pytest.mark.parametrize(
    ("learners", "sentence"),
    [(["forrest"], "There is no learner 'forrest'"), (["auto"], "can't try itself"), (["forest", 3], "There is no learner 3")],
)
def test_learners_that_are_none(learners, sentence):
    X, y = sloped()
    with pytest.raises(UpstairsError, match=sentence):
        AutoMetaRegressor(learners=learners).fit(X, y, groups=TASK)


def test_weights_are_the_minimum_on_the_simplex():
    rng = np.random.default_rng(0)
    for _ in range(20):
        E = rng.normal(size=(50, 4)) @ rng.normal(size=(4, 4)) + rng.normal(size=4)
        gram = E.T @ E
        (weight,) = _best_on_simplex(gram[None])
        reference = optimize.minimize(
            lambda w, gram=gram: w @ gram @ w, np.full(4, 0.25), jac=lambda w, gram=gram: 2 * gram @ w, bounds=[(0, 1)] * 4,
            constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": lambda w: np.ones(4)}, method="SLSQP",
            options={"ftol": 1e-12},
        )  # fmt: skip
        assert weight @ gram @ weight <= reference.fun * (1 + 1e-6)
        np.testing.assert_allclose(weight.sum(), 1)
        assert (weight >= 0).all()


def test_mixture_weights_find_the_shares_of_a_mixture():
    rng = np.random.default_rng(0)
    task = np.repeat(np.arange(200), 50)
    first = rng.random(len(task)) < 0.7
    probabilities = np.where(first[:, None], [0.9, 0.1], [0.1, 0.9])
    weight = mixture_weights(probabilities, task, rng)
    reference = optimize.minimize_scalar(lambda w: -np.log(probabilities @ [w, 1 - w]).sum(), bounds=(0, 1), method="bounded").x
    np.testing.assert_allclose(weight, [reference, 1 - reference], atol=0.03)


def test_models_that_say_the_same_share_the_weight():
    rng = np.random.default_rng(0)
    y, task = rng.normal(size=300), np.repeat(np.arange(30), 10)
    guess = y + rng.normal(size=300)
    np.testing.assert_allclose(blend_weights([guess, guess], y, task, rng), 0.5, atol=0.01)
