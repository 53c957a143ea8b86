"""The one path from support rows to predictions: a learner's state, adapted to T tasks and, last, to an empty support.

The empty support serves every row whose task is not known, so that a zero-shot prediction, an adapted model, many adapted tasks
and the known tasks of a fit are all the same adaptation, asked for other rows. Many tasks pass in blocks: what is computed on
the way stays in the processor's cache.
"""

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from upstairs.prediction import ClassPrediction, Explanation, Prediction
from upstairs.tasks import Tasks, group_rows

__all__ = ["Adaptation", "Learner", "adapt", "adapt_known", "bytes_of", "explain", "locate", "predict"]

BLOCK = 16384
"""Tasks and support rows, taken together, that pass through the learner at once; a larger task passes alone."""


def _as_it_is(state: Any, *_: Any) -> Any:
    return state


def _never(_: dict) -> bool:
    return False


def _keep_folds(state: Any, tasks: np.ndarray) -> Any:
    return state._replace(fold=state.fold[tasks])


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
        field is ndarray, int, float, bool, str, None, another NamedTuple, ``tuple[X, ...]`` or a union of these. A field of
        functions comes back as None.
    restore : (state, params) -> state
        What `upstairs.load` does last: put functions among the parameters, which no file holds, back into the state, or raise
        an UpstairsError where they don't fit.
    for_known : (state) -> state
        The state that answers for known tasks, where it isn't the one that judges: what is learned across tasks may come out
        better with the task's own rows, but then looks better on that task than it will on unseen ones.
    streams : (params) -> bool
        Does ``learn`` make do with tasks that lie on disk, reading a few at a time? Else a store gives it what fits in memory.
    keep : (state, tasks) -> state
        The state of a model that knows no other than these meta-train tasks [m] (indices).
    """

    learn: Callable[[Tasks, int, dict, np.random.Generator], tuple[Any, Any]]
    adapt: Callable[[Any, Tasks, np.ndarray], Any]
    predict: Callable[[Any, Any, Tasks], Prediction | ClassPrediction]
    explain: Callable[[Any, Any, Tasks], tuple[Explanation, ...]]
    state: type
    info: type
    restore: Callable[[Any, dict], Any] = _as_it_is
    for_known: Callable[[Any], Any] = _as_it_is
    streams: Callable[[dict], bool] = _never
    keep: Callable[[Any, np.ndarray], Any] = _keep_folds


class Adaptation(NamedTuple):
    """A state adapted to T supports and, last, to the empty support; block b holds the tasks from ``edges[b]`` on."""

    learner: Learner
    state: Any
    support: Tasks
    edges: list[int]
    adapted: list[Any]


def adapt(meta: Any, support: Tasks, fold: np.ndarray | None = None) -> Adaptation:
    """Adapt to supports: of unseen tasks, or of known ones, by the part of the state that never saw their fold [T]."""
    return _adapt(meta.learner, meta.state_, support, np.full(support.n_tasks, -1) if fold is None else fold)


def adapt_known(meta: Any, which: np.ndarray) -> Adaptation:
    """Adapt to these known tasks [T], to answer for them."""
    return _adapt(meta.learner, meta.learner.for_known(meta.state_), meta.known_.take(which), meta.state_.fold[which])


def predict(adaptation: Adaptation, Z: np.ndarray, task: np.ndarray) -> tuple[Prediction | ClassPrediction, np.ndarray]:
    """Predict rows Z [n, p] of the given tasks [n] (-1: none of the adapted ones), in the order of the rows."""
    learner, state, support, edges, adapted = adaptation
    task = np.where(task < 0, support.n_tasks - 1, task)
    order, offsets = group_rows(task, support.n_tasks)
    blocks = []
    for (start, stop), block in zip(itertools.pairwise(edges), adapted, strict=True):
        rows = order[offsets[start] : offsets[stop]]
        if len(rows) or not len(Z):
            own = offsets[start : stop + 1] - offsets[start]
            query = Tasks(Z[rows], np.full(len(rows), np.nan), own, support.ids[start:stop], support.levels)
            blocks.append(learner.predict(state, block, query))
    back = np.empty(len(order), int)
    back[order] = np.arange(len(order))
    fields = (np.concatenate(field)[back] for field in zip(*blocks, strict=True))
    return type(blocks[0])(*fields), support.sizes[task]


def explain(meta: Any, adaptation: Adaptation, Z: np.ndarray) -> Explanation | dict[Any, Explanation]:
    learner, state, support, edges, adapted = adaptation
    offsets = np.minimum(np.arange(edges[1] + 1), 1) * len(Z)
    query = Tasks(Z, np.full(len(Z), np.nan), offsets, support.ids[: edges[1]], support.levels)
    explanations = learner.explain(state, adapted[0], query)
    return explanations[0] if len(explanations) == 1 else dict(zip(meta.classes_.tolist(), explanations, strict=True))


def locate(ids: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Position of each row's task among the sorted ids, -1 where it is not one of them."""
    if ids.dtype == groups.dtype and ids.dtype.kind in "iu" and len(ids):
        position = np.minimum(np.searchsorted(ids, groups), len(ids) - 1)
        return np.where(ids[position] == groups, position, -1)
    index = dict(zip(ids.tolist(), itertools.count()))
    return np.fromiter(map(index.get, groups.tolist(), itertools.repeat(-1)), np.int64, len(groups))


def bytes_of(value: Any) -> int:
    """Bytes of the arrays in nested tuples and lists; of a view, those of the array that it keeps in memory."""
    if isinstance(value, tuple | list):
        return sum(map(bytes_of, value))
    return getattr(value.base if getattr(value, "base", None) is not None else value, "nbytes", 0)


def _adapt(learner: Learner, state: Any, support: Tasks, fold: np.ndarray) -> Adaptation:
    fold = np.append(fold, -1)
    support = support._replace(offsets=np.append(support.offsets, support.offsets[-1]))
    _, first = np.unique((support.offsets[:-1] + np.arange(len(fold))) // BLOCK, return_index=True)
    edges = [*first.tolist(), len(fold)]
    adapted = [
        learner.adapt(state, support.between(start, stop), fold[start:stop]) for start, stop in itertools.pairwise(edges)
    ]
    return Adaptation(learner, state, support, edges, adapted)
