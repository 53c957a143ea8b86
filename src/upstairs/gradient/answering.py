"""Many ragged tasks, adapted and asked: each by the model of θ that is named for it.

A rule is written for one task; here it is mapped over padded tasks in few shapes (`padding`). A rule that knows a faster way
for many ragged tasks brings it along (`rules.rule.Ragged`). The outer learner asks its episodes here, the inner one its tasks.
"""

from typing import Any

import jax
import numpy as np

from upstairs.gradient.compiling import compiled
from upstairs.gradient.padding import WIDTH, query_blocks, support_batches
from upstairs.gradient.rows import InputRows
from upstairs.gradient.rules.rule import Latent, Problem, Ragged, Theta
from upstairs.tasks import offsets_of

__all__ = ["adapt_tasks", "predict_tasks"]


def adapt_tasks(problem: Problem, theta: Theta, model: np.ndarray, rows: InputRows, y: np.ndarray, offsets: np.ndarray) -> Any:
    """Adapted pytree of arrays [T, ...]: task t by model [T] of ``theta``, to n support rows with targets y [n, C]."""
    ragged, whole = _ragged(problem), None
    for m, tasks, which, own in _by_model(model, offsets):
        part = ragged.adapt(theta.model(m), theta.prior, problem, rows.take(which), y[which], own)
        if len(tasks) == len(model):
            return part
        if whole is None:
            whole = jax.tree.map(lambda a: np.empty((len(model), *a.shape[1:]), a.dtype), part)
        jax.tree.map(lambda into, a, tasks=tasks: into.__setitem__(tasks, a), whole, part)
    return whole


def predict_tasks(
    problem: Problem, theta: Theta, model: np.ndarray, adapted: Any, rows: InputRows, offsets: np.ndarray
) -> Latent:
    """Latents [n, C] of n query rows of adapted tasks, float64."""
    ragged, whole = _ragged(problem), _empty(rows.n_rows, problem.n_outputs)
    for m, tasks, which, own in _by_model(model, offsets):
        mine = adapted if len(tasks) == len(model) else jax.tree.map(lambda a, tasks=tasks: a[tasks], adapted)
        part = ragged.predict(theta.model(m), theta.prior, problem, mine, rows.take(which), own)
        for into, source in zip(whole, part, strict=True):
            into[which] = source
    return whole


def _by_model(model: np.ndarray, offsets: np.ndarray):
    """Of each model that is named: its number, its tasks, their rows, and offsets among these."""
    sizes = np.diff(offsets)
    for m in np.unique(model):
        own = model == m
        whole = own.all()
        yield (
            int(m),
            np.flatnonzero(own),
            slice(offsets[0], offsets[-1]) if whole else np.flatnonzero(np.repeat(own, sizes)),
            offsets if whole else offsets_of(sizes[own]),
        )


def _ragged(problem: Problem) -> Ragged:
    able = problem.rule.ragged is not None and not problem.classify
    return problem.rule.ragged if able else Ragged(_adapt_padded, _predict_padded)


def _adapt_padded(weights: Any, prior: Any, problem: Problem, rows: InputRows, y: np.ndarray, offsets: np.ndarray) -> Any:
    whole = None
    sizes, D = np.diff(offsets), rows.matrix()
    # an empty support still needs a row to pad with
    D, y = (part if len(part) else np.zeros((1, part.shape[1]), np.float32) for part in (D, y))
    for tasks, width, padded in support_batches(sizes):
        which = np.minimum(offsets[tasks][:, None] + np.arange(width), len(D) - 1)
        which, n = _pad(which, padded), _pad(sizes[tasks], padded)
        part = jax.tree.map(np.asarray, _adapt(problem, weights, prior, D[which], y[which], n))
        if whole is None:
            whole = jax.tree.map(lambda a: np.empty((len(sizes), *a.shape[1:]), a.dtype), part)
        for into, source in zip(jax.tree.leaves(whole), jax.tree.leaves(part), strict=True):
            into[tasks] = source[: len(tasks)]
    return whole


def _predict_padded(weights: Any, prior: Any, problem: Problem, adapted: Any, rows: InputRows, offsets: np.ndarray) -> Latent:
    whole, D = _empty(rows.n_rows, problem.n_outputs), rows.matrix()
    for task, first, count, padded in query_blocks(np.diff(offsets)):
        which = np.minimum(offsets[task][:, None] + first[:, None] + np.arange(WIDTH), len(D) - 1)
        asked = np.arange(WIDTH) < count[:, None]
        own = jax.tree.map(lambda a, task=task, padded=padded: a[_pad(task, padded)], adapted)
        latent = _predict(problem, weights, prior, own, D[_pad(which, padded)])
        for into, source in zip(whole, latent, strict=True):
            into[which[asked]] = np.asarray(source)[: len(task)][asked]
    return whole


def _empty(n: int, n_outputs: int) -> Latent:
    return Latent(np.empty((n, n_outputs)), np.empty((n, n_outputs)), np.empty((n, n_outputs)), np.empty(n))


def _pad(values: np.ndarray, length: int) -> np.ndarray:
    return values[np.minimum(np.arange(length), len(values) - 1)]


@compiled
def _adapt(problem, weights, prior, D, y, n):
    return jax.vmap(lambda D, y, n: problem.rule.adapt(weights, prior, problem, D, y, n))(D, y, n)


@compiled
def _predict(problem, weights, prior, adapted, D):
    return jax.vmap(lambda adapted, D: problem.rule.predict(weights, prior, problem, adapted, D))(adapted, D)
