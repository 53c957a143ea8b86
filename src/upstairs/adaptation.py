"""The one path from support rows to predictions: a learner's state, adapted to T tasks and, last, to an empty support.

The empty support serves every row whose task is not known, so that a zero-shot prediction, an adapted model, many adapted tasks
and the known tasks of a fit are all the same adaptation, asked for other rows.
"""

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from upstairs.prediction import ClassPrediction, Explanation, Prediction
from upstairs.tasks import Tasks, group_rows

__all__ = ["Adaptation", "Learner", "adapt", "explain", "locate", "predict"]


class Learner(NamedTuple):
    """The four functions of a meta-learner, and the types of what its fit leaves behind.

    learn : (tasks, n_classes, params, rng) -> state, info
        ``n_classes`` is 0 for regression. The state is a NamedTuple of arrays with at least the fields ``fold`` (int [T], the
        fold of each meta-train task), ``scale`` (`target.Scale`, or None for classes) and ``calibration``.
    adapt : (state, support, fold) -> adapted
        ``fold`` [T] names the part of the state that never saw a known task; it is -1 for an unseen one.
    predict : (state, adapted, query) -> Prediction | ClassPrediction
        Query and adapted hold the same tasks in the same order.
    explain : (state, adapted, query) -> one Explanation for numbers and two classes, C for C > 2 classes
        All query rows belong to the first task.
    state, info : type
        The NamedTuples that ``learn`` returns. Their annotations are all that `upstairs.load` needs to rebuild them, so each
        field is ndarray, int, float, bool, str, None, another NamedTuple, ``tuple[X, ...]`` or a union of these.
    """

    learn: Callable[[Tasks, int, dict, np.random.Generator], tuple[Any, Any]]
    adapt: Callable[[Any, Tasks, np.ndarray], Any]
    predict: Callable[[Any, Any, Tasks], Prediction | ClassPrediction]
    explain: Callable[[Any, Any, Tasks], tuple[Explanation, ...]]
    state: type
    info: type


class Adaptation(NamedTuple):
    """A state adapted to T supports and, last, to the empty support."""

    learner: Learner
    state: Any
    support: Tasks
    adapted: Any


def adapt(meta: Any, support: Tasks, fold: np.ndarray | None = None) -> Adaptation:
    fold = np.full(support.n_tasks, -1) if fold is None else fold
    support = support._replace(offsets=np.append(support.offsets, support.offsets[-1]))
    return Adaptation(meta.learner, meta.state_, support, meta.learner.adapt(meta.state_, support, np.append(fold, -1)))


def predict(adaptation: Adaptation, Z: np.ndarray, task: np.ndarray) -> tuple[Prediction | ClassPrediction, np.ndarray]:
    """Predict rows Z [n, p] of the given tasks [n] (-1: none of the adapted ones), in the order of the rows."""
    n_tasks = adaptation.support.n_tasks
    task = np.where(task < 0, n_tasks - 1, task)
    order, offsets = group_rows(task, n_tasks)
    query = Tasks(Z[order], np.full(len(Z), np.nan), offsets, adaptation.support.ids, adaptation.support.levels)
    prediction = adaptation.learner.predict(adaptation.state, adaptation.adapted, query)
    back = np.empty(len(order), int)
    back[order] = np.arange(len(order))
    return type(prediction)(*(field[back] for field in prediction)), adaptation.support.sizes[task]


def explain(meta: Any, adaptation: Adaptation, Z: np.ndarray) -> Explanation | dict[Any, Explanation]:
    support = adaptation.support
    offsets = np.minimum(np.arange(support.n_tasks + 1), 1) * len(Z)
    query = Tasks(Z, np.full(len(Z), np.nan), offsets, support.ids, support.levels)
    explanations = adaptation.learner.explain(adaptation.state, adaptation.adapted, query)
    return explanations[0] if len(explanations) == 1 else dict(zip(meta.classes_.tolist(), explanations, strict=True))


def locate(ids: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Position of each row's task among the ids, -1 where it is not one of them."""
    index = dict(zip(ids.tolist(), itertools.count()))
    return np.fromiter(map(index.get, groups.tolist(), itertools.repeat(-1)), np.int64, len(groups))
