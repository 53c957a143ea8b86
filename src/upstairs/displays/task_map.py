"""Tasks in two dimensions: which are alike, and which are odd."""

from typing import Any

import numpy as np
import pyarrow as pa
from sklearn.utils.validation import check_is_fitted

from upstairs.decoding import decode
from upstairs.displays.style import COLOURS, FAINT, SMALL, Display, ramp
from upstairs.displays.tables import MISSING, check_name
from upstairs.errors import UpstairsError
from upstairs.neighbours import map_tasks
from upstairs.target import log_scale
from upstairs.tasks import Tasks

__all__ = ["TaskMapDisplay"]

MOST_TASKS = 2000
HOUR = 3.6e9
"""In microseconds."""


class TaskMapDisplay(Display):
    """Tasks as points; near to each other where they are alike.

    Parameters
    ----------
    positions : array-like [T, 2]
    names : sequence of T
        Names of the tasks; those of the oddest are shown.
    values : array-like [T], optional
        Numbers or text to colour the points by.
    value_name : str, optional
        What they are.
    oddness : array-like [T], optional
        By default the distance from the mean, in standard deviations of each direction.
    shares : (float, float), optional
        Share of the variance in each direction.
    n_labels : int, default=6
        Names to show.
    """

    size = (6.0, 5.0)

    def __init__(self, positions, names, values=None, *, value_name=None, oddness=None, shares=None, n_labels=6):
        self.positions, self.names = np.asarray(positions, float).reshape(len(names), 2), list(names)
        self.values, self.value_name = None if values is None else np.asarray(values), value_name
        self.shares, self.n_labels = shares, n_labels
        self.oddness = _distance(self.positions) if oddness is None else np.asarray(oddness, float)

    @classmethod
    def from_estimator(cls, meta, values=None, *, value_name=None, n_labels=6, random_state=0):
        """The known tasks of a fitted meta-model, as `task_map` lays them out.

        For each task the model that is adapted to its rows (by the fold that never saw it) predicts the same 64 rows, and the
        zero-shot prediction of that fold is taken off. Positions are the first two principal components (`neighbours`).

        Parameters
        ----------
        meta : fitted meta-model
            At most 2,000 of its tasks, drawn at random, are shown.
        values : array-like [T] or str, optional
            Numbers or text to colour by, in the order of ``meta.known_.ids``; or the name of a column of X: numbers, dates and
            times by their mean, text by its most frequent value. By default the mean target of each task, or the share of the
            last class.
        value_name : str, optional
        n_labels : int, default=6
        random_state : int, default=0

        Raises
        ------
        UpstairsError
            Where fewer than three tasks are known, or ``values`` don't fit them.
        """
        check_is_fitted(meta)
        if meta.known_.n_tasks < 3:
            raise UpstairsError(f"A map takes at least three known tasks, but this model knows {meta.known_.n_tasks}.")
        values, value_name = _values_of(meta, values, value_name)
        which, positions, shares = map_tasks(meta, MOST_TASKS, random_state)
        if not positions.any():
            raise UpstairsError(f"This {type(meta).__name__} predicts all tasks alike, so there is no map of them.")
        names = meta.known_.ids[which].tolist()
        return cls(positions, names, values[which], value_name=value_name, shares=shares, n_labels=n_labels)

    @property
    def title(self):
        return f"{len(self.names):,} tasks by what is their own"

    def _draw(self, ax, ink):
        x, y = self.positions.T
        ax.grid(visible=False)
        ax.spines["bottom"].set_visible(False)
        for line in (ax.axhline, ax.axvline):
            line(0, color=ink, alpha=FAINT, linewidth=0.8, zorder=0)  # the average task is where they cross
        if self.values is None:
            ax.scatter(x, y, s=30, color=COLOURS[0], alpha=0.8, linewidth=0)
        elif self.values.dtype.kind in "biufM":
            _draw_numbers(ax, x, y, self.values, self.value_name, ink)
        else:
            _draw_text(ax, x, y, self.values, self.value_name, ink)
        for t in np.argsort(-self.oddness, kind="stable")[: self.n_labels]:
            ax.annotate(
                str(self.names[t]), (x[t], y[t]), (5, 4), textcoords="offset points", color=ink, fontsize=SMALL
            )  # fmt: skip
        shares = ["", ""] if self.shares is None else [f" ({100 * share:.0f} % of the differences)" for share in self.shares]
        ax.set(xlabel=f"first direction{shares[0]}", ylabel=f"second direction{shares[1]}", xticks=[], yticks=[])
        ax.margins(0.08)


def _draw_numbers(ax: Any, x: np.ndarray, y: np.ndarray, values: np.ndarray, name: str | None, ink: str) -> None:
    dates = values.dtype.kind == "M"
    numbers = values.astype("M8[D]").astype(float) if dates else values.astype(float)
    there = numbers[numbers == numbers]
    norm = "log" if not dates and len(there) and there.min() > 0 and log_scale(there) is not None else "linear"
    from matplotlib.colors import ListedColormap
    from matplotlib.ticker import FuncFormatter

    points = ax.scatter(x, y, s=30, c=numbers, cmap=ListedColormap(ramp(256)), norm=norm, linewidth=0)
    bar = ax.figure.colorbar(points, ax=ax, shrink=0.6, aspect=25, pad=0.02)
    bar.formatter = FuncFormatter(lambda value, _: str(np.datetime64(int(value), "D")) if dates else f"{value:,g}")
    bar.outline.set_visible(False)
    bar.ax.tick_params(colors=ink, labelsize=SMALL)
    bar.set_label(name or "", color=ink, size=SMALL)


def _draw_text(ax: Any, x: np.ndarray, y: np.ndarray, values: np.ndarray, name: str | None, ink: str) -> None:
    text = values.astype(str)
    levels, count = np.unique(text, return_counts=True)
    often = levels[np.argsort(-count, kind="stable")][: len(COLOURS)]
    for level, colour in zip(often, COLOURS, strict=False):
        mine = text == level
        ax.scatter(x[mine], y[mine], s=30, color=colour, linewidth=0, label=level)
    rest = ~np.isin(text, often)
    if rest.any():
        ax.scatter(x[rest], y[rest], s=30, color=ink, alpha=0.3, linewidth=0, label="others")
    ax.legend(title=name, frameon=False, labelcolor=ink, fontsize=SMALL, loc="upper left", bbox_to_anchor=(1, 1))
    ax.get_legend().get_title().set(color=ink, size=SMALL)


def _values_of(meta: Any, values: Any, name: str | None) -> tuple[np.ndarray, str | None]:
    """What to colour known tasks by [T], and its name."""
    known = meta.known_
    if values is None:
        target = getattr(getattr(meta, "names_", None), "target", None) or "y"
        classes = getattr(meta, "classes_", None)
        y = known.y if classes is None else known.y == len(classes) - 1
        what = f"mean {target}" if classes is None else f"share of {target} = {classes[-1]}"
        return _mean_by_task(known, y.astype(float)), name or what
    if isinstance(values, str):
        shown = _column_by_task(meta, values)
        return shown, name or (values if shown.dtype.kind in "OU" else f"mean {values}")
    values = np.asarray(values)
    if values.shape != (known.n_tasks,):
        raise UpstairsError(
            f"values has the shape {values.shape}, but the model knows {known.n_tasks} tasks; give one for each."
        )
    return values, name


def _column_by_task(meta: Any, name: str) -> np.ndarray:
    """The mean [T] of a column of numbers or dates, of times and durations in hours; the most frequent value of text."""
    check_name(meta.columns_, "values", name)
    known = meta.known_
    column = decode(meta.columns_, known.X).column(name).combine_chunks()
    if pa.types.is_dictionary(column.type):
        levels, code = np.unique([value or MISSING for value in column.to_pylist()], return_inverse=True)
        count = np.bincount(known.task_of_row * len(levels) + code, minlength=known.n_tasks * len(levels))
        return levels[count.reshape(known.n_tasks, len(levels)).argmax(axis=1)]
    if not pa.types.is_temporal(column.type):
        return _mean_by_task(known, column.to_numpy(zero_copy_only=False))
    dates = pa.types.is_date(column.type) or pa.types.is_timestamp(column.type)
    moments = column.cast(pa.timestamp("us")) if dates else column
    hours = _mean_by_task(known, moments.cast(pa.int64()).to_numpy(zero_copy_only=False) / HOUR)
    return (hours / 24).astype("M8[D]") if dates else hours


def _mean_by_task(known: Tasks, values: np.ndarray) -> np.ndarray:
    there = values == values
    total = np.bincount(known.task_of_row[there], values[there], minlength=known.n_tasks)
    with np.errstate(invalid="ignore"):
        return total / np.bincount(known.task_of_row[there], minlength=known.n_tasks)


def _distance(positions: np.ndarray) -> np.ndarray:
    sd = positions.std(axis=0)
    return np.sqrt((((positions - positions.mean(axis=0)) / np.where(sd > 0, sd, 1)) ** 2).sum(axis=1))
