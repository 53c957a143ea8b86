"""What the gradient rules share: a network with a linear head, and a few steps of gradient descent on a support.

    θ_t ← θ_t − α ∇L(θ_t; support), a few times from θ_t = θ          (Finn et al. 2017, algorithm 2, line 6)

L is the mean squared error or log loss over the support. An empty support moves nothing, so zero-shot is θ itself. Such a rule
says a number, not how sure it is: the squared error at each number of shots is learned on tasks that the weights didn't see.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from upstairs.gradient.encoder import features
from upstairs.gradient.rules.losses import class_losses, spread_over, squared_loss
from upstairs.gradient.rules.rule import Episode, Latent, Problem, Start

__all__ = ["SLOW", "descend", "init", "make_adapt", "make_loss", "predict", "split"]

SLOW = ("linear",)
"""The head on the network is no part of the ridge, and has to grow where the inner rate is small."""


def init(key: Any, problem: Problem, start: Start) -> tuple[dict, Any]:
    """The head starts from the ridge; what the network adds starts small."""
    for_network, for_head = jax.random.split(key)
    q, h, C = problem.n_inputs, problem.n_features, problem.n_outputs
    size = 0.1 / jnp.sqrt(max(h - q, 1))
    weights = {
        "network": problem.network.init(for_network, q),
        "linear": jnp.asarray(start.linear).T,
        "mean": jax.random.normal(for_head, (h - q, C)) * size,
    }
    return weights, jnp.zeros(len(problem.shots))


def outputs(weights: dict, problem: Problem, D: Any) -> Any:
    """u or logits [n, C] of rows."""
    phi = features(problem.network, weights["network"], D)
    return D @ weights["linear"] + phi[:, problem.n_inputs :] @ weights["mean"]


def support_loss(weights: dict, problem: Problem, D: Any, y: Any, n: Any) -> Any:
    """Mean over the first n rows."""
    out = outputs(weights, problem, D)
    rows = jnp.logaddexp(0, out) - y * out if problem.classify else (y - out) ** 2
    return jnp.where(jnp.arange(len(D)) < n, rows.sum(axis=1), 0).sum() / jnp.maximum(n, 1)


def descend(weights: dict, rates: dict, problem: Problem, D: Any, y: Any, n: Any, first_order: bool = False) -> dict:
    """Weights after as many steps as each rate [steps, ...] has; those without a rate stay."""

    def step(moving, rate):
        gradient = jax.grad(lambda moving: support_loss(weights | moving, problem, D, y, n))(moving)
        if first_order:
            gradient = jax.lax.stop_gradient(gradient)
        return jax.tree.map(lambda w, a, g: w - a * g, moving, rate, gradient), None

    return weights | jax.lax.scan(step, {name: weights[name] for name in rates}, rates)[0]


def make_adapt(moving: tuple[str, ...] = ("network", "linear", "mean"), first_order: bool = False) -> Callable:
    """The inner function of a rule that moves these weights, all at the user's one rate."""

    def adapt(weights: dict, prior: Any, problem: Problem, D: Any, y: Any, n: Any) -> dict:
        rates = jax.tree.map(lambda w: jnp.full(problem.steps, problem.rate), {name: weights[name] for name in moving})
        return {"n": n, "weights": descend(weights, rates, problem, D, y, n, first_order)}

    return adapt


def predict(weights: dict, prior: Any, problem: Problem, adapted: dict, D: Any) -> Latent:
    """Outputs of the adapted weights; the variance is the squared error learned at this number of shots."""
    mean = outputs(adapted["weights"], problem, D)
    if problem.classify:
        variance = jnp.zeros_like(mean)
    else:
        at = jnp.log1p(jnp.array(problem.shots, mean.dtype))
        variance = jnp.broadcast_to(jnp.exp(jnp.interp(jnp.log1p(adapted["n"] * 1.0), at, prior)), mean.shape)
    return Latent(mean, variance, variance, jnp.full(len(D), jnp.inf))


def split(weights: dict, prior: Any, problem: Problem, adapted: dict, D: Any) -> tuple[Any, Any]:
    """Gradient steps move everything together: there is nothing to tell apart."""
    n, C = len(D), problem.n_outputs
    return jnp.zeros((n, C)), jnp.zeros((n, len(problem.slopes), C))


def make_loss(adapt: Callable) -> Callable:
    """The outer loss of a rule: that of the query after adapting to the episode's own number of shots."""

    def loss(weights: dict, prior: Any, problem: Problem, episode: Episode) -> tuple[Any, Any]:
        n = jnp.minimum(episode.shots, episode.n_s)
        latent = predict(weights, prior, problem, adapt(weights, prior, problem, episode.D_s, episode.y_s, n), episode.D_q)
        if problem.classify:
            per_row = class_losses(latent, episode.y_q)
        else:
            per_row = squared_loss((latent.mean - episode.y_q) ** 2, jnp.log(latent.variance))[:, 0]
        return spread_over(problem.shots, episode, per_row)

    return loss
