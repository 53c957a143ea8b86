"""One unseen task of an evaluation: its rows as they were drawn, and a meta-learner that never saw it."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import clone

from upstairs.errors import UpstairsError
from upstairs.evaluation.folds import Fold
from upstairs.evaluation.rounds import Question

__all__ = ["Episode", "draw_episode", "fit_blind", "fit_whole"]


class Episode(NamedTuple):
    """Rows of one unseen task.

    Attributes
    ----------
    X_support, X_query : table of s and q rows
    y_support, y_query : array [s], [q]
    """

    X_support: Any
    y_support: np.ndarray
    X_query: Any
    y_query: np.ndarray


def draw_episode(question: Question, task: Any, shots: int) -> Episode:
    """The rows that a task showed at this number of shots, and those that were asked about."""
    draw, rows = question.draw, question.rows
    mine = draw.task == _position(question, task)
    support = np.flatnonzero(mine & draw.support(shots))
    support = support[np.argsort(draw.rank[support], kind="stable")]
    shown, asked = rows.take(support), rows.take(np.flatnonzero(mine & draw.query))
    return Episode(shown.X, shown.y, asked.X, asked.y)


def fit_blind(question: Question, metas: dict[str, Any], folds: Sequence[Fold], fitted: dict, learner: str, task: Any) -> Any:
    """The meta-learner of the first fold in which the task is unseen; fitted, and added to ``fitted``, unless it is there."""
    at = _position(question, task)
    f = next((f for f, fold in enumerate(folds) if (question.draw.task[fold.unseen] == at).any()), None)
    if f is None:
        raise UpstairsError(f"Task {task!r} is unseen in no fold.")
    if (learner, f) not in fitted:
        learned = folds[f].learned
        rows = question.rows.take(learned)
        fitted[learner, f] = clone(metas[learner]).fit(rows.X, rows.y, groups=rows.groups) if len(learned) else metas[learner]
    return fitted[learner, f]


def fit_whole(question: Question, meta: Any, folds: Sequence[Fold]) -> Any:
    """The meta-learner fitted on all rows; itself where it came fitted."""
    rows = question.rows
    return clone(meta).fit(rows.X, rows.y, groups=rows.groups) if len(folds[0].learned) else meta


def _position(question: Question, task: Any) -> int:
    there = question.draw.ids.tolist()
    if task not in there:
        raise UpstairsError(f"There is no task {task!r} among the {len(there)} evaluated ones, as {there[0]!r}.")
    return there.index(task)
