"""Cross-validation and searches of scikit-learn and its kin under the same rule: support of unseen tasks, then their queries.

    SupportQuerySplit    a splitter, for any estimator that learns support rows together with the meta-train tasks
    few_shot_scorer      a scorer, for meta-learners that are fitted once and adapt; used with GroupKFold

Both need the task of each row. With metadata routing (``sklearn.set_config(enable_metadata_routing=True)``) they ask for
``groups`` by themselves, and ``meta.set_fit_request(groups=True)`` makes the fit do so too.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.model_selection import BaseCrossValidator, GroupKFold
from sklearn.utils import check_random_state
from sklearn.utils.metadata_routing import MetadataRequest

from upstairs.errors import UpstairsError
from upstairs.evaluation.asking import Rows, ask_about_known, ask_by_shots
from upstairs.evaluation.draws import check_shots, draw_rows, read_order
from upstairs.evaluation.losses import by, mean_error
from upstairs.evaluation.metrics import find_metric
from upstairs.frames import row_count
from upstairs.table import read_groups, read_target
from upstairs.target import check_labels, check_numbers

__all__ = ["FewShotScorer", "SupportQuerySplit", "few_shot_scorer"]


class SupportQuerySplit(BaseCrossValidator):
    """Folds of tasks: the train part holds all rows of the others and support rows of the unseen ones, the test part queries.

    For estimators that know nothing of adapting and are fitted anew with each support: boosted trees with the task as a column,
    a mixed model. Support and query are drawn as `upstairs.evaluate` draws them.

    Parameters
    ----------
    n_splits : int, default=5
    shots : int, default=5
        Support rows of each unseen task, at most half of its rows.
    order : str or array-like [n], optional
        Column of X, or times, that puts the support right before the query.
    random_state : int, RandomState or None, default=None

    Examples
    --------
    >>> import numpy as np
    >>> from upstairs import SupportQuerySplit
    >>> store = np.repeat(["a", "b", "c", "d"], 6)
    >>> X = np.arange(24.0)[:, None]
    >>> train, test = next(SupportQuerySplit(n_splits=2, shots=1, random_state=0).split(X, groups=store))
    >>> len(train), len(test)  # two whole stores and one row of each other; three queries of each other
    (14, 6)
    """

    __metadata_request__split = {"groups": True}  # noqa: RUF012  scikit-learn looks for it

    def __init__(self, n_splits: int = 5, shots: int = 5, order: Any = None, random_state: Any = None):
        self.n_splits = n_splits
        self.shots = shots
        self.order = order
        self.random_state = random_state

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Train and test rows of each fold.

        Parameters
        ----------
        X : table of n rows
        y : ignored
        groups : array-like [n]
            The task of each row.

        Yields
        ------
        train, test : int64
            Indices of rows.
        """
        n = row_count(X)
        if groups is None:
            raise UpstairsError("SupportQuerySplit needs groups, the task of each row.")
        tasks = read_groups(groups, n)
        rng = np.random.default_rng(check_random_state(self.random_state).randint(2**31 - 1))
        draw = draw_rows(tasks, read_order(self.order, X, tasks), rng)
        shots, _ = check_shots(self.shots, draw)
        if len(shots) > 1:
            raise UpstairsError(f"shots must be one whole number, but is {self.shots!r}; split once for each.")
        if not 2 <= self.n_splits <= len(draw.ids):
            raise UpstairsError(f"n_splits={self.n_splits} must be from 2 to the number of tasks, {len(draw.ids)}.")
        support = draw.support(shots[0])
        folds = GroupKFold(self.n_splits, shuffle=True, random_state=int(rng.integers(2**31)))
        for learned, unseen in folds.split(tasks, groups=draw.task):
            train = np.sort(np.concatenate([learned, unseen[support[unseen]]]))
            yield train, unseen[draw.query[unseen]]

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """The number of folds."""
        return self.n_splits


def few_shot_scorer(
    scoring: str | None = None, shots: int | Sequence[int] | None = 5, order: Any = None, random_state: int = 0
) -> "FewShotScorer":
    """A scorer of meta-learners: adapts to support rows drawn from the test tasks, and scores their queries.

    Parameters
    ----------
    scoring : str, optional
        As in `upstairs.evaluate`; the score is the negative error, so that greater is better.
    shots : int, sequence of int or None, default=5
        Support rows; of several numbers the mean error counts. None: nothing is adapted, and rows are predicted as rows of
        tasks known from the fit, which goes with `SupportQuerySplit`.
    order : str, optional
        Column of X that puts the support right before the query.
    random_state : int, default=0
        The same number draws the same rows for every candidate.

    Returns
    -------
    scorer : FewShotScorer
        Callable (meta, X, y, groups) -> float. It asks for ``groups`` by itself where metadata is routed.

    Examples
    --------
    >>> import sklearn
    >>> from sklearn.model_selection import GroupKFold, cross_validate
    >>> from upstairs import few_shot_scorer
    >>> from upstairs.baselines.hierarchical_ridge import HierarchicalRidgeRegressor
    >>> from upstairs.datasets import make_random_slopes
    >>> X, y, groups, _ = make_random_slopes(n_tasks=30, random_state=0)
    >>> with sklearn.config_context(enable_metadata_routing=True):
    ...     meta = HierarchicalRidgeRegressor(random_state=0).set_fit_request(groups=True)
    ...     scoring = {"zero": few_shot_scorer(shots=0), "five": few_shot_scorer(shots=5)}
    ...     found = cross_validate(meta, X, y, params={"groups": groups}, cv=GroupKFold(3), scoring=scoring)
    >>> bool((found["test_five"] > found["test_zero"]).all())
    True
    """
    return FewShotScorer(scoring, shots, order, random_state)


class FewShotScorer:
    """What `few_shot_scorer` makes."""

    def __init__(self, scoring: str | None, shots: int | Sequence[int] | None, order: Any, random_state: int):
        self.scoring = scoring
        self.shots = shots
        self.order = order
        self.random_state = random_state
        self._groups: Any = True

    def __call__(self, meta: Any, X: Any, y: Any, groups: Any = None) -> float:
        """The negative error of a fitted meta-learner on these rows of tasks."""
        n = row_count(X)
        if groups is None:
            raise UpstairsError(
                "few_shot_scorer needs groups, the task of each row: turn metadata routing on and pass params={'groups': ...}."
            )
        classes, target, tasks = is_classifier(meta), read_target(y, n), read_groups(groups, n)
        metric = find_metric(self.scoring, classes)
        rows = Rows(X, target, tasks, np.unique(target)) if classes else Rows(X, check_numbers(target), tasks, None)
        if classes:
            rows = rows._replace(classes=np.union1d(check_labels(target, None)[0], meta.classes_))
        draw = draw_rows(tasks, read_order(self.order, X, tasks), np.random.default_rng(self.random_state))
        if self.shots is None:
            known = ask_about_known(meta, rows, metric, draw.task)
            return -mean_error(metric, known.loss, known.n_rows, known.task)[0]
        shots, _ = check_shots(self.shots, draw)
        asked = np.flatnonzero(draw.query | (draw.rank < max(shots)))
        rank = np.where(draw.query[asked], -1, draw.rank[asked])
        naive = np.full(len(rows.classes), 1 / len(rows.classes)) if classes else rows.y.mean()
        found, _ = ask_by_shots(meta, rows.take(asked), metric, naive, shots, draw.task[asked], rank, draw.held[asked])
        return -float(np.mean([mean_error(metric, part.loss, part.n_rows, part.task)[0] for _, part in by(found, "shots")]))

    def __repr__(self) -> str:
        return f"few_shot_scorer(scoring={self.scoring!r}, shots={self.shots!r})"

    def set_score_request(self, *, groups: bool | str | None = True) -> "FewShotScorer":
        """Under which name it is given the task of each row, where that isn't ``groups``."""
        self._groups = groups
        return self

    def get_metadata_routing(self) -> MetadataRequest:
        """What scikit-learn asks before it routes metadata."""
        request = MetadataRequest(owner=self)
        request.score.add_request(param="groups", alias=self._groups)
        return request
