"""Is what is promised kept: probabilities of classes, and intervals of numbers, against what came true on unseen tasks."""

from typing import Any

import numpy as np

from upstairs.displays.style import SMALL, Display, End, colours_of, label_ends, percent, ramp, shots_axis
from upstairs.displays.tables import read_columns
from upstairs.errors import UpstairsError

__all__ = ["CalibrationDisplay", "CoverageDisplay"]

DOT = 60
"""Area of the largest dot, in square points."""


class CalibrationDisplay(Display):
    """How often a class came true, against its predicted probability: a line for each number of rows seen.

    Parameters
    ----------
    shots : array-like [S]
        Rows seen of each unseen task, ascending.
    predicted, observed : array-like [S, B]
        Mean probability in each of B bins, and the share of rows that came true; NaN where a bin is empty.
    n_rows : array-like [S, B], optional
        Rows in each bin: the area of its dot.
    learner : str, optional
    noun : str, default="task"
        What a task is.
    """

    size = (4.8, 4.8)

    def __init__(self, shots, predicted, observed, n_rows=None, *, learner=None, noun="task"):
        self.shots, self.learner, self.noun = np.asarray(shots), learner, noun
        self.predicted, self.observed = np.asarray(predicted, float), np.asarray(observed, float)
        self.n_rows = None if n_rows is None else np.asarray(n_rows, float)

    @classmethod
    def from_evaluation(cls, evaluation, *, learner=None):
        """From the calibration of an evaluation of classifiers.

        Parameters
        ----------
        evaluation : Evaluation
            Of its table ``calibration`` the columns learner, shots, predicted, observed and n_rows are read.
        learner : str, optional
            By default the first.
        """
        names = ["learner", "shots", "predicted", "observed", "n_rows"]
        learner, shots, (predicted, observed, n_rows) = _by_shots(evaluation, names, learner)
        return cls(shots, predicted, observed, n_rows, learner=learner, noun=evaluation.task_noun)

    @property
    def title(self):
        return _title("Probabilities", self)

    def _draw(self, ax, ink):
        _draw_diagonal(ax, ink)
        for x, y, colour, name in zip(self.predicted, self.observed, ramp(len(self.shots)), _names(self.shots), strict=True):
            ax.plot(x, y, color=colour, linewidth=1.8, alpha=0.6, label=name)
        if self.n_rows is not None:
            for x, y, n, colour in zip(self.predicted, self.observed, self.n_rows, ramp(len(self.shots)), strict=True):
                ax.scatter(x, y, s=DOT * n / np.nanmax(self.n_rows), color=colour)
        ax.set(xlabel="predicted probability", ylabel="share that came true")
        _legend(ax, ink)


class CoverageDisplay(Display):
    """How often intervals held the truth, by the number of rows seen: a line for each promised coverage, which is dashed.

    Parameters
    ----------
    shots : array-like [S]
        Rows seen of each unseen task, ascending.
    nominal : array-like [N]
        Promised coverages.
    observed : array-like [S, N]
        Share of rows inside the interval.
    observed_se : array-like [S, N], optional
        Standard errors: bands of ± 1.
    learner : str, optional
    noun : str, default="task"
        What a task is.
    """

    def __init__(self, shots, nominal, observed, observed_se=None, *, learner=None, noun="task"):
        self.shots, self.learner, self.noun = np.asarray(shots), learner, noun
        self.nominal, self.observed = np.asarray(nominal, float), np.asarray(observed, float)
        self.observed_se = None if observed_se is None else np.asarray(observed_se, float)

    @classmethod
    def from_evaluation(cls, evaluation, *, learner=None):
        """From the calibration of an evaluation of regressors.

        Parameters
        ----------
        evaluation : Evaluation
            Of its table ``calibration`` the columns learner, shots, nominal, observed and observed_se are read.
        learner : str, optional
            By default the first.
        """
        names = ["learner", "shots", "nominal", "observed", "observed_se"]
        learner, shots, (nominal, observed, se) = _by_shots(evaluation, names, learner)
        return cls(shots, nominal[0], observed, se, learner=learner, noun=evaluation.task_noun)

    @property
    def title(self):
        return _title("Intervals", self)

    def _draw(self, ax, ink):
        shots_axis(ax, self.shots, self.noun)
        ends = []
        for j, colour in enumerate(colours_of([False] * len(self.nominal))):
            y = self.observed[:, j]
            ax.axhline(self.nominal[j], color=colour, linewidth=1, linestyle=(0, (4, 3)))
            ax.plot(self.shots, y, color=colour, linewidth=2, marker="o", markersize=4)
            if self.observed_se is not None:
                se = self.observed_se[:, j]
                ax.fill_between(self.shots, y - se, y + se, color=colour, alpha=0.2, linewidth=0)
            ends.append(End(self.shots[-1], y[-1], f"{100 * self.nominal[j]:g} % intervals", colour))
        percent(ax.yaxis)
        ax.set_ylabel("share of rows inside (dashed: promised)")
        label_ends(ax, ends, ink)


def _by_shots(evaluation: Any, names: list[str], learner: str | None) -> tuple[str, np.ndarray, list[np.ndarray]]:
    """The learner, its S numbers of shots, and the last three columns as [S, B], padded with NaN."""
    columns = read_columns(evaluation.calibration, names)
    there = list(dict.fromkeys(columns["learner"].tolist()))
    learner = there[0] if learner is None else learner
    if learner not in there:
        raise UpstairsError(f"learner={learner!r} was not evaluated; there are {', '.join(there)}.")
    mine = columns["learner"] == learner
    shots, row = np.unique(columns["shots"][mine], return_inverse=True)
    place = np.array([np.sum(row[:i] == s) for i, s in enumerate(row)])
    blocks = []
    for name in names[2:]:
        block = np.full((len(shots), place.max() + 1), np.nan)
        block[row, place] = columns[name][mine]
        blocks.append(block)
    order = np.argsort(blocks[0], axis=1)
    return learner, shots, [np.take_along_axis(block, order, axis=1) for block in blocks]


def _draw_diagonal(ax: Any, ink: str) -> None:
    ax.plot([0, 1], [0, 1], color=ink, alpha=0.5, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    ax.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    percent(ax.xaxis)
    percent(ax.yaxis)


def _legend(ax: Any, ink: str) -> None:
    ax.legend(title="rows seen", loc="lower right", frameon=False, labelcolor=ink, fontsize=SMALL, title_fontsize=SMALL)
    ax.get_legend().get_title().set_color(ink)


def _names(shots: np.ndarray) -> list[str]:
    return [str(s) for s in shots.tolist()]


def _title(what: str, display: Any) -> str:
    return f"{what} for an unseen {display.noun}" + (f": {display.learner}" if display.learner else "")
