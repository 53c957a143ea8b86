"""One round: a learner is fitted on a fold's meta-train tasks and asked about its unseen and known ones; and all rounds."""

import time
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import clone
from sklearn.utils.parallel import Parallel, delayed

from upstairs.evaluation.asking import Rows, ask_about_known, ask_by_shots
from upstairs.evaluation.draws import Draw
from upstairs.evaluation.folds import Fold
from upstairs.evaluation.losses import Findings, KnownLosses, TaskLosses, bring_together
from upstairs.evaluation.metrics import Metric

__all__ = ["Question", "ask_all"]


class Question(NamedTuple):
    """What every learner is asked in every fold."""

    rows: Rows
    metric: Metric
    draw: Draw
    shots: tuple[int, ...]


def ask_all(
    question: Question,
    metas: dict[str, Any],
    folds: Sequence[Fold],
    n_jobs: int | None = None,
    begin: Callable[[str], None] | None = None,
    keep: Collection[str] = (),
) -> tuple[Findings, dict[tuple[str, int], Any]]:
    """Every meta-learner in every fold, and those fitted ones that shall be kept, by name and fold.

    ``begin`` is told each round's name.
    """
    rounds = [(name, f) for f in range(len(folds)) for name in metas]
    jobs: Iterable = (delayed(_ask)(question, metas[name], folds[f], name in keep) for name, f in rounds)
    results = Parallel(n_jobs=n_jobs, return_as="generator")(jobs)
    learners = {name: at for at, name in enumerate(metas)}
    losses: list[TaskLosses] = []
    known: list[KnownLosses] = []
    fit_seconds = np.zeros((len(metas), len(folds)))
    adapt_seconds = np.zeros((len(metas), len(folds), len(question.shots)))
    kept = {}
    for name, f in rounds:
        if begin is not None:
            begin(f"{name}: fold {f + 1} of {len(folds)}")
        own, own_known, fit_seconds[learners[name], f], adapt_seconds[learners[name], f], fitted = next(results)
        if name in keep:
            kept[name, f] = fitted
        losses.append(own._replace(learner=own.learner + learners[name], fold=own.fold + f))
        known.append(own_known._replace(learner=own_known.learner + learners[name], fold=own_known.fold + f))
    findings = Findings(
        tuple(metas),
        question.metric,
        question.draw.ids,
        question.shots,
        bring_together(losses),
        bring_together(known),
        fit_seconds,
        adapt_seconds,
    )
    return findings, kept


def _ask(question: Question, meta: Any, fold: Fold, keep: bool) -> tuple[TaskLosses, KnownLosses, float, list[float], Any]:
    """One round. Where there is nothing to learn from, the meta-learner is fitted already."""
    rows, metric, draw, shots = question
    start = time.perf_counter()
    naive: Any = _naive(rows, fold.unseen if not len(fold.learned) else fold.learned)
    if len(fold.learned):
        learned = rows.take(fold.learned)
        meta = clone(meta).fit(learned.X, learned.y, groups=learned.groups)
    seconds = time.perf_counter() - start
    asked = fold.unseen[draw.query[fold.unseen] | (draw.rank[fold.unseen] < max(shots))]
    rank = np.where(draw.query[asked], -1, draw.rank[asked])
    losses, adapt_seconds = ask_by_shots(meta, rows.take(asked), metric, naive, shots, draw.task[asked], rank, draw.held[asked])
    known = KnownLosses(*(np.zeros(0, int),) * 4, np.zeros(0))
    if len(fold.known):
        known = ask_about_known(meta, rows.take(fold.known), metric, draw.task[fold.known])
    return losses, known, seconds, adapt_seconds, meta if keep else None


def _naive(rows: Rows, learned: np.ndarray) -> Any:
    """What is predicted without any column or task: the mean, or the frequency of each class."""
    y = rows.y[learned]
    if rows.classes is None:
        return y.astype(float).mean()
    return np.array([np.mean(y == label) for label in rows.classes])
