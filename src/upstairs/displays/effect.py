"""What a column does to predictions: in all tasks together, and in some tasks of their own."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from upstairs.displays.style import COLOURS, GREY, Display, End, label_ends, percent
from upstairs.displays.tables import Grid, ask, class_code, find_feature, make_grid, over_grid, read_feature
from upstairs.frames import row_count, take_rows

__all__ = ["EffectDisplay"]

MOST_ROWS, MOST_GRID_ROWS, MOST_TASKS = 100, 10_000, 12


class EffectDisplay(Display):
    """The shared effect of a feature, with the effects that some tasks have behind it.

    Parameters
    ----------
    feature, target : str
        Names of the axes.
    x : ndarray [G]
        Numbers or dates, ascending, or text.
    shared : array-like [G]
        Mean zero-shot prediction; of classes, the probability of one.
    tasks : array-like [K, G], optional
        The same, adapted to K tasks.
    names : sequence of K, optional
        Names of the tasks.
    label : str, optional
        The class that probabilities are of.
    """

    def __init__(self, feature, target, x, shared, tasks=None, *, names=None, label=None):
        self.feature, self.target, self.label = feature, target, label
        self.x, self.shared = np.asarray(x), np.asarray(shared, float)
        self.tasks = np.empty((0, len(self.x))) if tasks is None else np.asarray(tasks, float)
        self.names = None if names is None else list(names)

    @classmethod
    def from_estimator(cls, meta, X, feature=None, *, models=None, target=None, label=None, random_state=0):
        """Partial dependence (Friedman 2001, section 8.2): predictions averaged over rows whose feature is set to a value.

        Parameters
        ----------
        meta : fitted meta-model
        X : table of n rows
            100 of them, drawn at random, are averaged over, and up to 10,000 give the values of the feature.
        feature : str or int, optional
            A column of numbers, dates or text. By default the first of numbers or dates.
        models : Mapping from task to adapted model, optional
            Whose effects to draw, at most the first 12 of them, as `adapt_tasks` gives them; by default 12 known tasks at
            random.
        target : str, optional
            What the target is called.
        label : optional
            The class whose probability is drawn; by default the last.
        random_state : int, default=0

        References
        ----------
        Friedman (2001), Greedy function approximation: a gradient boosting machine, Annals of Statistics 29.
        """
        check_is_fitted(meta)
        code, feature = class_code(meta, label), find_feature(meta.columns_, feature)
        rng = np.random.default_rng(random_state)
        X = np.asarray(X) if isinstance(X, list | tuple) else X
        X = take_rows(X, rng.permutation(row_count(X))[:MOST_GRID_ROWS])
        grid = make_grid(*read_feature(meta.columns_, X, feature))
        table = over_grid(meta.columns_, X, feature, np.arange(min(row_count(X), MOST_ROWS)), grid)
        names = _some(meta.known_.ids if models is None else list(models), models is None, rng)
        tasks = [_mean(_ask_task(meta, models, name, table, code), grid) for name in names]
        return cls(
            feature, target or getattr(getattr(meta, "names_", None), "target", None) or "y", grid.values,
            _mean(ask(meta, table, code), grid), np.reshape(tasks, (len(names), len(grid.values))), names=names,
            label=None if code is None else str(meta.classes_[code]),
        )  # fmt: skip

    @property
    def title(self):
        own = f" and in {len(self.tasks)} of them" if len(self.tasks) else ""
        return f"Effect of {self.feature}, shared by all tasks{own}"

    def _draw(self, ax, ink):
        text = self.x.dtype.kind in "OU"
        x = np.arange(len(self.x)) if text else self.x
        style = {"marker": "o", "linestyle": ""} if text else {}
        for i, one in enumerate(self.tasks):
            aside = _beside(i, len(self.tasks)) if text else 0
            ax.plot(x + aside, one, color=GREY, linewidth=0.9, markersize=3.5, alpha=0.7, **style)
        ax.plot(x, self.shared, color=COLOURS[0], linewidth=2.6, markersize=9, zorder=4, **style)
        if text:
            ax.set_xticks(x, self.x.tolist())
            ax.set_xlim(-0.5, len(x) - 0.5)
        else:
            label_ends(ax, [End(x[-1], self.shared[-1], "shared", COLOURS[0])], ink)
        if self.label is not None:
            percent(ax.yaxis)
        ax.set_xlabel(self.feature)
        ax.set_ylabel(f"predicted {self.target}" if self.label is None else f"probability that {self.target} is {self.label}")


def _some(names: Any, draw: bool, rng: np.random.Generator) -> list:
    chosen = np.sort(rng.permutation(len(names))[:MOST_TASKS]) if draw else range(min(len(names), MOST_TASKS))
    return [names[i] for i in chosen]


def _ask_task(meta: Any, models: Mapping | None, name: Any, table: Any, code: int | None) -> np.ndarray:
    if models is None:
        return ask(meta, table, code, groups=np.full(row_count(table), name, dtype=meta.known_.ids.dtype))
    return ask(models[name], table, code)


def _mean(values: np.ndarray, grid: Grid) -> np.ndarray:
    """Mean [G] of predictions that are sorted by the grid's values."""
    return values.reshape(len(grid.values), -1).mean(axis=1)


def _beside(i: int, n: int) -> float:
    """Where the i-th of n dots lies beside its category."""
    return 0.5 * ((i + 0.5) / n - 0.5)
