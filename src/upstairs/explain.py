"""The borrowing receipt: why a prediction is what it is, as a table, in sentences and in a notebook.

An explanation is a sum (`prediction.Explanation`): what the meta-model says of any row, the shared effect of each column, and
what the task's own support rows add to it. Here it is put into the units of the target, and beside it stands how much of it
is the task's own rows' word and how much is borrowed from other tasks (`borrowing`). All of this describes the model; what
would become of a task if a column were changed, it doesn't say.
"""

import functools
from typing import Any, NamedTuple

import numpy as np

from upstairs.adaptation import Adaptation, explain
from upstairs.borrowing import borrowed_share, moved_by_rows, with_more_rows
from upstairs.cards import Card
from upstairs.errors import UpstairsError
from upstairs.frames import answer
from upstairs.prediction import Explanation
from upstairs.tasks import Tasks
from upstairs.wording import after, percent, rows_in_words

__all__ = ["Receipt", "write_receipts"]

MORE = 5
MOST_LEFT_OUT = 100
"""Support rows up to which it is told which of them moved a prediction most."""
LEAST_TOLD = 0.005
"""Of the whole prediction less its base: smaller parts aren't worth a word."""


class Question(NamedTuple):
    """What a receipt answers: the rows X, also as numbers Z [n, p], after a support of one task; of class number ``label``."""

    meta: Any
    support: Tasks
    X: Any
    Z: np.ndarray
    label: int


class Receipt(Explanation):
    """An `Explanation` of n predictions that can be read.

    Its arrays are on the learner's own scale. `to_table` and `sentences` speak in the units of the target: y; log y, where
    the model of log y is the one that intervals come from; or the logit of a class.

    Attributes
    ----------
    names : tuple of str [p]
        The columns as the learner sees them.
    unit : str
        ``"y"``, ``"log y"``, ``"log(y + 1)"`` with the shift that zeros need, or ``"logit"``.
    borrowed : float64 [n]
        Share of the weight of each prediction that is borrowed from other tasks (see `upstairs.borrowing`).

    Examples
    --------
    >>> from upstairs.baselines.shrunk_mean import ShrunkMeanRegressor
    >>> from upstairs.datasets import make_random_slopes
    >>> X, y, task, _ = make_random_slopes(n_tasks=40, random_state=0)
    >>> meta = ShrunkMeanRegressor(random_state=0).fit(X[200:], y[200:], groups=task[200:])
    >>> receipt = meta.adapt(X[:3], y[:3]).explain(X[3:5])
    >>> bool(0 < receipt.borrowed[0] < 1)
    True
    """

    question: Question

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(feature.name for feature in self.question.meta.columns_.features)

    @property
    def unit(self) -> str:
        scale = self.question.meta.state_.scale
        if scale is None:
            return "logit"
        if not scale.log:
            return "y"
        return f"log(y + {scale.shift:g})" if scale.shift else "log y"

    @functools.cached_property
    def borrowed(self) -> np.ndarray:
        return borrowed_share(self.question.meta, self.question.support, self.question.Z, self.question.label)

    def borrowed_after(self, n_more: int = MORE) -> np.ndarray:
        """The borrowed share [n] if the task had ``n_more`` more rows, their columns drawn from known tasks."""
        if n_more < 1:
            raise UpstairsError(f"n_more must be 1 or more rows, but is {n_more}.")
        return with_more_rows(self.question.meta, self.question.support, self.question.Z, n_more, self.question.label)

    def to_table(self) -> Any:
        """One row for each prediction, in the kind of table that was explained; an ndarray for an ndarray.

        Returns
        -------
        table : [n, 2 p + 6]
            ``base``; ``shared: <column>`` for each column; ``level``, ``scale``, ``own: <column>`` and ``local``, the task's
            own; ``total``, their sum; ``borrowed``, a share. All but the last are in `unit`.
        """
        base, parts = self._in_units()
        columns = np.column_stack([base, *parts.values(), base + sum(part.sum(axis=1) for part in parts.values())])
        headings = ["base", *(f"shared: {name}" for name in self.names), "level", "scale"]
        headings += [*(f"own: {name}" for name in self.names), "local", "total", "borrowed"]
        return answer(self.question.X, np.column_stack([columns, self.borrowed]), headings)

    def sentences(self, n_more: int = MORE) -> list[str]:
        """The receipt in words, as a mean over its rows."""
        base, parts = self._in_units()
        mean = {name: part.mean(axis=0) for name, part in parts.items()}
        own = sum(mean[name].sum() for name in ("level", "scale", "own", "local"))
        s, n = len(self.question.support.y), len(self.base)
        what = "The prediction is" if n == 1 else f"On average over {n} rows the prediction is"
        unit = "" if self.unit == "y" else f", in {self._unit_name()}"
        lines = [
            f"{what} {_number(base.mean() + mean['shared'].sum() + own)}{unit}: {_number(base.mean())} for any row, "
            f"{_signed(mean['shared'].sum())} for its columns{self._most(mean)} and {_signed(own)} "
            f"from {rows_in_words(s)} of this task{self._own(mean)}."
        ]
        lines.append(self._borrowing(s, n_more))
        if 1 < s <= MOST_LEFT_OUT:
            lines.append(self._moving())
        if not self.exact:
            lines.append("How it divides between columns or rows is an approximation; the sum is exact.")
        return lines

    def __repr__(self) -> str:
        return self._card().text()

    def _repr_html_(self) -> str:
        return self._card().html()

    def _card(self) -> Card:
        n, s = len(self.base), len(self.question.support.y)
        return Card(f"Receipt of {n} {'prediction' if n == 1 else 'predictions'} {after(s)}", sentences=self.sentences())

    def _in_units(self) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Base [n] and the other parts [n, ...], in the units of the target."""
        scale, size = self.question.meta.state_.scale, self._size()
        base = self.base * size + (0.0 if scale is None else scale.mean)
        parts = {"shared": self.shared, "level": self.level[:, None], "scale": self.scale[:, None]}
        parts |= {"own": self.slopes, "local": self.local[:, None]}
        return base, {name: part * size for name, part in parts.items()}

    def _size(self) -> float:
        scale = self.question.meta.state_.scale
        return 1.0 if scale is None else scale.sd

    def _unit_name(self) -> str:
        if self.unit != "logit":
            return self.unit
        return f"logits of {self.question.meta.classes_.tolist()[self.question.label]!r}"

    def _most(self, mean: dict[str, np.ndarray]) -> str:
        """The columns with the largest shared effects, in brackets."""
        effects = mean["shared"]
        first = [j for j in np.argsort(-np.abs(effects), kind="stable")[:3] if abs(effects[j]) > _least(mean)]
        return f" ({', '.join(f'{self.names[j]} {_signed(effects[j])}' for j in first)})" if first else ""

    def _own(self, mean: dict[str, np.ndarray]) -> str:
        """The kinds of the task's own effects, in brackets."""
        named = {"level": "level", "scale": "strength of the shared effects", "own": "slopes", "local": "rows nearby"}
        told = [f"{words} {_signed(mean[name].sum())}" for name, words in named.items() if abs(mean[name].sum()) > _least(mean)]
        return f" ({', '.join(told)})" if len(told) > 1 else ""

    def _moving(self) -> str:
        moved = moved_by_rows(self.question.meta, self.question.support, self.question.Z, self.question.label).mean(axis=0)
        row = int(np.abs(moved).argmax())
        what = "the probability" if self.unit == "logit" else "it"
        return f"Row {row} of the support (counted from 0) moved {what} most: by {_signed(moved[row] * self._size())}."

    def _borrowing(self, s: int, n_more: int) -> str:
        later = f"with {n_more} {'more ' if s else ''}{'row' if n_more == 1 else 'rows'}"
        share, after = self.borrowed.mean(), self.borrowed_after(n_more).mean()
        if s == 0:
            return f"No row of this task was seen: all is borrowed from other tasks; {later} about {percent(after)} would be."
        return (
            f"{percent(share)} of it is borrowed from other tasks, {percent(1 - share)} is the word of this task's own rows; "
            f"{later} about {percent(after)} would be borrowed."
        )


def write_receipts(meta: Any, adaptation: Adaptation, X: Any) -> Receipt | dict[Any, Receipt]:
    """Receipts of the rows of a table for the first task of an adaptation; for more than two classes, one for each class."""
    Z, support = meta.columns_.encode(X), adaptation.support.between(0, 1)
    if not len(Z):
        raise UpstairsError("X has no rows, so there is nothing to explain; give at least one.")
    explained = explain(meta, adaptation, Z)
    if not isinstance(explained, dict):
        return _receipt(explained, Question(meta, support, X, Z, 1))
    return {name: _receipt(one, Question(meta, support, X, Z, c)) for c, (name, one) in enumerate(explained.items())}


def _receipt(parts: Explanation, question: Question) -> Receipt:
    receipt = Receipt(*parts)
    receipt.question = question
    return receipt


def _least(mean: dict[str, np.ndarray]) -> float:
    return LEAST_TOLD * max(np.abs(part).max() for part in mean.values())


def _number(value: float) -> str:
    return (f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}").replace("-", "−")


def _signed(value: float) -> str:
    return ("+" if value >= 0 else "−") + _number(abs(value))
