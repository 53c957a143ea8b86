"""Errors on unseen tasks: how they fall with rows of the task itself, and with the number of tasks that were learned from."""

from typing import Any

import numpy as np

from upstairs.displays.style import Display, End, colours_of, label_ends
from upstairs.displays.tables import read_columns
from upstairs.errors import UpstairsError

__all__ = ["LearningCurveDisplay", "TaskCurveDisplay"]

BASELINES = ("mean", "shrunk-mean", "pooled", "pooled-shift", "task-ridge", "hierarchical-ridge")
"""Names that are drawn in grey unless others are given."""
USUAL_SHOTS = 5


class LearningCurveDisplay(Display):
    """Error on unseen tasks by the number of rows seen of each: a line for each learner, with a band of ± 1 standard error.

    Parameters
    ----------
    learners : sequence of L str
    shots : array-like [S]
        Rows seen, ascending.
    error : array-like [L, S]
        NaN where there is none.
    error_se : array-like [L, S], optional
        Standard errors.
    baselines : collection of str, optional
        Those of the learners that are drawn in grey.
    metric : str, default="error"
        What the error is: the label of its axis.

    Examples
    --------
    >>> from upstairs.displays import LearningCurveDisplay
    >>> display = LearningCurveDisplay(["forest", "pooled"], [0, 5], [[3.0, 2.0], [3.1, 3.1]], baselines=["pooled"])
    >>> display.plot().figure_.savefig("errors.png")  # doctest: +SKIP
    """

    title = "Error on unseen tasks, by rows seen of each"

    def __init__(self, learners, shots, error, error_se=None, *, baselines=(), metric="error"):
        self.learners, self.baselines, self.metric = list(learners), list(baselines), metric
        self.shots, self.error, self.error_se = np.asarray(shots), np.asarray(error, float), _floats(error_se)

    @classmethod
    def from_evaluation(cls, evaluation, *, baselines=BASELINES, metric=None):
        """From the scores of an evaluation.

        Parameters
        ----------
        evaluation : Evaluation
            Of its table ``scores`` the columns learner, shots, fold, n_tasks, error and error_se are read. The error of several
            folds is their mean, weighed by tasks, and its standard error takes them for independent.
        baselines : collection of str, optional
            By default those of the house.
        metric : str, optional
            By default what the evaluation calls its error.
        """
        columns = read_columns(evaluation.scores, ["learner", "shots", "n_tasks", "error", "error_se"])
        learners, shots, error, se = _pivot(columns, "shots")
        return cls(learners, shots, error, se, baselines=baselines, metric=metric or _metric_of(evaluation))

    def _draw(self, ax, ink):
        ax.set_xscale("function", functions=(np.log1p, np.expm1))
        _draw_lines(ax, self.shots, self, ink)
        ax.set_xlabel("rows seen of the unseen task")


class TaskCurveDisplay(Display):
    """Error on unseen tasks by the number of tasks learned from: would more tasks help?

    Parameters
    ----------
    learners : sequence of L str
    n_tasks : array-like [N]
        Tasks learned from, ascending.
    error : array-like [L, N]
        NaN where there is none.
    error_se : array-like [L, N], optional
        Standard errors.
    shots : int, optional
        Rows seen of each unseen task.
    baselines : collection of str, optional
        Those of the learners that are drawn in grey.
    metric : str, default="error"
        What the error is: the label of its axis.
    """

    def __init__(self, learners, n_tasks, error, error_se=None, *, shots=None, baselines=(), metric="error"):
        self.learners, self.baselines, self.metric, self.shots = list(learners), list(baselines), metric, shots
        self.n_tasks, self.error, self.error_se = np.asarray(n_tasks), np.asarray(error, float), _floats(error_se)

    @classmethod
    def from_evaluation(cls, evaluation, *, shots=None, baselines=BASELINES, metric=None):
        """From the task curve of an evaluation.

        Parameters
        ----------
        evaluation : Evaluation
            Of its table ``task_curve`` the columns learner, n_tasks, shots, error and error_se are read.
        shots : int, optional
            Rows seen of each unseen task; by default 5, or else the number nearest to it.
        baselines, metric
            As in `LearningCurveDisplay.from_evaluation`.
        """
        columns = read_columns(evaluation.task_curve, ["learner", "n_tasks", "shots", "error", "error_se"])
        there = np.unique(columns["shots"])
        if shots is None:
            shots = there[np.argmin(np.abs(there - USUAL_SHOTS))].item()
        if shots not in there:
            raise UpstairsError(f"shots={shots} is not in the task curve, which has {', '.join(map(str, there))}.")
        mine = columns["shots"] == shots
        learners, n_tasks, error, se = _pivot({name: values[mine] for name, values in columns.items()}, "n_tasks")
        metric = metric or _metric_of(evaluation)
        return cls(learners, n_tasks, error, se, shots=shots, baselines=baselines, metric=metric)

    @property
    def title(self):
        if self.shots is None:
            return "Error on unseen tasks, by tasks learned from"
        rows = "row" if self.shots == 1 else "rows"
        return f"Error on unseen tasks after {self.shots} {rows}, by tasks learned from"

    def _draw(self, ax, ink):
        ax.set_xscale("log", base=2)
        _draw_lines(ax, self.n_tasks, self, ink)
        ax.set_xlabel("tasks learned from")


def _draw_lines(ax: Any, x: np.ndarray, curves: Any, ink: str) -> None:
    """Error [L, S] at x [S], with ticks at these and names at the ends."""
    grey = [name in curves.baselines for name in curves.learners]
    ends = []
    for i, colour in enumerate(colours_of(grey)):
        there = ~np.isnan(curves.error[i])
        if not there.any():
            continue
        own, error = x[there], curves.error[i, there]
        width, order = (1.2, 2) if grey[i] else (2.2, 3)
        ax.plot(own, error, color=colour, linewidth=width, marker="o", markersize=2 * width, zorder=order)
        if curves.error_se is not None:
            se = curves.error_se[i, there]
            ax.fill_between(own, error - se, error + se, color=colour, alpha=0.1 if grey[i] else 0.2, linewidth=0)
        ends.append(End(own[-1], error[-1], curves.learners[i], colour))
    ax.set_xticks(x, [f"{value:,}" for value in x.tolist()])
    ax.set_xticks([], minor=True)
    ax.set_ylabel(curves.metric)
    label_ends(ax, ends, ink)


def _pivot(columns: dict[str, np.ndarray], along: str) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
    """Learners in order of appearance, the S values of a column, and error and standard error [L, S], folds averaged."""
    learners, x = list(dict.fromkeys(columns["learner"].tolist())), np.unique(columns[along])
    error, se = np.full((2, len(learners), len(x)), np.nan)
    for i, learner in enumerate(learners):
        for j, value in enumerate(x):
            mine = (columns["learner"] == learner) & (columns[along] == value)
            if mine.any():
                weight = columns["n_tasks"][mine] / columns["n_tasks"][mine].sum()
                error[i, j] = weight @ columns["error"][mine]
                se[i, j] = np.sqrt(weight**2 @ columns["error_se"][mine] ** 2)
    return learners, x, error, se


def _metric_of(evaluation: Any) -> str:
    return getattr(evaluation, "metric", "error")


def _floats(values: Any) -> np.ndarray | None:
    return None if values is None else np.asarray(values, float)
