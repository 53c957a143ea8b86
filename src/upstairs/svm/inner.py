"""Inner learning of the meta support vector machine: a task's support rows -> its own machine around θ -> predictions.

    v(θ) = argmin over v of  1/(2C) vᵀM⁻¹v + Σ_i ℓ(y_i, (θ + v)ᵀφ_i),   f(x) = (θ + v)ᵀφ(x)

θ stands for (1 − w) θ + w θ_0, the meta-model mixed with the machine that all rows share; w and C are what served held-out
tasks of as many rows best. A margin f becomes a logit by a slope and an offset of its own number of shots (Platt 1999); a
number gets the standard deviation of that number of shots.
"""

from collections.abc import Callable
from typing import NamedTuple

import numba
import numpy as np

from upstairs.blending import blend_numbers
from upstairs.calibration import Calibration, between_buckets, temper
from upstairs.compiled import FAST, read_only
from upstairs.errors import UpstairsError
from upstairs.prediction import ClassPrediction, Explanation, Prediction, class_log_proba, from_scale
from upstairs.svm.explanation import explain_machine
from upstairs.svm.features import Features, feature_matrix
from upstairs.svm.kernel import check_custom
from upstairs.svm.machine import Machine, adapt_machines
from upstairs.svm.problem import Loss
from upstairs.svm.rows import targets
from upstairs.target import Scale
from upstairs.tasks import Tasks

__all__ = ["Adapted", "Head", "State", "adapt", "explain", "keep", "logits_of", "number_of", "predict", "restore"]


class Head(NamedTuple):
    """A meta-model of y, of log y, or of classes (one output for two, else one for each against the rest).

    Attributes
    ----------
    features : Features
    theta : float64 [outputs, q]
        The meta-model.
    pooled : float64 [outputs, q]
        θ_0, the machine that all rows share, as if tasks didn't differ.
    share : float64 [B]
        w, the part of ``pooled`` in what a task's machine is fitted around, by bucket of shots.
    relevance : float64 [q]
        Diagonal of M, where the features are turned to.
    C : float64 [B]
        By bucket of shots (see ``State.calibration.shots``).
    slope, offset : float64 [B, outputs]
        Of the logit in the margin; ones and zeros for numbers.
    spread : float64 [B]
        Standard deviation of u; ones for classes.
    loss : Loss
    scale : Scale or None
        None for classes.
    blind, blind_pooled : float64 [K, outputs, q]
        θ and θ_0 of the models that never saw the tasks of a fold, for tasks known from fit.
    """

    features: Features
    theta: np.ndarray
    pooled: np.ndarray
    share: np.ndarray
    relevance: np.ndarray
    C: np.ndarray
    slope: np.ndarray
    offset: np.ndarray
    spread: np.ndarray
    loss: Loss
    scale: Scale | None
    blind: np.ndarray = np.empty((0, 0, 0))
    blind_pooled: np.ndarray = np.empty((0, 0, 0))


class State(NamedTuple):
    """What outer learning found.

    Attributes
    ----------
    fold : int64 [T]
        Fold of each meta-train task; -1 if every model saw it.
    scale : Scale or None
        Of the head that intervals come from; None for classes.
    calibration : Calibration
    heads : tuple of Head
        One, or two where both y and log y are worth modelling.
    blend : float64 [B, heads]
        Weight of each head's mean.
    main : int
        The head that intervals and the support come from.
    support : int64 [m]
        Rows of fit with a slope, in any output; none where they are too many to be held.
    dual_coef : float64 [outputs, m]
        θ = dual_coef φ(X[support]).
    support_task : bool [T]
        Has the task a row among them?
    """

    fold: np.ndarray
    scale: Scale | None
    calibration: Calibration
    heads: tuple[Head, ...]
    blend: np.ndarray
    main: int
    support: np.ndarray
    dual_coef: np.ndarray
    support_task: np.ndarray


class Adapted(NamedTuple):
    """T adapted tasks.

    Attributes
    ----------
    v : tuple of float64 [T, outputs, q]
        Of each head: what the task's machine adds to θ (to that of its fold, for a known task, and from there to θ).
    slope : tuple of float64 [n, outputs]
        Of each head's support rows.
    support : Tasks
    """

    v: tuple[np.ndarray, ...]
    slope: tuple[np.ndarray, ...]
    support: Tasks


def adapt(state: State, support: Tasks, fold: np.ndarray) -> Adapted:
    """Fit each task's machine around θ."""
    v, slopes = [], []
    for head in state.heads:
        phi, Y = feature_matrix(head.features, support.X), target_of(head, support.y)
        C = _strength(state, head, support.sizes)
        machine = Machine(head.loss, head.relevance)
        shared, beside = _shared(state, head, phi, support.sizes, support.sizes), np.zeros((1, 1, 1))
        if (fold >= 0).any():
            beside = _beside(state, head, fold, support.sizes)
            shared += products(phi, beside, support.task_of_row)
        parts = [adapt_machines(machine, phi, y, f, support.offsets, C) for y, f in zip(Y.T, shared.T, strict=True)]
        v.append(np.stack([part for part, _ in parts], axis=1) + beside)
        slopes.append(np.column_stack([slope for _, slope in parts]))
    return Adapted(tuple(v), tuple(slopes), support)


def predict(state: State, adapted: Adapted, query: Tasks) -> Prediction | ClassPrediction:
    """Predict the query rows of each task."""
    shots, buckets = np.repeat(adapted.support.sizes, query.sizes), state.calibration.shots
    margins = [margins_of(state, head, v, adapted.support.sizes, query) for head, v in zip(state.heads, adapted.v, strict=True)]
    if state.scale is None:
        (head,), (margin,) = state.heads, margins
        logits = logits_of(margin, _between(buckets, head.slope, shots), _between(buckets, head.offset, shots))
        return ClassPrediction(temper(state.calibration, shots, class_log_proba(logits, np.zeros_like(logits))))
    numbers = [
        number_of(head, margin[:, 0], between_buckets(buckets, head.spread, shots))
        for head, margin in zip(state.heads, margins, strict=True)
    ]
    return blend_numbers(numbers, state.blend, state.main, state.calibration, shots)


def explain(state: State, adapted: Adapted, query: Tasks) -> tuple[Explanation, ...]:
    """Split the margin of each query row of the first task, by the main head; once for each output."""
    head, adapted_rows = state.heads[state.main], adapted.support.between(0, 1)
    buckets, shots = state.calibration.shots, adapted.support.sizes[:1]
    slope, offset = (_between(buckets, part, shots)[0] for part in (head.slope, head.offset))
    C = float(_strength(state, head, shots)[0])
    share = between_buckets(buckets, head.share, shots)[0]
    s = len(adapted_rows.y)
    return tuple(
        explain_machine(
            head.features, theta + share * (pooled - theta), head.relevance, C, feature_matrix(head.features, adapted_rows.X),
            adapted.slope[state.main][:s, c], query.X, slope[c], offset[c],
        )
        for c, (theta, pooled) in enumerate(zip(head.theta, head.pooled, strict=True))
    )  # fmt: skip


def keep(state: State, tasks: np.ndarray) -> State:
    """The state of a model that knows no other than these meta-train tasks."""
    return state._replace(fold=state.fold[tasks], support_task=state.support_task[tasks])


def restore(state: State, params: dict) -> State:
    """A state from a file, with the kernel that its user gives again."""
    return state._replace(heads=tuple(_with_kernel_again(head, params["kernel"]) for head in state.heads))


def _with_kernel_again(head: Head, kernel: Callable) -> Head:
    design, kernel_map, _ = head.features
    if kernel_map.kernel != "custom":
        return head
    if not callable(kernel):
        raise UpstairsError(f"kernel must be the function that fit was given, but is {kernel!r}.")
    n_linear = 1 + len(design.column)
    n_features = check_custom(kernel, np.zeros((3, n_linear - 1), np.float32))
    if n_linear + n_features != head.theta.shape[1]:
        raise UpstairsError(
            f"kernel isn't the one that this model was fitted with: it gives {n_features} features instead of "
            f"{head.theta.shape[1] - n_linear}. Give the function that fit was given."
        )
    return head._replace(features=head.features._replace(map=kernel_map._replace(custom=kernel)))


def _beside(state: State, head: Head, fold: np.ndarray, shots: np.ndarray) -> np.ndarray:
    """How far the shared θ of each task's fold lies from that of all, float64 [T, outputs, q]; 0 where the fold is -1."""
    share = between_buckets(state.calibration.shots, head.share, shots)[:, None, None]
    beside = (1 - share) * (head.blind[fold] - head.theta) + share * (head.blind_pooled[fold] - head.pooled)
    return np.where(fold[:, None, None] < 0, 0, beside)


def margins_of(state: State, head: Head, v: np.ndarray, shots: np.ndarray, query: Tasks) -> np.ndarray:
    """f [n, outputs] of the query rows of tasks with machines v [T, outputs, q] of their own, fitted to ``shots`` [T] rows."""
    phi = feature_matrix(head.features, query.X)
    return products(phi, v, query.task_of_row) + _shared(state, head, phi, shots, query.sizes)


def _shared(state: State, head: Head, phi: np.ndarray, shots: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """θᵀφ [n, outputs] of the rows φ of tasks with ``sizes`` [T] rows, θ being that of ``shots`` [T]."""
    nobody = np.zeros(len(phi), int)
    if not head.share.any():
        return products(phi, head.theta[None], nobody)
    share = np.repeat(between_buckets(state.calibration.shots, head.share, shots), sizes)
    shared, apart = np.hsplit(products(phi, np.concatenate([head.theta, head.pooled - head.theta])[None], nobody), 2)
    return shared + share[:, None] * apart


def products(phi: np.ndarray, weights: np.ndarray, task: np.ndarray) -> np.ndarray:
    """wᵀφ, float64 [n, outputs], of rows φ, float32 [n, q], with weights [T, outputs, q] of their task [n]."""
    f = np.empty((len(phi), weights.shape[1]))
    _products(read_only(phi), read_only(weights), read_only(task), f)
    return f


@numba.njit(cache=True, nogil=True, fastmath=FAST)
def _products(phi, weights, task, f):  # pragma: no cover (compiled)
    for i in range(len(phi)):
        for m in range(weights.shape[1]):
            total = 0.0
            for j in range(phi.shape[1]):
                total += weights[task[i], m, j] * phi[i, j]
            f[i, m] = total


def target_of(head: Head, y: np.ndarray) -> np.ndarray:
    """What machines are fitted to, float64 [n, outputs]: u, or 1 for a row's class and -1 for others."""
    return targets(head.scale, len(head.theta), y)


def logits_of(margins: np.ndarray, slope: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """Logits [n, outputs]."""
    return margins * slope + offset


def number_of(head: Head, margin: np.ndarray, spread: np.ndarray) -> Prediction:
    """The number on the user's scale."""
    return from_scale(head.scale, margin, spread**2, spread, np.full(len(margin), np.inf))


def _strength(state: State, head: Head, sizes: np.ndarray) -> np.ndarray:
    """C [T] for tasks of the given numbers of rows."""
    return np.exp(between_buckets(state.calibration.shots, np.log(head.C), sizes))


def _between(buckets: np.ndarray, values: np.ndarray, shots: np.ndarray) -> np.ndarray:
    return np.column_stack([between_buckets(buckets, column, shots) for column in values.T])
