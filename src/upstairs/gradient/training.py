"""Outer learning: Adam descends in meta-space, for all folds of tasks at once.

    min over θ of E over tasks, over numbers of shots, [L(query | θ adapted to the support)]

K fold models, each blind to one fold of tasks, and one that sees all take their steps side by side; the prior, which they
share, takes its own on episodes of the tasks that each fold model doesn't see. Every ``CHUNK`` steps the held-out error is
looked at, and the best θ so far is what comes back: after the last step, when patience is over, or at Ctrl-C. A gradient that
isn't finite moves nothing.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from upstairs.gradient.checkpoint import Checkpoint
from upstairs.gradient.compiling import compiled_soon
from upstairs.gradient.held_out import draw_folds, held_out_error, padded, watched_episodes
from upstairs.gradient.rows import Rows
from upstairs.gradient.rules.rule import Episode, Problem, Start, Theta
from upstairs.places import let_go

__all__ = ["CHUNK", "Budget", "Trace", "train"]

CHUNK = 50
LARGEST_GRADIENT = 1.0
SLOWNESS, PRIOR_RATE, LAST_RATE = 1 / 30, 0.02, 0.02
"""Rate of slow weights over that of the others; rate of the prior; rate at the end of the cosine over that at its start."""


class Budget(NamedTuple):
    """How long to descend, and how fast; ``patience`` counts chunks of steps without a better held-out error."""

    n_steps: int
    batch_tasks: int
    patience: int
    learning_rate: float
    weight_decay: float


class Trace(NamedTuple):
    """How the descent went.

    step : int
        At which the best θ was found.
    loss, held_out : float64 [chunks], [chunks + 1]
        Mean outer loss of each chunk; the held-out error before the first and after each.
    n_skipped : int
        Steps not taken because a gradient wasn't finite.
    interrupted : bool
    """

    step: int
    loss: np.ndarray
    held_out: np.ndarray
    n_skipped: int
    interrupted: bool


class Progress(NamedTuple):
    """All that a descent needs to go on."""

    theta: Theta
    optimizer: Any
    best: Theta
    at: np.ndarray
    loss: np.ndarray
    held_out: np.ndarray


def train(
    problem: Problem, rows: Rows, starts: list[Start], budget: Budget, seed: int, checkpoint: Checkpoint,
    watch: Callable[[int, float, float], None],
) -> tuple[Theta, Trace]:  # fmt: skip
    """Descend from ``starts``, one for each fold and one for all; ``watch`` is told the step, the loss and the held-out error
    after each chunk."""
    seen = [np.flatnonzero(rows.fold != k) for k in range(len(starts))]
    unseen = [np.flatnonzero(rows.fold == k) for k in range(len(starts) - 1)]
    watched = watched_episodes(problem, rows, unseen, np.random.default_rng([seed, 0]))
    progress = checkpoint.resume(_begin(problem, starts, budget, seed))
    interrupted = False
    try:
        while len(progress.held_out) <= len(progress.loss) or _goes_on(progress, budget):
            if len(progress.held_out) > len(progress.loss):
                step = len(progress.loss)
                batches = _batches(problem, rows, seen, unseen, budget, np.random.default_rng([seed, 1 + step]))
                let_go(rows.inputs.X)
                let_go(rows.y)
                descended = _descend(problem, budget, progress.theta, progress.optimizer, *batches)
                theta, optimizer, loss = jax.tree.map(np.asarray, descended)
                progress = progress._replace(theta=theta, optimizer=optimizer, loss=np.append(progress.loss, float(loss)))
            error = held_out_error(problem, progress.theta, rows, watched)
            if error < progress.held_out.min(initial=np.inf) or not len(progress.held_out):
                progress = progress._replace(best=progress.theta, at=np.array(len(progress.loss)))
            progress = progress._replace(held_out=np.append(progress.held_out, error))
            checkpoint.keep(progress)
            if len(progress.loss):
                watch(CHUNK * len(progress.loss), progress.loss[-1], error)
    except KeyboardInterrupt:
        interrupted = True
    skipped = sum(int(np.max(part.total_notfinite)) for part in progress.optimizer)
    return progress.best, Trace(CHUNK * int(progress.at), progress.loss, progress.held_out, skipped, interrupted)


def _goes_on(progress: Progress, budget: Budget) -> bool:
    done = len(progress.loss)
    return CHUNK * done < budget.n_steps and done - int(progress.at) < budget.patience


def _begin(problem: Problem, starts: list[Start], budget: Budget, seed: int) -> Progress:
    # as numpy, so that the first chunk has the types of the second and of a resumed one: it is compiled once
    theta, optimizer = jax.tree.map(np.asarray, _start(problem, budget, jax.random.PRNGKey(seed), starts))
    return Progress(theta, optimizer, theta, np.array(0), np.empty(0), np.empty(0))


@compiled_soon
def _start(problem, budget, key, starts):
    keys = jax.random.split(key, len(starts))
    stacked = jax.tree.map(lambda *parts: jnp.stack(parts), *starts)
    weights, priors = jax.vmap(lambda key, start: problem.rule.init(key, problem, start))(keys, stacked)
    theta = Theta(weights, jax.tree.map(lambda prior: prior[0], priors))
    for_weights, for_prior = _optimizers(budget, problem.rule.slow)
    return theta, (jax.vmap(for_weights.init)(theta.weights), for_prior.init(theta.prior))


def _optimizers(budget: Budget, slow: tuple[str, ...]) -> tuple[Any, Any]:
    """Of the weights and of the prior. The budget may be traced, so that another one compiles nothing."""

    def cosine(rate):  # optax's own asks whether the number of steps is positive, which tracing can't tell
        def schedule(step):
            done = jnp.minimum(step / jnp.maximum(budget.n_steps, 1), 1)
            return rate * (LAST_RATE + (1 - LAST_RATE) * (1 + jnp.cos(jnp.pi * done)) / 2)

        return schedule

    def safe(optimizer):
        clipped = optax.chain(optax.clip_by_global_norm(LARGEST_GRADIENT), optimizer)
        return optax.apply_if_finite(clipped, max_consecutive_errors=2**31 - 1)

    # flat: one operation for all parts of θ compiles sooner than one for each
    fast = optax.flatten(optax.adamw(cosine(budget.learning_rate), weight_decay=budget.weight_decay))
    lazy = optax.flatten(optax.adam(cosine(SLOWNESS * budget.learning_rate)))
    weights = optax.partition({"fast": fast, "slow": lazy}, lambda w: {name: "slow" if name in slow else "fast" for name in w})
    return safe(weights), safe(optax.flatten(optax.adam(cosine(PRIOR_RATE))))


@compiled_soon
def _descend(problem, budget, theta, optimizer, seen, unseen):
    """As many steps as the batches [steps, K, tasks, ...] hold."""
    for_weights, for_prior = _optimizers(budget, problem.rule.slow)

    def loss_of(weights, prior, episodes):
        losses, counts = jax.vmap(problem.rule.loss, in_axes=(None, None, None, 0))(weights, prior, problem, episodes)
        told = (counts > 0).sum(axis=0)
        by_shots = jnp.where(counts > 0, losses, 0).sum(axis=0) / jnp.maximum(told, 1)
        return by_shots.sum() / jnp.maximum((told > 0).sum(), 1)

    def prior_loss(prior, weights, episodes):
        return jax.vmap(loss_of, in_axes=(0, None, 0))(weights, prior, episodes).mean()

    def weights_step(weights, state, prior, episodes):
        loss, gradient = jax.value_and_grad(loss_of)(weights, prior, episodes)
        change, state = for_weights.update(gradient, state, weights)
        return optax.apply_updates(weights, change), state, loss

    def step(carry, episodes):
        (weights, prior), (weights_state, prior_state) = carry
        seen, unseen = episodes
        blind = jax.tree.map(lambda w: w[: len(unseen.shots)], weights)
        change, prior_state = for_prior.update(jax.grad(prior_loss)(prior, blind, unseen), prior_state, prior)
        weights, weights_state, loss = jax.vmap(weights_step, in_axes=(0, 0, None, 0))(weights, weights_state, prior, seen)
        return (Theta(weights, optax.apply_updates(prior, change)), (weights_state, prior_state)), loss

    (theta, optimizer), losses = jax.lax.scan(step, (theta, optimizer), (seen, unseen))
    return theta, optimizer, losses.mean()


def _batches(
    problem: Problem, rows: Rows, seen: list[np.ndarray], unseen: list[np.ndarray], budget: Budget, rng: np.random.Generator
) -> tuple[Episode, Episode]:
    """Episodes of a chunk, [steps, K, tasks, ...], for the weights and (half as many) for the prior."""
    batches = []
    for folds, n_tasks in ((seen, budget.batch_tasks), (unseen, -(-budget.batch_tasks // 2))):
        episodes = draw_folds(rows.offsets, folds, CHUNK * n_tasks, problem, rng)
        shape = (len(folds), CHUNK, n_tasks)
        support, query = (
            np.ascontiguousarray(part.reshape(*shape, -1).swapaxes(0, 1)) for part in (episodes.support, episodes.query)
        )
        batches.append(padded(rows, support, query, rng.choice(problem.shots, support.shape[:-1])))
    return batches[0], batches[1]
