"""Inner learning of AutoMeta: each learner adapts to the task's support, and their predictions are blended.

    numbers    mean Σ w_m ŷ_m on the user's own scale; quantiles averaged (Vincent 1912) on the scale of the main learner
    classes    Σ w_m p_m, tempered

The weights w are those of the task's number of shots (linear in log(1 + shots) between the buckets they were learned at).
"""

from typing import Annotated, Any, NamedTuple

import numpy as np

from upstairs.calibration import Calibration, between_buckets, interval_factor, temper
from upstairs.contract import Learner
from upstairs.learners import learner_class
from upstairs.prediction import ClassPrediction, Explanation, Prediction, quantile, t_quantile
from upstairs.target import Scale, back_quantile, forward
from upstairs.tasks import Tasks

__all__ = [
    "Adapted",
    "Member",
    "State",
    "adapt",
    "blend_classes",
    "blend_numbers",
    "explain",
    "for_known",
    "learner_of",
    "predict",
]

TAIL = 0.05
"""Quantiles averaged are this and its opposite; their distance is the blend's spread."""


def learner_of(name: str) -> Learner:
    """The four functions of a learner; they are the same for numbers and classes."""
    return learner_class(name, classify=False).learner


class Member(NamedTuple):
    """A learner that takes part: its name on the command line and what its outer learning found."""

    learner: str
    state: Annotated[Any, lambda fields: learner_of(fields["learner"]).state]


class State(NamedTuple):
    """What outer learning found.

    Attributes
    ----------
    fold : int64 [T]
        Position of each meta-train task, by which every member looks up its own fold; -1 if every model saw it.
    scale : Scale or None
        Of the main member; None for classes.
    calibration : Calibration
    members : tuple of M Member
    blend : float64 [B, M]
        Weight of each member by bucket of shots (see ``calibration.shots``).
    main : int
        The member on whose scale intervals are told.
    """

    fold: np.ndarray
    scale: Scale | None
    calibration: Calibration
    members: tuple[Member, ...]
    blend: np.ndarray
    main: int


class Adapted(NamedTuple):
    """T adapted tasks: what each member's own `adapt` gave, and the number of support rows [T] of each task."""

    parts: tuple[Any, ...]
    shots: np.ndarray


def adapt(state: State, support: Tasks, fold: np.ndarray) -> Adapted:
    """Every member adapts to the supports."""
    parts = [
        learner_of(name).adapt(member, support, np.where(fold < 0, -1, member.fold[fold]) if len(member.fold) else fold)
        for name, member in state.members
    ]
    return Adapted(tuple(parts), support.sizes)


def predict(state: State, adapted: Adapted, query: Tasks) -> Prediction | ClassPrediction:
    """Predict the query rows of each task."""
    predictions: list[Any] = [
        learner_of(name).predict(member, part, query) for (name, member), part in zip(state.members, adapted.parts, strict=True)
    ]
    shots = np.repeat(adapted.shots, query.sizes)
    weight = _weights(state, shots)
    if state.scale is None:
        return ClassPrediction(temper(state.calibration, shots, blend_classes(predictions, weight)))
    return blend_numbers(predictions, [member.state for member in state.members], weight, state.main, shots)


def explain(state: State, adapted: Adapted, query: Tasks) -> tuple[Explanation, ...]:
    """Split the prediction of each query row of the first task into the members' parts by weight; once for each output."""
    weight = _weights(state, adapted.shots[:1])[0]
    explained = [
        learner_of(name).explain(member, part, query) for (name, member), part in zip(state.members, adapted.parts, strict=True)
    ]
    scales = [member.state.scale for member in state.members]
    return tuple(
        _sum([_on_scale(one, scale, state.scale) for one, scale in zip(output, scales, strict=True)], weight)
        for output in zip(*explained, strict=True)
    )


def for_known(state: State) -> State:
    """Each member's own."""
    return state._replace(members=tuple(Member(name, learner_of(name).for_known(member)) for name, member in state.members))


def blend_numbers(
    predictions: list[Prediction], states: list[Any], weight: np.ndarray, main: int, shots: np.ndarray
) -> Prediction:
    """Means and quantiles of M members averaged by weights [n, M]."""
    scale, dof = states[main].scale, predictions[main].dof
    middle, width = [], []
    for prediction, member in zip(predictions, states, strict=True):
        factor = interval_factor(member.calibration, shots, 1 - 2 * TAIL)
        low, high = (forward(scale, quantile(prediction, member.scale, p, factor)) for p in (TAIL, 1 - TAIL))
        middle.append(forward(scale, back_quantile(member.scale, prediction.center)))
        width.append(high - low)
    spread = _average(width, weight) / (2 * t_quantile(dof, 1 - TAIL))
    return Prediction(
        _average([prediction.mean for prediction in predictions], weight),
        _average([prediction.std for prediction in predictions], weight),
        _average(middle, weight),
        np.maximum(spread, 1e-9),
        dof,
    )


def blend_classes(predictions: list[ClassPrediction], weight: np.ndarray) -> np.ndarray:
    """Log of the mixture of the members' probabilities, [n, C]."""
    return np.log(_average([np.exp(prediction.log_proba) for prediction in predictions], weight))


def _weights(state: State, shots: np.ndarray) -> np.ndarray:
    """Weights [n, M] at the given numbers of shots [n]."""
    return np.column_stack([between_buckets(state.calibration.shots, column, shots) for column in state.blend.T])


def _average(values: list[np.ndarray], weight: np.ndarray) -> np.ndarray:
    return sum(w.reshape(-1, *[1] * (value.ndim - 1)) * value for w, value in zip(weight.T, values, strict=True))


def _on_scale(one: Explanation, own: Scale | None, main: Scale | None) -> Explanation:
    """The parts on the main member's scale. From y to log y that is a curve: parts are stretched along its chord."""
    if main is None:
        return one._replace(exact=False)
    task_part = one.level + one.scale + one.slopes.sum(axis=1) + one.local
    move = one.shared.sum(axis=1) + task_part
    start, end = (forward(main, back_quantile(own, u)) for u in (one.base, one.base + move))
    stretch = np.where(np.abs(move) > 1e-9, (end - start) / np.where(move == 0, 1, move), own.sd / main.sd)
    parts = {
        name: getattr(one, name) * (stretch if getattr(one, name).ndim == 1 else stretch[:, None])
        for name in ("shared", "level", "scale", "slopes", "local", "support")
    }
    return one._replace(base=start, exact=one.exact and own.log == main.log, **parts)


def _sum(explanations: list[Explanation], weight: np.ndarray) -> Explanation:
    parts = [
        sum(w * part for w, part in zip(weight, column, strict=True)) for column in list(zip(*explanations, strict=True))[:-1]
    ]
    return Explanation._make([*parts, all(one.exact for one in explanations)])
