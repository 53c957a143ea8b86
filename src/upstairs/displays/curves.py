"""Errors on unseen tasks: how they fall with rows of the task itself, and with the number of tasks that were learned from."""

from typing import Any

import numpy as np

from upstairs.displays.style import Display, End, colours_of, label_ends, shots_axis, ticks_at
from upstairs.displays.tables import read_columns
from upstairs.errors import UpstairsError

__all__ = ["LearningCurveDisplay", "TaskCurveDisplay"]

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
    noun : str, default="task"
        What a task is.

    Examples
    --------
    >>> from upstairs.displays import LearningCurveDisplay
    >>> display = LearningCurveDisplay(["forest", "pooled"], [0, 5], [[3.0, 2.0], [3.1, 3.1]], baselines=["pooled"])
    >>> display.plot().figure_.savefig("errors.png")  # doctest: +SKIP
    """

    def __init__(self, learners, shots, error, error_se=None, *, baselines=(), metric="error", noun="task"):
        self.learners, self.baselines, self.metric, self.noun = list(learners), list(baselines), metric, noun
        self.shots, self.error, self.error_se = np.asarray(shots), np.asarray(error, float), _floats(error_se)

    @classmethod
    def from_evaluation(cls, evaluation):
        """From the summary of an evaluation: its columns learner, shots, error and error_se.

        Parameters
        ----------
        evaluation : Evaluation
            All but its ``own_learners`` are drawn in grey.
        """
        columns = read_columns(evaluation.summary(), ["learner", "shots", "error", "error_se"])
        return cls(*_pivot(columns, "shots"), **_words(evaluation, columns["learner"]))

    @property
    def title(self):
        return f"Error on an unseen {self.noun}, by rows seen of it"

    def _draw(self, ax, ink):
        shots_axis(ax, self.shots, self.noun)
        _draw_lines(ax, self.shots, self, ink)


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
    noun : str, default="task"
        What a task is.
    """

    def __init__(
        self, learners, n_tasks, error, error_se=None, *, shots=None, baselines=(), metric="error", noun="task"
    ):  # fmt: skip
        self.learners, self.baselines, self.metric, self.noun = list(learners), list(baselines), metric, noun
        self.n_tasks, self.error, self.error_se = np.asarray(n_tasks), np.asarray(error, float), _floats(error_se)
        self.shots = shots

    @classmethod
    def from_evaluation(cls, evaluation, *, curve=None, shots=None):
        """From the task curve of an evaluation: its columns learner, n_tasks, shots, error and error_se.

        Parameters
        ----------
        evaluation : Evaluation
        curve : table, optional
            What ``evaluation.task_curve()`` returned. By default it is called, which fits anew.
        shots : int, optional
            Rows seen of each unseen task; by default 5, or else the number nearest to it.
        """
        curve = evaluation.task_curve() if curve is None else curve
        columns = read_columns(curve, ["learner", "n_tasks", "shots", "error", "error_se"])
        there = np.unique(columns["shots"])
        if shots is None:
            shots = there[np.argmin(np.abs(there - USUAL_SHOTS))].item()
        if shots not in there:
            raise UpstairsError(f"shots={shots} is not in the task curve, which has {', '.join(map(str, there))}.")
        mine = {name: values[columns["shots"] == shots] for name, values in columns.items()}
        return cls(*_pivot(mine, "n_tasks"), shots=shots, **_words(evaluation, mine["learner"]))

    @property
    def title(self):
        seen = "" if self.shots is None else f" after {self.shots} {'row' if self.shots == 1 else 'rows'}"
        return f"Error on an unseen {self.noun}{seen}, by how many were learned from"

    def _draw(self, ax, ink):
        ax.set_xscale("log", base=2)
        ticks_at(ax, self.n_tasks)
        _draw_lines(ax, self.n_tasks, self, ink)
        ax.set_xlabel("number learned from")


def _draw_lines(ax: Any, x: np.ndarray, curves: Any, ink: str) -> None:
    """Error [L, S] at x [S], with names at the ends."""
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
            ax.fill_between(own, error - se, error + se, color=colour, alpha=0.1 if grey[i] else 0.25, linewidth=0)
        ends.append(End(own[-1], error[-1], curves.learners[i], colour))
    ax.set_ylabel(curves.metric)
    label_ends(ax, ends, ink)


def _pivot(columns: dict[str, np.ndarray], along: str) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
    """Learners in order of appearance, the S values of a column, and error and standard error [L, S]."""
    learners = list(dict.fromkeys(columns["learner"].tolist()))
    x, j = np.unique(columns[along], return_inverse=True)
    i = np.array([learners.index(learner) for learner in columns["learner"].tolist()])
    error, se = np.full((2, len(learners), len(x)), np.nan)
    error[i, j], se[i, j] = columns["error"], columns["error_se"]
    return learners, x, error, se


def _words(evaluation: Any, learners: np.ndarray) -> dict[str, Any]:
    """What an evaluation calls things."""
    baselines = [name for name in dict.fromkeys(learners.tolist()) if name not in evaluation.own_learners]
    return {"baselines": baselines, "metric": evaluation.metric, "noun": evaluation.task_noun}


def _floats(values: Any) -> np.ndarray | None:
    return None if values is None else np.asarray(values, float)
