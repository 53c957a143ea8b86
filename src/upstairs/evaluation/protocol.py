"""`evaluate`: every learner fitted once a fold on meta-train tasks, adapted to the unseen ones, and asked about their queries.

It reads what the user gave, draws rows and folds (`draws`, `folds`), fits and asks (`rounds`, `asking`), and hands the losses
to an `Evaluation`, which tells everything else from them.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from sklearn.utils import check_random_state

from upstairs.adaptation import locate
from upstairs.errors import UpstairsError
from upstairs.evaluation.asking import Rows
from upstairs.evaluation.contenders import find_contenders
from upstairs.evaluation.draws import SHOTS, Draw, check_shots, draw_rows, read_order
from upstairs.evaluation.folds import make_folds
from upstairs.evaluation.leaks import find_leaks, warn_of
from upstairs.evaluation.metrics import find_metric
from upstairs.evaluation.result import Asked, Evaluation
from upstairs.evaluation.rounds import Question, ask_all
from upstairs.evaluation.stored import read_store
from upstairs.frames import row_count, vector_name
from upstairs.store import TaskStore
from upstairs.table import read_groups, read_target
from upstairs.target import check_labels, check_numbers
from upstairs.wording import noun_of

__all__ = ["evaluate"]


def evaluate(
    meta: Any,
    X: Any,
    y: Any = None,
    groups: Any = None,
    *,
    shots: Sequence[int] = SHOTS,
    cv: Any = 5,
    order: Any = None,
    scoring: str | None = None,
    baselines: bool | Sequence[str] = True,
    n_jobs: int | None = None,
    random_state: Any = 0,
    return_estimator: bool = False,
    progress: Callable[[str], None] | None = None,
) -> Evaluation:
    """How good on tasks never seen, by number of rows seen of them, beside baselines?

    Of each task half of the rows (at most 200) are query, the same for every number of shots; supports come from the other half
    and are nested. Folds are over tasks: each is unseen once, and each learner is fitted once a fold. That same fit leaves out
    the last fifth of the rows of a quarter of its tasks, some 5 % of all, on which *known* tasks are compared with unseen ones.

    Parameters
    ----------
    meta : meta-learner, list of them, or dict of name -> meta-learner
        They are cloned; what is passed stays as it is.
    X : table of n rows; or a TaskStore
        A store brings its own target and tasks. Of more rows than its memory takes a random sample is looked at, as by `fit`,
        and a warning says how many they are.
    y : array-like [n]
    groups : array-like [n]
        The task of each row. Sentences call a task as this column is named.
    shots : sequence of int, default=(0, 1, 2, 5, 10, 20)
        Numbers of support rows. A task shows at most half of its rows; numbers of the default that no task can give are left
        out, any other such number is an error.
    cv : int, splitter over groups or "prefit", default=5
        Folds of tasks (`sklearn.model_selection.GroupKFold`, shuffled). "prefit": the meta-learners are fitted, and no task of
        X is one that they know; there are no baselines then but those among them.
    order : str or array-like [n], optional
        Column of X, or times: the support is then right before the query in time; else both are drawn at random. The meta-train
        tasks are learned from whole.
    scoring : str, optional
        "rmse" (the default for numbers) or "mae"; "log_loss" (the default for classes), "brier" or "error_rate"; or
        scikit-learn's name of the same. The error is on the scale of y, less is better.
    baselines : bool or list of learners' names, default=True
    n_jobs : int, optional
        Processes that share folds and learners, as in scikit-learn.
    random_state : int, RandomState or None, default=0
        Draws folds, support and query. Baselines use it too; a meta-learner has its own.
    return_estimator : bool, default=False
        Keep the meta-learners that were fitted in each fold (not the baselines), so that `Evaluation.unseen_model` and
        `Evaluation.to_html` needn't fit them again.
    progress : callable, optional
        It is told the name of each of the folds × learners rounds.

    Returns
    -------
    evaluation : Evaluation
        Tables, sentences and warnings.

    Raises
    ------
    UpstairsError
        A sentence that names what can't be used.

    Warns
    -----
    UpstairsWarning
        If a column gives the task or the target away, or rows of a store were left out; all that is odd stands in
    ``evaluation.warnings``.

    References
    ----------
    O. Vinyals, C. Blundell, T. Lillicrap, K. Kavukcuoglu, D. Wierstra: Matching networks for one shot learning. NeurIPS (2016).
    T. Gneiting, A. E. Raftery: Strictly proper scoring rules, prediction, and estimation. JASA 102 (2007), 359-378.

    Examples
    --------
    >>> import upstairs
    >>> from upstairs.baselines.hierarchical_ridge import HierarchicalRidgeRegressor
    >>> from upstairs.datasets import make_random_slopes
    >>> X, y, groups, _ = make_random_slopes(n_tasks=30, random_state=0)
    >>> result = upstairs.evaluate(HierarchicalRidgeRegressor(random_state=0), X, y, groups, baselines=False)
    >>> zero, *_, ten = result.errors()["hierarchical-ridge"]
    >>> bool(ten < zero)
    True
    """
    seed = _seed(random_state)
    if n_jobs == 0 or not isinstance(n_jobs, int | np.integer | None):
        raise UpstairsError(
            f"n_jobs={n_jobs!r} has no meaning: give a number of processes, or -1 for as many as there are cores."
        )
    prefit = isinstance(cv, str) and cv == "prefit"
    contenders = find_contenders(meta, baselines, prefit, seed)
    metric = find_metric(scoring, contenders.classes)
    cautions: list[str] = []
    if isinstance(X, TaskStore):
        X, y, groups, cautions = _read_store(X, y, groups, order, contenders.classes, seed)
    rows = _read(X, y, groups, contenders.classes)
    draw = draw_rows(rows.groups, read_order(order, X, rows.groups), np.random.default_rng(seed))
    shots, left_out = check_shots(shots, draw)
    folds = make_folds(cv, rows.y, draw, seed)
    if prefit:
        _check_unseen(contenders.metas, draw)
    cautions += find_leaks(X, rows.y, draw, contenders.classes)
    warn_of(cautions, stacklevel=3)
    question = Question(rows, metric, draw, shots)
    own = dict(list(contenders.metas.items())[: contenders.n_own])
    findings, fitted = ask_all(question, contenders.metas, folds, n_jobs, progress, own if return_estimator else ())
    names = noun_of(vector_name(groups)), vector_name(y) or "y"
    return Evaluation(
        findings, Asked(question, own, folds, left_out, cautions, *names, order is not None, n_jobs, seed, fitted)
    )


def _seed(random_state: Any) -> int:
    """A whole number as it is, so that evaluations of the same rows can be compared; else one that is drawn."""
    try:
        rng = check_random_state(random_state)
    except ValueError:
        raise UpstairsError(f"random_state must be a whole number from 0 on, or None, but is {random_state!r}.") from None
    return int(random_state) if isinstance(random_state, int | np.integer) else int(rng.randint(2**31 - 1))


def _read_store(
    store: TaskStore, y: Any, groups: Any, order: Any, classes: bool, seed: int
) -> tuple[pa.Table, pa.Table, pa.Table, list[str]]:
    """Features, target and task of its rows, and what must be said of those left out."""
    if y is not None or groups is not None:
        raise UpstairsError("A task store brings its own target and tasks: call evaluate(meta, store), without y and groups.")
    if order is not None and not isinstance(order, str):
        raise UpstairsError("order must name a column of the store, since its rows are in an order of their own.")
    store.check_target("classes" if classes else "numbers")
    table, cautions = read_store(store, seed)
    return table.select(store.columns.names), table.select([store.target_name]), table.select([store.task_name]), cautions


def _read(X: Any, y: Any, groups: Any, classes: bool) -> Rows:
    n = row_count(X)
    if y is None:
        raise UpstairsError("evaluate needs y, the target of each row; only a task store brings its own.")
    if groups is None:
        raise UpstairsError("evaluate needs groups, the task of each row: without tasks there are no unseen ones.")
    target = read_target(y, n)
    if classes:
        return Rows(X, target, read_groups(groups, n), check_labels(target)[0])
    return Rows(X, check_numbers(target), read_groups(groups, n), None)


def _check_unseen(metas: dict[str, Any], draw: Draw) -> None:
    for name, meta in metas.items():
        known = locate(meta.known_.ids, draw.ids) >= 0
        if known.any():
            raise UpstairsError(
                f"{name!r} knows {known.sum()} of the {len(known)} tasks in groups from its fit, as "
                f"{draw.name(int(known.argmax()))!r}, so they are not unseen. Pass rows of other tasks, or leave cv to folds."
            )
