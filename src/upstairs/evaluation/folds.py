"""Which tasks are unseen in which fold, and on which rows known tasks are compared with themselves as unseen ones.

A meta-learner is fitted once a fold. So that the same fit also tells how well *known* tasks are predicted, a few of their rows
are held out of it: in each fold the last fifth of the rows of those tasks that are unseen in the next fold. Of five folds that
is 5 % of the rows, every task is looked at once as known and once as unseen, and on the same rows.
"""

import warnings
from typing import Any, NamedTuple

import numpy as np
from sklearn.model_selection import GroupKFold, check_cv

from upstairs.errors import UpstairsError
from upstairs.evaluation.draws import Draw

__all__ = ["Fold", "hold_out_tasks", "make_folds"]


class Fold(NamedTuple):
    """Rows of one fold, as indices; none are learned from where a fitted meta-learner is scored.

    Attributes
    ----------
    learned : int64
        Rows that the meta-learner is fitted on.
    known : int64
        Rows of the same tasks, held out.
    unseen : int64
        All rows of tasks that it never sees.
    """

    learned: np.ndarray
    known: np.ndarray
    unseen: np.ndarray


def make_folds(cv: Any, y: np.ndarray, draw: Draw, seed: int) -> list[Fold]:
    """The folds of an int, a splitter of scikit-learn or "prefit"."""
    every, n_tasks = np.arange(len(draw.task)), len(draw.ids)
    if isinstance(cv, str):
        if cv != "prefit":
            raise UpstairsError(f'cv must be a number of folds, a splitter over groups, or "prefit", but is {cv!r}.')
        return [Fold(every[:0], every[:0], every)]
    if n_tasks < 3:
        raise UpstairsError(
            f"There {'are' if n_tasks > 1 else 'is'} {n_tasks} task{'s' * (n_tasks > 1)}, too few to hold some out: it takes "
            "at least two to learn from and one that is unseen."
        )
    if isinstance(cv, int | np.integer):
        if not 2 <= cv <= n_tasks:
            raise UpstairsError(f"cv={cv} asks for {cv} folds of {n_tasks} tasks; it must be from 2 to {n_tasks}.")
        cv = GroupKFold(int(cv), shuffle=True, random_state=seed)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of a splitter that ignores groups: the next check finds it out
            splits = list(check_cv(cv).split(np.zeros((len(y), 1)), y, draw.task))
    except ValueError as error:
        raise UpstairsError(f"cv can't split these rows: {error}") from None
    for train, test in splits:
        if len(both := np.intersect1d(draw.task[train], draw.task[test])):
            raise UpstairsError(
                f"cv leaves rows of task {draw.name(both[0])!r} in meta-train while others of it are to be unseen. Use a "
                "splitter over groups, as GroupKFold."
            )
    rng = np.random.default_rng(seed)
    return [
        _fold(np.asarray(train), np.asarray(test), np.asarray(splits[(f + 1) % len(splits)][1]), draw, rng)
        for f, (train, test) in enumerate(splits)
    ]


def hold_out_tasks(groups: Any, share: float = 0.3, random_state: int = 0) -> np.ndarray:
    """Which rows [n] (bool) belong to the share of tasks, drawn at random, that a meta-model shall not see in fit."""
    ids, task = np.unique(np.asarray(groups), return_inverse=True)
    n_unseen = round(share * len(ids))
    if n_unseen < 1 or len(ids) - n_unseen < 2:
        raise UpstairsError(
            f"There are {len(ids)} tasks, too few to hold some out: it takes at least two to learn from and one that is unseen."
        )
    unseen = np.random.default_rng(random_state).permutation(len(ids))[:n_unseen]
    return np.isin(task, unseen)


def _fold(train: np.ndarray, test: np.ndarray, following: np.ndarray, draw: Draw, rng: np.random.Generator) -> Fold:
    meta_train = np.unique(draw.task[train])
    looked_at = np.intersect1d(meta_train, draw.task[following])
    if not len(looked_at):  # there is no other fold
        n_looked_at = min(len(meta_train), len(np.unique(draw.task[test])))
        looked_at = rng.permutation(meta_train)[:n_looked_at]
    is_known = draw.held[train] & np.isin(draw.task[train], looked_at)
    return Fold(train[~is_known], train[is_known], test)
