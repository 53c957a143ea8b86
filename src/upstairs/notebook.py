"""What a notebook shows of meta-models and adapted models: below scikit-learn's diagram the numbers one wants first."""

import abc
from typing import Any

import numpy as np

from upstairs.adaptation import adapt, predict
from upstairs.borrowing import borrowed_share, with_more_rows
from upstairs.calibration import interval_factor
from upstairs.cards import Card
from upstairs.frames import PLURALS
from upstairs.prediction import ClassPrediction
from upstairs.wording import number, percent, rows_in_words

__all__ = ["Shown", "ShownMeta", "ShownModel", "ShownTasks"]

MOST_NAMES = 12
"""Columns and classes that are named; of more it is said how many they are."""
N_ASKED = 30
"""Rows of known tasks for which the borrowed share is averaged."""
MORE = 5
LEAST_P = 0.05
COVERAGE = 0.9
MOST_TASKS, FEWEST_TASKS = 50, 5
"""Known tasks by which errors are shown, and of fewer than which none is."""


class Shown(abc.ABC):
    """What has a card, beside what scikit-learn shows of it."""

    @abc.abstractmethod
    def _card(self) -> Card | None:
        """The card; None before there is anything to say."""

    def _repr_html_inner(self) -> str:
        """Scikit-learn's `_repr_html_` calls it."""
        card = self._card()
        return super()._repr_html_inner() + (card.html() if card else "")  # type: ignore[misc]

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, str]:
        bundle = super()._repr_mimebundle_(**kwargs)  # type: ignore[misc]
        if card := self._card():
            bundle["text/plain"] += "\n" + card.text()
            if "text/html" in bundle:
                bundle["text/html"] = self._repr_html_inner()
        return bundle


class ShownMeta(Shown):
    """A meta-learner: what it learned from, once it has."""

    def _card(self) -> Card | None:
        if "state_" not in vars(self):
            return None
        meta: Any = self
        info, known = meta.info_, len(meta.known_.ids)
        facts = {}
        if hasattr(info, "n_tasks"):
            facts["learned from"] = f"{_tasks(info.n_tasks)}, {rows_in_words(info.n_rows)}"
        facts["knows"] = _tasks(known) if known else "no task by name"
        facts["columns"] = _columns(meta)
        if "classes_" in vars(meta):
            facts["classes"] = _few(list(map(str, meta.classes_.tolist())))
        return Card(f"{type(meta).__name__}, fitted", facts | _scalars(info), _by_shots(meta))


class ShownModel(Shown):
    """A model adapted to one task: its support, and how far it is like the others."""

    def _card(self) -> Card | None:
        if "support_" not in vars(self):
            return None
        model: Any = self
        meta, support = model.meta, model.support_
        facts = {"adapted to": f"{rows_in_words(len(support.y))} of one task"}
        if len(meta.known_.ids):
            p = model.novelty_
            verdict = (
                "like the known tasks" if p >= LEAST_P else "its rows are more surprising than those of nearly all known tasks"
            )
            facts["novelty"] = f"p = {p:.2g}: {verdict}"
            rng = np.random.default_rng(0)
            Z = meta.known_.X[np.sort(rng.permutation(len(meta.known_.X))[:N_ASKED])]
            now, later = borrowed_share(meta, support, Z).mean(), with_more_rows(meta, support, Z, MORE).mean()
            facts["borrowed"] = f"{percent(now)} from other tasks; after {MORE} more rows about {percent(later)}"
        return Card(f"{type(meta).__name__}, adapted", facts)


class ShownTasks:
    """Models adapted to many tasks."""

    def _card(self) -> Card:
        models: Any = self
        ends = [f"{size:,}" for size in sorted({models.support.sizes.min(), models.support.sizes.max()})] if models else []
        facts = {
            "adapted to": f"{_tasks(len(models))}, {rows_in_words(len(models.support.y))}",
            "rows of a task": " to ".join(ends),
            "tasks": _few(list(map(str, models.support.ids[: MOST_NAMES + 1].tolist())), len(models)),
        }
        return Card(f"{type(models.meta).__name__}, adapted", facts)

    def __repr__(self) -> str:
        return self._card().text()

    def _repr_html_(self) -> str:
        return self._card().html()


def _columns(meta: Any) -> str:
    columns = meta.columns_.columns
    if len(columns) > MOST_NAMES:
        kinds = [column.kind for column in columns]
        return f"{len(columns)}: " + ", ".join(f"{kinds.count(kind)} of {PLURALS[kind]}" for kind in dict.fromkeys(kinds))
    return ", ".join(f"{column.name} ({PLURALS[column.kind]})" for column in columns)


def _scalars(info: Any) -> dict[str, str]:
    """Whatever else is a single number or word in what a fit tells."""
    told = {}
    for name, value in info._asdict().items():
        if name in ("n_tasks", "n_rows") or not np.isscalar(value) or value != value:
            continue
        words = name.removeprefix("n_").replace("_", " ")
        told[words] = "yes" if value is True else "no" if value is False else value if isinstance(value, str) else _count(value)
    return told


def _by_shots(meta: Any) -> list[list[str]]:
    """Errors on tasks held out, and what made the answers honest on them."""
    calibration = meta.state_.calibration
    table = [["rows seen", *(f"{shots:.0f}" for shots in calibration.shots)]]
    classes = meta.state_.scale is None
    if len(meta.known_.ids) >= FEWEST_TASKS:
        name = "log loss" if classes else "root mean squared error"
        table.append([f"{name}, held out", *(number(_held_out(meta, int(s))) for s in calibration.shots)])
    if classes:
        table.append(["logits divided by", *map(number, calibration.temperature)])
    else:
        factors = interval_factor(calibration, calibration.shots, COVERAGE)
        table.append([f"{percent(COVERAGE)} intervals scaled by", *map(number, factors)])
    return table


def _held_out(meta: Any, shots: int) -> float:
    """The error on some known tasks of fold models that never saw them; NaN where few have rows to spare."""
    rng, known = np.random.default_rng(0), meta.known_
    drawn = np.sort(rng.permutation(np.flatnonzero(known.sizes > shots))[:MOST_TASKS])
    if len(drawn) < FEWEST_TASKS:
        return np.nan
    tasks = known.take(drawn)
    task = tasks.task_of_row
    order = np.lexsort((rng.random(len(task)), task))
    rank = np.arange(len(task)) - tasks.offsets[task]
    support = tasks.take_rows(order[rank < shots], np.full(len(drawn), shots))
    rest = order[rank >= shots]
    prediction, _ = predict(adapt(meta, support, meta.state_.fold[drawn]), tasks.X[rest], task[rest])
    if isinstance(prediction, ClassPrediction):
        return -prediction.log_proba[np.arange(len(rest)), tasks.y[rest].astype(int)].mean()
    return np.sqrt(((prediction.mean - tasks.y[rest]) ** 2).mean())


def _tasks(count: int) -> str:
    return "1 task" if count == 1 else f"{count:,} tasks"


def _count(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int | np.integer) else number(float(value))


def _few(names: list[str], count: int | None = None) -> str:
    count = len(names) if count is None else count
    return ", ".join(names[:MOST_NAMES]) + (f", … ({count:,} in all)" if count > MOST_NAMES else "")
