"""Reptile: θ moves towards where gradient descent on a whole task ends (Nichol et al. 2018, algorithm 1).

Its outer step θ += β (θ_t − θ) is, for Adam as for plain descent, a step against the gradient θ − θ_t, so the loss here is one
whose gradient is just that: Σ θ (θ − θ_t) with the bracket taken for a constant. θ_t descends on support and query together.
"""

from typing import Any

import jax
import jax.numpy as jnp

from upstairs.gradient.rules.descent import SLOW, descend, init, make_loss, predict, split
from upstairs.gradient.rules.fomaml import adapt
from upstairs.gradient.rules.rule import Episode, Problem, Rule

__all__ = ["RULE"]

_query_loss = make_loss(adapt)


def loss(weights: dict, prior: Any, problem: Problem, episode: Episode) -> tuple[Any, Any]:
    """The query's loss, to look at and for the prior, with the gradient of Reptile for the weights."""
    losses, counts = _query_loss(jax.lax.stop_gradient(weights), prior, problem, episode)
    # padding lies behind both parts: the query comes first, then as much of the support as counts
    D, y = jnp.concatenate([episode.D_q, episode.D_s]), jnp.concatenate([episode.y_q, episode.y_s])
    order = jnp.argsort(
        jnp.concatenate([jnp.arange(len(episode.D_q)) >= episode.n_q, jnp.arange(len(episode.D_s)) >= episode.n_s])
    )
    rates = jax.tree.map(lambda w: jnp.full(problem.steps, problem.rate), weights)
    there = descend(weights, rates, problem, D[order], y[order], episode.n_q + episode.n_s, first_order=True)
    pull = sum(jax.tree.leaves(jax.tree.map(lambda w, t: (w * jax.lax.stop_gradient(w - t)).sum(), weights, there)))
    return losses + (pull - jax.lax.stop_gradient(pull)) / problem.rate, counts


RULE = Rule(init, adapt, predict, loss, split, SLOW)
