"""Inner learning of meta-gradient descent: a task's support rows -> its adapted model -> predictions.

A model of θ adapts by the fit's inner rule (`rules`): for an unseen task the one that saw all of meta-train, for a known one
the fold model that never saw it.
"""

import functools
from typing import Any, NamedTuple

import jax
import numpy as np

from upstairs.blending import blend_numbers
from upstairs.calibration import Calibration, temper
from upstairs.gradient.answering import adapt_tasks, predict_tasks
from upstairs.gradient.encoder import Inputs, Network, input_matrix, make_network
from upstairs.gradient.explanation import explain_latent
from upstairs.gradient.rows import InputRows, target_of
from upstairs.gradient.rules import RULES
from upstairs.gradient.rules.rule import Latent, Problem, Start, Theta
from upstairs.prediction import ClassPrediction, Explanation, Prediction, class_log_proba, from_scale
from upstairs.target import Scale
from upstairs.tasks import Tasks

__all__ = ["Adapted", "Head", "Shape", "State", "adapt", "explain", "predict", "problem_of"]


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
    weights : tuple of float32 [K + 1, ...]
        Of the K fold models and, last, of the one that saw all tasks: leaves of the rule's pytree, in order.
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
        Model for each meta-train task: its fold; -1, the last model, if every model saw it.
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
        Of each head: arrays [T, ...].
    model : int64 [T]
        Which of the weights each task was adapted from; -1 for the last.
    support : Tasks
    """

    parts: tuple[Any, ...]
    model: np.ndarray
    support: Tasks


def adapt(state: State, support: Tasks, fold: np.ndarray) -> Adapted:
    """Adapt each task's own model to its support rows."""
    problem, rows = problem_of(state.shape), InputRows(state.inputs, support.X)
    parts = tuple(
        adapt_tasks(
            problem,
            theta_of(problem, head),
            fold,
            rows,
            target_of(head.scale, support.y, state.shape.n_classes),
            support.offsets,
        )
        for head in state.heads
    )
    return Adapted(parts, fold, support)


def predict(state: State, adapted: Adapted, query: Tasks) -> Prediction | ClassPrediction:
    """Predict the query rows of each task."""
    problem, rows = problem_of(state.shape), InputRows(state.inputs, query.X)
    shots = np.repeat(adapted.support.sizes, query.sizes)
    latents = [
        predict_tasks(problem, theta_of(problem, head), adapted.model, part, rows, query.offsets)
        for head, part in zip(state.heads, adapted.parts, strict=True)
    ]
    if state.scale is None:
        return ClassPrediction(temper(state.calibration, shots, class_log_proba(latents[0].mean, latents[0].variance)))
    numbers = [number_of(head.scale, latent) for head, latent in zip(state.heads, latents, strict=True)]
    return blend_numbers(numbers, state.blend, state.main, state.calibration, shots)


def explain(state: State, adapted: Adapted, query: Tasks) -> tuple[Explanation, ...]:
    """Split the prediction of each query row of the first task, by the main head; once for each class."""
    problem, head = problem_of(state.shape), state.heads[state.main]
    own = slice(0, adapted.support.offsets[1] if len(adapted.support.sizes) > 1 else 0)
    y = target_of(head.scale, adapted.support.y[own], state.shape.n_classes)
    return explain_latent(
        problem, theta_of(problem, head), int(adapted.model[0]), state.inputs,
        input_matrix(state.inputs, adapted.support.X[own]), y, input_matrix(state.inputs, query.X), query.X.shape[1],
        state.shape.inner == "bayes",
    )  # fmt: skip


def problem_of(shape: Shape) -> Problem:
    """The same object for equal shapes, so that nothing is compiled twice."""
    return _problem(
        shape.inner, shape.network, shape.n_classes, shape.n_inputs, shape.n_features, tuple(shape.slopes.tolist()),
        tuple(shape.shots.tolist()), shape.inner_steps, shape.inner_rate,
    )  # fmt: skip


def theta_of(problem: Problem, head: Head) -> Theta:
    """Weights [K + 1, ...] and prior as the rule's pytrees."""
    weights, prior = _structure(problem)
    return Theta(jax.tree.unflatten(weights, head.weights), jax.tree.unflatten(prior, head.prior))


def number_of(scale: Scale, latent: Latent) -> Prediction:
    """The latent number on the user's scale."""
    return from_scale(scale, latent.mean[:, 0], latent.variance[:, 0], np.sqrt(latent.spread2[:, 0]), latent.dof)


@functools.cache
def _problem(inner, network, n_classes, n_inputs, n_features, slopes, shots, steps, rate) -> Problem:
    n_outputs = n_classes if n_classes > 2 else 1
    rule, pair = RULES[inner], make_network(network)
    return Problem(rule, pair, n_classes > 0, n_inputs, n_features, n_outputs, slopes, shots, steps, rate)


@functools.cache
def _structure(problem: Problem) -> tuple[Any, Any]:
    C = problem.n_outputs
    none = np.zeros((C, problem.n_inputs))
    start = Start(none, none, np.ones(C), np.ones(C))
    shapes = jax.eval_shape(lambda: problem.rule.init(jax.random.PRNGKey(0), problem, start))
    return jax.tree.structure(shapes[0]), jax.tree.structure(shapes[1])
