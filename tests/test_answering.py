"""Many ragged tasks at once, answered as one by one, each by its own model."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from test_gradient import SEEN, SMALL, TASK, X, Y, problem_of, theta_of
from upstairs import MetaGradientRegressor
from upstairs.gradient import inner
from upstairs.gradient.encoder import learn_inputs
from upstairs.gradient.padding import ROWS, query_blocks, row_blocks, support_batches
from upstairs.gradient.rows import InputRows
from upstairs.gradient.rules import bayes
from upstairs.tasks import Tasks


@pytest.mark.parametrize("strength", [1.0, 1e6])
def test_many_ragged_tasks_are_conditioned_as_one_by_one(strength):
    problem = problem_of("bayes")
    weights, prior = theta_of(problem)
    prior = {**prior, "head": prior["head"]._replace(rest=jnp.log(jnp.array([strength])), nu=jnp.log(jnp.array([5.0])))}
    rng = np.random.default_rng(1)
    offsets, asked = np.array([0, 0, 1, 5, 40]), np.array([0, 2, 2, 6, 9])
    X, y = rng.normal(size=(49, 2)).astype(np.float32), rng.normal(size=(40, 1)).astype(np.float32)
    rows = InputRows(learn_inputs(Tasks(X, X[:, 0], np.array([0, 49]), np.array([0]), np.zeros(2, np.int32)), 0), X)
    D, D_q = rows.matrix(slice(40)), rows.matrix(slice(40, 49))
    many = bayes.adapt_many(weights, prior, problem, rows.take(slice(40)), y, offsets)
    latents = bayes.predict_many(weights, prior, problem, many, rows.take(slice(40, 49)), asked)
    for t, (first, last) in enumerate(itertools.pairwise(offsets)):
        support = (D[first:last], y[first:last]) if last > first else (D[:1], y[:1])
        one = bayes.adapt(weights, prior, problem, *support, last - first)
        own = slice(asked[t], asked[t + 1])
        for got, expected in zip(latents, bayes.predict(weights, prior, problem, one, D_q[own]), strict=True):
            np.testing.assert_allclose(got[own], expected, rtol=1e-3 if strength == 1 else 0.05, atol=1e-3)


def test_an_unseen_task_gets_the_model_that_saw_all_and_a_known_one_its_own():
    meta = MetaGradientRegressor(**SMALL).fit(X[SEEN], Y[SEEN], groups=TASK[SEEN])
    meta.adapt(X[:8], Y[:8])
    state, support = meta.state_, meta.known_.take(np.array([0, 1, 2]))
    latent = inner.predict(state, inner.adapt(state, support, np.array([0, -1, 1])), support)
    for t, model in enumerate([0, 2, 1]):
        head = state.heads[0]._replace(weights=tuple(w[model][None] for w in state.heads[0].weights))
        alone, one = state._replace(heads=(head,)), support.take(np.array([t]))
        expected = inner.predict(alone, inner.adapt(alone, one, np.array([-1])), one)
        own = slice(support.offsets[t], support.offsets[t + 1])
        np.testing.assert_allclose(latent.mean[own], expected.mean, rtol=1e-5)
    assert np.abs(latent.mean).max() > 0


def test_blocks_of_rows_are_whole_and_few():
    for n in (0, 1, 16, 17, 5000, 12288):
        blocks = list(row_blocks(n))
        assert blocks[0][0] == 0 and blocks[-1][1] == n
        assert all(stop == start for (_, stop, _), (start, _, _) in itertools.pairwise(blocks))
        assert all(stop - start <= padded and padded in ROWS for start, stop, padded in blocks)


def test_batches_hold_every_task_and_row_once():
    sizes = np.array([0, 1, 16, 17, 40, 3] * 60)
    seen = np.concatenate([tasks for tasks, _, _ in support_batches(sizes)])
    assert sorted(seen.tolist()) == list(range(len(sizes)))
    assert all(sizes[tasks].max() <= width and len(tasks) <= padded for tasks, width, padded in support_batches(sizes))
    rows = [(t, f + i) for ts, fs, cs, _ in query_blocks(sizes) for t, f, c in zip(ts, fs, cs, strict=True) for i in range(c)]
    assert sorted(rows) == [(t, i) for t, n in enumerate(sizes) for i in range(n)]
