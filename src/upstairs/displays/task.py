"""One task: its support, its query, what was predicted of it before and after the support was seen."""

from typing import Any

import numpy as np

from upstairs.displays.style import COLOURS, GREY, Display, End, label_ends, percent
from upstairs.displays.tables import ask, class_code, find_feature, make_grid, read_feature
from upstairs.errors import UpstairsError
from upstairs.frames import row_count
from upstairs.table import read_target

__all__ = ["TaskPredictionDisplay"]

MOST_POINTS, FEWEST_POINTS, NEIGHBOURS = 60, 10, 6
"""Of a curve, and rows that are averaged in one of them."""
ADAPTED, BAND, OPACITY = COLOURS[0], COLOURS[5], 0.3
OFFSET, WIDTH = 0.18, 0.12
"""Of what stands beside a category, in distances of categories."""
LEAST_WIDTH = 5.0
"""Inches of a figure whose legend fits into one line."""


class TaskPredictionDisplay(Display):
    """A task's rows along one feature, and the predictions before and after its support was seen.

    Parameters
    ----------
    feature, target : str
        Names of the axes.
    x : ndarray [G]
        Where the curves are: numbers or dates, ascending, or text.
    shared, adapted : array-like [G]
        Zero-shot and adapted predictions; of classes, probabilities of one.
    lower, upper : array-like [G], optional
        Ends of the interval of the adapted prediction.
    x_support, y_support : array-like [s]
    x_query, y_query : array-like [n], optional
        Query rows whose target is known; of classes, 1 for the class and 0 for others.
    coverage : float, optional
        Of the interval.
    label : str, optional
        The class that probabilities are of.
    """

    title_pad = 26

    def __init__(
        self, feature, target, x, shared, adapted, lower=None, upper=None, *, x_support=(), y_support=(), x_query=(),
        y_query=(), coverage=None, label=None,
    ):  # fmt: skip
        self.feature, self.target, self.coverage, self.label = feature, target, coverage, label
        self.x, self.shared, self.adapted = np.asarray(x), np.asarray(shared, float), np.asarray(adapted, float)
        self.lower, self.upper = (None if end is None else np.asarray(end, float) for end in (lower, upper))
        self.x_support, self.y_support = np.asarray(x_support), np.asarray(y_support, float)
        self.x_query, self.y_query = np.asarray(x_query), np.asarray(y_query, float)

    @classmethod
    def from_estimator(
        cls, meta, X_support, y_support, X_query, y_query=None, *, feature=None, coverage=0.9, target=None, label=None
    ):
        """Adapt a fitted meta-model to the support, and predict the query rows before and after.

        The curves are the predictions of the query rows themselves, along the feature: rows that share a value of it are
        averaged, or six neighbours where there are many values (of dates: where there are more than 60), and so are the ends of
        their intervals. Where the feature is the only column the curves span the task, at 60 values.

        Parameters
        ----------
        meta : fitted meta-model
        X_support, y_support : table of s rows, array-like [s]
        X_query : table of n rows of the same task
        y_query : array-like [n], optional
            Their target, drawn if it is known.
        feature : str or int, optional
            The column along which to draw: numbers, dates or text. By default the first of numbers or dates.
        coverage : float, default=0.9
            Of the interval; classes have none.
        target : str, optional
            What the target is called; by default the name of ``y_support``, or that which the model was saved with.
        label : optional
            The class whose probability is drawn; by default the last.

        Raises
        ------
        UpstairsError
            Where the feature is no column of the model or always missing, or the label none of its classes.
        """
        code, feature = class_code(meta, label), find_feature(meta.columns_, feature)
        model = meta.adapt(X_support, y_support)
        kind, x = read_feature(meta.columns_, X_query, feature)
        _, x_support = read_feature(meta.columns_, X_support, feature)
        if not (x == x).any():
            raise UpstairsError(f"Column {feature!r} has no value in any query row; name another as feature.")
        rows, alone = X_query, kind == "number" and len(meta.columns_.names) == 1
        if alone:
            both = np.concatenate([x, x_support])
            x = np.linspace(np.nanmin(both), np.nanmax(both), MOST_POINTS)
            rows = _one_column(meta.columns_, x)
        values = [ask(meta, rows, code), ask(model, rows, code)]
        if code is None:
            values += list(np.asarray(model.predict_interval(rows, coverage), float).T)
        if not alone:
            x, values = _along(kind, x, values)
        known = y_query is not None
        return cls(
            feature, target or _name_of(meta, y_support), x, *values,
            x_support=x_support, y_support=_numbers(meta, y_support, X_support, code),
            x_query=read_feature(meta.columns_, X_query, feature)[1] if known else (),
            y_query=_numbers(meta, y_query, X_query, code) if known else (),
            coverage=None if code is not None else coverage, label=None if code is None else str(meta.classes_[code]),
        )  # fmt: skip

    @property
    def title(self):
        rows = "row" if len(self.y_support) == 1 else "rows"
        return f"One task before and after {len(self.y_support)} of its {rows}"

    @property
    def _interval(self):
        return "interval" if self.coverage is None else f"{100 * self.coverage:g} % interval"

    def _draw(self, ax, ink):
        (self._draw_levels if self.x.dtype.kind in "OU" else self._draw_curves)(ax, ink)
        ax.set_xlabel(self.feature)
        ax.set_ylabel(self.target if self.label is None else f"probability that {self.target} is {self.label}")
        if self.label is not None:
            percent(ax.yaxis)

    def _draw_curves(self, ax, ink):
        if self.lower is not None:
            ax.fill_between(self.x, self.lower, self.upper, color=BAND, alpha=OPACITY, linewidth=0, label=self._interval)
        self._draw_rows(ax, ink, self.x_query, self.x_support)
        ax.plot(self.x, self.shared, color=GREY, linewidth=1.8, linestyle=(0, (5, 2)), zorder=3)
        ax.plot(self.x, self.adapted, color=ADAPTED, linewidth=2.2, zorder=4)
        ax.margins(x=0.02)
        ends = [End(self.x[-1], self.shared[-1], "before", GREY), End(self.x[-1], self.adapted[-1], "after", ADAPTED)]
        label_ends(ax, ends, ink)
        self._legend(ax, ink)

    def _draw_levels(self, ax, ink):
        place = {level: i for i, level in enumerate(self.x.tolist())}
        at = np.arange(len(place))
        if self.lower is not None:
            ax.vlines(at + OFFSET, self.lower, self.upper, color=BAND, alpha=2 * OPACITY, linewidth=6, label=self._interval)
        x_query, x_support = (
            np.array([place.get(level, np.nan) for level in x.tolist()], float) - OFFSET + _scatter(len(x))
            for x in (self.x_query, self.x_support)
        )
        self._draw_rows(ax, ink, x_query, x_support)
        ax.plot(at + OFFSET, self.shared, color=GREY, linestyle="", marker="D", markersize=6, zorder=3, label="before")
        ax.plot(at + OFFSET, self.adapted, color=ADAPTED, linestyle="", marker="o", markersize=8, zorder=4, label="after")
        ax.set_xticks(at, self.x.tolist())
        ax.set_xlim(-0.5, len(at) - 0.5)
        self._legend(ax, ink)

    def _draw_rows(self, ax, ink, x_query, x_support):
        if len(x_query):
            ax.plot(
                x_query, self.y_query, color=GREY, linestyle="", marker="o", markersize=4, markerfacecolor="none",
                zorder=2, label="other rows",
            )  # fmt: skip
        ax.plot(x_support, self.y_support, color=ink, linestyle="", marker="o", markersize=6, zorder=5, label="learned from")

    def _legend(self, ax, ink):
        handles, names = ax.get_legend_handles_labels()
        n_columns = len(names) if ax.figure.get_figwidth() >= LEAST_WIDTH else 2
        ax.legend(
            handles, names, loc="lower left", bbox_to_anchor=(-0.01, 1), ncols=n_columns, frameon=False, labelcolor=ink,
            fontsize=9, handletextpad=0.4, columnspacing=1.2, borderaxespad=0,
        )  # fmt: skip


def _along(kind: str, x: np.ndarray, values: list[np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
    """Points [G] of the curves: values averaged over rows at the same point, or over neighbours."""
    if kind == "category":
        grid = make_grid(kind, x)
        return grid.values, [np.array([one[x == level].mean() for level in grid.values]) for one in values]
    there = np.flatnonzero(x == x)
    order = there[np.argsort(x[there], kind="stable")]
    distinct, bin_of = np.unique(x[order], return_inverse=True)
    most = MOST_POINTS if kind == "date" else int(np.clip(len(order) // NEIGHBOURS, FEWEST_POINTS, MOST_POINTS))
    if len(distinct) > most:
        bin_of = np.arange(len(order)) * most // len(order)
    counts = np.bincount(bin_of)
    first, unit = x[order[0]], np.timedelta64(1, "us") if kind == "date" else 1.0
    at = np.bincount(bin_of, (x[order] - first) / unit) / counts
    means = [np.bincount(bin_of, one[order]) / counts for one in values]
    return first + (at.astype("m8[us]") if kind == "date" else at), means


def _one_column(columns: Any, x: np.ndarray) -> Any:
    import pyarrow as pa

    return pa.table({columns.names[0]: x}) if columns.named else x[:, None]


def _numbers(meta: Any, y: Any, X: Any, code: int | None) -> np.ndarray:
    """A target as it is drawn: numbers, or 1 where it is the class."""
    values = read_target(y, row_count(X))
    return values.astype(float) if code is None else (values == meta.classes_[code]).astype(float)


def _name_of(meta: Any, y: Any) -> str:
    name = getattr(y, "name", None)
    return name if isinstance(name, str) and name else getattr(getattr(meta, "names_", None), "target", None) or "y"


def _scatter(n: int) -> np.ndarray:
    """Offsets [n] that keep dots of a category apart, the same in every picture."""
    return WIDTH * (2 * (np.arange(n) * 0.618034 % 1) - 1)
