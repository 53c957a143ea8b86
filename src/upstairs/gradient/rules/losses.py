"""Losses of query rows that several rules share."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from upstairs.gradient.rules.rule import Episode, Latent

__all__ = ["class_losses", "spread_over", "squared_loss"]


def squared_loss(error2: Any, log_tau2: Any) -> Any:
    """½ (log τ² + e²/τ²), whose minimum over τ² is ½ log of the mean e²: so every number of shots weighs by its own error."""
    return (log_tau2 + error2 * jnp.exp(-log_tau2)) / 2


def class_losses(latent: Latent, y: Any) -> Any:
    """Log loss [Q] of one-hot y [Q, C], each logit averaged over its uncertainty (MacKay 1992, equation 15)."""
    xp = jnp if isinstance(y, jax.Array) else np  # outside of a compiled function each number of rows would be compiled anew
    logit = latent.mean / xp.sqrt(1 + xp.pi / 8 * latent.variance)
    if y.shape[1] == 1:
        return (xp.logaddexp(0, logit) - y * logit)[:, 0]
    log_proba = -xp.logaddexp(0, -logit)
    top = log_proba.max(axis=1, keepdims=True)
    return top[:, 0] + xp.log(xp.exp(log_proba - top).sum(axis=1)) - (y * log_proba).sum(axis=1)


def spread_over(shots: tuple[int, ...], episode: Episode, per_row: Any) -> tuple[Any, Any]:
    """Losses [B] and counts [B] of an episode that was asked at its own number of shots only, from losses [Q] by row."""
    asked = jnp.arange(len(per_row)) < episode.n_q
    mean = jnp.where(asked, per_row, 0).sum() / jnp.maximum(asked.sum(), 1)
    here = (jnp.array(shots) == episode.shots) & (episode.shots <= episode.n_s)
    return jnp.where(here, mean, 0), jnp.where(here, asked.sum(), 0)
