"""Predictions split into what is shared and what the task's support said.

The zero-shot part is split by column: exactly for what is linear in D, by integrated gradients from D = 0 for the network
(Sundararajan et al. 2017, equation 1). Support row i brings J_qi (u_i − what zero-shot expects of it), J = ∂μ_q/∂u_i, and an
equal part of what the columns of the support did. For numbers under the "bayes" rule μ is linear in u, and that is exact;
classes and gradient steps bend, the rest is dealt out evenly, and ``exact`` is False.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from upstairs.gradient.compiling import compiled
from upstairs.gradient.encoder import Inputs
from upstairs.gradient.padding import WIDTH, padded_rows
from upstairs.gradient.rules.rule import Problem, Theta
from upstairs.prediction import Explanation

__all__ = ["explain_latent"]

N_POINTS = 16
"""Of the path along which gradients are integrated."""


def explain_latent(
    problem: Problem, theta: Theta, model: int, inputs: Inputs, D_s: np.ndarray, y_s: np.ndarray,
    D_q: np.ndarray, n_columns: int, is_linear: bool,
) -> tuple[Explanation, ...]:  # fmt: skip
    """Explanations of query rows [n, q] after a support [s, q] with targets [s, C], one for each output."""
    explanations = []
    column = np.concatenate([[-1], inputs.design.column, inputs.column])
    s = len(D_s)
    n_slopes = len(problem.slopes)
    whole, zero, shares, moves, level, slopes = (
        np.asarray(part, np.float64)[: len(D_q)]
        for part in _parts(problem, theta.model(model), theta.prior, _padded(D_s), _padded(y_s), s, _padded(D_q))
    )
    for c in range(problem.n_outputs):
        shared = shares[..., c] @ (column[:, None] == np.arange(n_columns))
        moved, support = whole[:, c] - zero[:, c], moves[:, :s, c]
        support = support + ((moved - support.sum(axis=1)) / max(s, 1))[:, None]
        by_column = np.zeros((len(D_q), n_columns))
        np.add.at(by_column.T, column[list(problem.slopes)], slopes[:, :n_slopes, c].T)
        local = moved - level[:, c] - by_column.sum(axis=1)
        base, nothing = zero[:, c] - shared.sum(axis=1), np.zeros(len(D_q))
        exact = is_linear and not problem.classify
        explanations.append(Explanation(base, shared, level[:, c], nothing, by_column, local, support, exact))
    return tuple(explanations)


def _padded(rows: np.ndarray) -> np.ndarray:
    """To 16, 64, 256, ... rows: compiling for a new size takes longer than any number of explanations."""
    return padded_rows(rows, max(WIDTH, 4 ** math.ceil(math.log(max(len(rows), 1), 4) - 1e-9)))


@compiled
def _parts(problem, weights, prior, D_s, y_s, n, D_q):
    """μ and zero-shot μ [n, C], shares of inputs in the latter [n, q, C], J (u − zero-shot) [n, s, C], and level [n, C] and
    slopes [n, k, C] in what the support adds."""
    rule = problem.rule
    points = (jnp.arange(N_POINTS) + 0.5) / N_POINTS
    rest = D_q.at[:, 0].set(0)

    def mean(D_q, y_s, n):
        adapted = rule.adapt(weights, prior, problem, D_s, y_s, n)
        return rule.predict(weights, prior, problem, adapted, D_q).mean

    def shares_of(c):
        gradient = jax.grad(lambda D: mean(D, y_s, 0)[:, c].sum())
        return jax.vmap(lambda t: gradient(D_q - (1 - t) * rest))(points).mean(axis=0) * rest

    shares = jnp.stack([shares_of(c) for c in range(problem.n_outputs)], axis=-1)
    expected = mean(D_s, y_s, 0)
    expected = jax.nn.sigmoid(expected) if problem.classify else expected
    jacobian = jax.jacrev(lambda y: mean(D_q, y, n))(y_s)
    moves = jnp.einsum("qcsc,sc->qsc", jacobian, y_s - expected)
    level, slopes = rule.split(weights, prior, problem, rule.adapt(weights, prior, problem, D_s, y_s, n), D_q)
    return mean(D_q, y_s, n), mean(D_q, y_s, 0), shares, moves, level, slopes
