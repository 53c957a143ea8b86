"""What a descent is watched on: which tasks, and how their errors become one number."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from test_gradient import episode_of, problem_of, theta_of
from upstairs.episodes import Episodes
from upstairs.gradient import held_out
from upstairs.gradient.encoder import Inputs
from upstairs.gradient.rows import InputRows, Rows
from upstairs.gradient.rules.losses import class_losses


def test_descent_is_watched_on_every_task_and_a_closed_form_on_a_few(monkeypatch):
    fold = np.arange(1240) % 2
    fold[:40] = 0  # 640 tasks and 600, more than are bearable
    offsets = np.arange(0, 7441, 6)
    monkeypatch.setattr(held_out, "padded", lambda *_: None)

    def watched(name, n_tasks):
        unseen = [np.flatnonzero(fold[:n_tasks] == k) for k in range(2)]
        rows = Rows(InputRows(Inputs(*[None] * len(Inputs._fields)), np.empty((0, 1))), np.empty(0), offsets, fold, None, 0)
        episodes = held_out.watched_episodes(problem_of(name), rows, unseen, np.random.default_rng(0)).episodes
        assert (fold[episodes.query.max(axis=1) // 6] == episodes.task).all()
        return len(episodes.task), len(np.unique(episodes.query.max(axis=1) // 6))

    assert watched("maml", 1240) == (1000, 1000)
    assert watched("maml", 300) == (2 * 170, 300)
    assert watched("bayes", 1240) == (120, 120)


@pytest.mark.parametrize(("classify", "n_outputs"), [(False, 1), (True, 1), (True, 3)])
def test_nested_supports_at_once_cost_what_each_of_them_costs(classify, n_outputs):
    problem = problem_of("bayes", classify=classify, n_outputs=n_outputs, shots=(0, 1, 2, 4))
    weights, prior = theta_of(problem)
    episode = jax.tree.map(jnp.asarray, episode_of(problem))
    at_once = problem.rule.nested(weights, prior, problem, episode)
    for s, losses in zip(problem.shots, at_once, strict=True):
        adapted = problem.rule.adapt(weights, prior, problem, episode.D_s, episode.y_s, s)
        latent = problem.rule.predict(weights, prior, problem, adapted, episode.D_q)
        alone = class_losses(latent, episode.y_q) if classify else (latent.mean - episode.y_q)[:, 0] ** 2
        np.testing.assert_allclose(losses, alone, rtol=2e-4, atol=1e-5)


def test_an_odd_episode_says_no_more_than_it_may():
    no = np.nan  # nobody has so many support rows
    losses = np.array([[2.0, no, no], [2, 1, no], [30, 5, no], [3, 3, no]])
    bounded = held_out._bounded(losses)
    np.testing.assert_allclose(bounded, [[2, no, no], [2, 1, no], [25, 5, no], [3, 3, no]])
    query = np.array([[0, 1], [2, -1], [3, -1], [4, 5]])
    errors = held_out._mean_over_rows(bounded, Episodes(np.arange(4), query, query))
    np.testing.assert_allclose(errors, [(2 * 2 + 2 + 25 + 2 * 3) / 6, (1 + 5 + 2 * 3) / 4, no])
