"""Inner learning of meta-gradient descent: a task's support rows -> its adapted model -> predictions.

Every fold model adapts by the fit's inner rule (`rules`). An unseen task gets the average of all of them, with their
disagreement added to its variance; a known one gets the model that never saw it. Rules are written for one task; here they are
mapped over fold models and tasks, in few shapes (`padding`).
"""

import functools
from typing import Any, NamedTuple

import jax
import numpy as np

from upstairs.calibration import Calibration, between_buckets, temper
from upstairs.gradient.encoder import Inputs, Network, input_matrix, make_network
from upstairs.gradient.explanation import explain_latent
from upstairs.gradient.padding import WIDTH, query_blocks, support_batches
from upstairs.gradient.rules import RULES
from upstairs.gradient.rules.rule import Latent, Problem, Start
from upstairs.prediction import ClassPrediction, Explanation, Prediction, class_log_proba, from_scale
from upstairs.target import Scale, forward
from upstairs.tasks import Tasks

__all__ = ["Adapted", "Head", "Shape", "State", "adapt", "explain", "predict", "problem_of", "target_of"]


class Shape(NamedTuple):
    """What a rule and its network are, so that they can be compiled again: see `rules.rule.Problem`.

    A user's own pair of functions stands in for the widths of a network; a file holds only that there was one (`network`).
    """

    inner: str
    network: tuple[int, ...] | Network
    n_classes: int
    n_inputs: int
    n_features: int
    slopes: np.ndarray
    shots: np.ndarray
    inner_steps: int
    inner_rate: float


class Head(NamedTuple):
    """θ, learned on y or on log y.

    Attributes
    ----------
    weights : tuple of float32 [K, ...]
        Of the K fold models: leaves of the rule's pytree, in order.
    prior : tuple of float32 arrays
        What they share.
    scale : Scale or None
        None for classes.
    """

    weights: tuple[np.ndarray, ...]
    prior: tuple[np.ndarray, ...]
    scale: Scale | None


class State(NamedTuple):
    """What outer learning found.

    Attributes
    ----------
    fold : int64 [T]
        Fold of each meta-train task; -1 if every model saw it.
    scale : Scale or None
        Of the head that intervals come from; None for classes.
    calibration : Calibration
    inputs : Inputs
    shape : Shape
    heads : tuple of Head
        One, or two where both y and log y are worth modelling.
    blend : float64 [B, heads]
        Weight of each head's mean, by bucket of shots (see ``calibration.shots``).
    main : int
        The head that intervals come from.
    """

    fold: np.ndarray
    scale: Scale | None
    calibration: Calibration
    inputs: Inputs
    shape: Shape
    heads: tuple[Head, ...]
    blend: np.ndarray
    main: int


class Adapted(NamedTuple):
    """T adapted tasks.

    Attributes
    ----------
    parts : tuple of pytrees
        Of each head: arrays [T, K, ...].
    share : float64 [T, K]
        Of each fold model in the prediction.
    support : Tasks
    """

    parts: tuple[Any, ...]
    share: np.ndarray
    support: Tasks


def adapt(state: State, support: Tasks, fold: np.ndarray) -> Adapted:
    """Adapt every fold model to each task's support rows."""
    problem, D = problem_of(state.shape), input_matrix(state.inputs, support.X)
    parts = []
    for head in state.heads:
        y = target_of(head.scale, support.y, state.shape.n_classes)
        parts.append(_adapt_all(problem, *theta_of(problem, head), D, y, support.offsets))
    n_folds = len(state.heads[0].weights[0])
    known = fold[:, None] == np.arange(n_folds)
    return Adapted(tuple(parts), np.where(fold[:, None] < 0, 1 / n_folds, known), support)


def predict(state: State, adapted: Adapted, query: Tasks) -> Prediction | ClassPrediction:
    """Predict the query rows of each task."""
    problem, D = problem_of(state.shape), input_matrix(state.inputs, query.X)
    shots, share = np.repeat(adapted.support.sizes, query.sizes), np.repeat(adapted.share, query.sizes, axis=0)
    latents = [
        average(_predict_all(problem, *theta_of(problem, head), part, D, query.offsets), share)
        for head, part in zip(state.heads, adapted.parts, strict=True)
    ]
    if state.scale is None:
        return ClassPrediction(temper(state.calibration, shots, class_log_proba(latents[0].mean, latents[0].variance)))
    numbers = [number_of(head.scale, latent) for head, latent in zip(state.heads, latents, strict=True)]
    weights = [between_buckets(state.calibration.shots, column, shots) for column in state.blend.T]
    mean = sum(weight * number.mean for weight, number in zip(weights, numbers, strict=True))
    return numbers[state.main]._replace(mean=mean)


def explain(state: State, adapted: Adapted, query: Tasks) -> tuple[Explanation, ...]:
    """Split the prediction of each query row of the first task, by the main head; once for each class."""
    problem, head = problem_of(state.shape), state.heads[state.main]
    own = slice(0, adapted.support.offsets[1] if len(adapted.support.sizes) > 1 else 0)
    y = target_of(head.scale, adapted.support.y[own], state.shape.n_classes)
    return explain_latent(
        problem, *theta_of(problem, head), adapted.share[0], state.inputs,
        input_matrix(state.inputs, adapted.support.X[own]), y, input_matrix(state.inputs, query.X), query.X.shape[1],
        state.shape.inner == "bayes",
    )  # fmt: skip


def problem_of(shape: Shape) -> Problem:
    """The same object for equal shapes, so that nothing is compiled twice."""
    return _problem(
        shape.inner, shape.network, shape.n_classes, shape.n_inputs, shape.n_features, tuple(shape.slopes.tolist()),
        tuple(shape.shots.tolist()), shape.inner_steps, shape.inner_rate,
    )  # fmt: skip


def theta_of(problem: Problem, head: Head) -> tuple[Any, Any]:
    """Weights [K, ...] and prior as the rule's pytrees."""
    weights, prior = _structure(problem)
    return jax.tree.unflatten(weights, head.weights), jax.tree.unflatten(prior, head.prior)


def target_of(scale: Scale | None, y: np.ndarray, n_classes: int) -> np.ndarray:
    """What a head is adapted to, float32 [n, C]: u, or 1 for a row's class (a single output is the second of two)."""
    if scale is not None:
        return forward(scale, y).astype(np.float32)[:, None]
    return (y[:, None] == (np.arange(n_classes) if n_classes > 2 else 1)).astype(np.float32)


def number_of(scale: Scale, latent: Latent) -> Prediction:
    """The latent number on the user's scale."""
    return from_scale(scale, latent.mean[:, 0], latent.variance[:, 0], np.sqrt(latent.spread2[:, 0]), latent.dof)


def average(latent: Latent, share: np.ndarray) -> Latent:
    """Latents [n, K, C] of K fold models as one, by their shares [n, K]: disagreement counts as variance."""
    weight = share[:, :, None]
    mean = (weight * latent.mean).sum(axis=1)
    between = (weight * (latent.mean - mean[:, None]) ** 2).sum(axis=1)
    variance, spread2 = ((weight * part).sum(axis=1) + between for part in (latent.variance, latent.spread2))
    return Latent(mean, variance, spread2, np.where(share > 0, latent.dof, 0).max(axis=1))


@functools.cache
def _problem(inner, network, n_classes, n_inputs, n_features, slopes, shots, steps, rate) -> Problem:
    n_outputs = n_classes if n_classes > 2 else 1
    rule, pair = RULES[inner], make_network(network)
    return Problem(rule, pair, n_classes > 0, n_inputs, n_features, n_outputs, slopes, shots, steps, rate)


@functools.cache
def _structure(problem: Problem) -> tuple[Any, Any]:
    C = problem.n_outputs
    start = Start(np.zeros((C, problem.n_inputs)), np.ones(C), np.ones(C))
    shapes = jax.eval_shape(lambda: problem.rule.init(jax.random.PRNGKey(0), problem, start))
    return jax.tree.structure(shapes[0]), jax.tree.structure(shapes[1])


def _adapt_all(problem: Problem, weights: Any, prior: Any, D: np.ndarray, y: np.ndarray, offsets: np.ndarray) -> Any:
    """Adapted [T, K, ...] for tasks of any sizes."""
    whole = None
    sizes = np.diff(offsets)
    # an empty support still needs a row to pad with
    D, y = (part if len(part) else np.zeros((1, part.shape[1]), np.float32) for part in (D, y))
    for tasks, width, padded in support_batches(sizes):
        rows = np.minimum(offsets[tasks][:, None] + np.arange(width), len(D) - 1)
        rows, n = _pad(rows, padded), _pad(sizes[tasks], padded)
        part = jax.tree.map(np.asarray, _adapt(problem, weights, prior, D[rows], y[rows], n))
        if whole is None:
            whole = jax.tree.map(lambda a: np.empty((len(sizes), *a.shape[1:]), a.dtype), part)
        for into, source in zip(jax.tree.leaves(whole), jax.tree.leaves(part), strict=True):
            into[tasks] = source[: len(tasks)]
    return whole


def _predict_all(problem: Problem, weights: Any, prior: Any, adapted: Any, D: np.ndarray, offsets: np.ndarray) -> Latent:
    """Latents [n, K, C] of query rows [n, q]."""
    n_folds = len(jax.tree.leaves(weights)[0])
    mean, variance, spread2 = np.empty((3, len(D), n_folds, problem.n_outputs))
    whole = Latent(mean, variance, spread2, np.empty((len(D), n_folds)))
    for task, first, count, padded in query_blocks(np.diff(offsets)):
        rows = np.minimum(offsets[task][:, None] + first[:, None] + np.arange(WIDTH), len(D) - 1)
        asked = np.arange(WIDTH) < count[:, None]
        own = jax.tree.map(lambda a, task=task, padded=padded: a[_pad(task, padded)], adapted)
        latent = _predict(problem, weights, prior, own, D[_pad(rows, padded)])
        for into, source in zip(whole, latent, strict=True):
            # [blocks, K, Q, ...]
            into[rows[asked]] = np.asarray(source)[: len(task)].swapaxes(1, 2)[asked]
    return whole


def _pad(values: np.ndarray, length: int) -> np.ndarray:
    return values[np.minimum(np.arange(length), len(values) - 1)]


@functools.partial(jax.jit, static_argnames="problem")
def _adapt(problem, weights, prior, D, y, n):
    def one(D, y, n):
        return jax.vmap(lambda w: problem.rule.adapt(w, prior, problem, D, y, n))(weights)

    return jax.vmap(one)(D, y, n)


@functools.partial(jax.jit, static_argnames="problem")
def _predict(problem, weights, prior, adapted, D):
    def one(adapted, D):
        return jax.vmap(lambda w, a: problem.rule.predict(w, prior, problem, a, D))(weights, adapted)

    return jax.vmap(one)(adapted, D)
