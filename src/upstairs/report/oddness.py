"""Which of the tasks that a meta-model knows are odd: those that surprise it more than chance lets ordinary ones."""

from typing import Any, NamedTuple

import numpy as np

from upstairs.adaptation import adapt, locate, predict
from upstairs.displays import TaskMapDisplay
from upstairs.errors import UpstairsError
from upstairs.novelty import count_odd, surprises
from upstairs.report.figures import describe
from upstairs.report.section import cell, section, table
from upstairs.report.subject import Subject
from upstairs.target import forward
from upstairs.tasks import Tasks
from upstairs.wording import listing, number, percent

__all__ = ["Odd", "odd", "odd_tasks"]

MOST_LISTED, MOST_NAMED = 10, 6
"""How many tasks are listed, unless more are odd, and how many are named in a sentence."""
LIKELY, LEAST = 0.01, 1e-6
"""Smaller chances are told as one in so many, down to the second."""


class Odd(NamedTuple):
    """How odd T tasks are.

    Attributes
    ----------
    chance : float64 [T]
        The share of ordinary tasks that surprise as much (`novelty.Surprise`).
    reasons : list of T str
    order : int64 [T]
        The tasks, the oddest first.
    n_odd : int
        How many of them are called odd.
    """

    chance: np.ndarray
    reasons: list[str]
    order: np.ndarray
    n_odd: int


def odd_tasks(subject: Subject, model: Any, names: list) -> Odd:
    """How odd the known tasks of these names are."""
    which = locate(model.known_.ids, np.array(names, model.known_.ids.dtype))
    tasks, fold = model.known_.take(which), model.state_.fold[which]
    chance, seen = surprises(model, model.novelty_reference_, tasks, fold)[1:]
    reasons = [_reason(subject, *told) for told in zip(seen.tolist(), _lift(model, tasks, fold).tolist(), strict=True)]
    return Odd(chance, reasons, np.argsort(chance, kind="stable"), count_odd(chance))


def odd(subject: Subject, model: Any) -> dict[str, Any]:
    """The map of the known tasks, and those that surprise most."""
    one, many, title = subject.one, subject.many, f"Which {subject.many} are odd?"
    try:
        display = TaskMapDisplay.from_estimator(model, value_name=_mean_of(subject, model))
        found = odd_tasks(subject, model, display.names)
    except UpstairsError:
        return section("odd", title, f"That can't be told: this model predicts all {many} alike, or keeps none that it knows.")
    display.oddness = -np.log(found.chance)
    names = [str(display.names[t]) for t in found.order]
    lines = [
        [cell(display.names[t]), cell(float(found.chance[t]), _in_words(found.chance[t])), cell(found.reasons[t])]
        for t in found.order[: max(MOST_LISTED, found.n_odd)]
    ]
    figure = describe(
        display,
        f"{many[:1].upper()}{many[1:]} by what is their own",
        f"Those that surprise most are {listing(names[:3])}.",
        f"Near to each other are {many} of which the model says alike; the axes have no unit. Names: the most surprising ones.",
    )
    return section(
        "odd",
        title,
        _lead(many, names, found.n_odd),
        [
            f"Each {one} was met by a part of the model that never saw it. Called odd are those whose rows surprise it more "
            f"than chance lets ordinary {many}, so that of all called odd one in ten at most is ordinary. Look at them: their "
            "numbers may be wrong, or they are of another kind, of which others tell little.",
        ],
        [figure],
        [table(
            f"The most surprising {many}",
            [(one, "text"), (f"ordinary {many} that surprise as much", "number"), ("what surprises", "text")],
            lines,
            f"Of {len(names):,} ordinary {many} one or so is at 1 in {len(names):,} or less.",
        )],
    )  # fmt: skip


def _lead(many: str, names: list[str], n_odd: int) -> str:
    if n_odd == 0:
        return f"None stands out: of {len(names):,} {many} some must surprise most, and none does so more than chance allows."
    more = [f"{n_odd - MOST_NAMED:,} more"] if n_odd > MOST_NAMED else []
    return f"{listing([*names[: min(n_odd, MOST_NAMED)], *more])} {'stands' if n_odd == 1 else 'stand'} out from the others."


def _lift(model: Any, tasks: Tasks, fold: np.ndarray) -> np.ndarray:
    """How far the rows of each task lie above what is said of them before any is seen [T]; 0 for classes."""
    scale = model.state_.scale
    if scale is None:
        return np.zeros(tasks.n_tasks)
    nothing = tasks.take_rows(np.zeros(0, int), np.zeros(tasks.n_tasks, int))
    before, _ = predict(adapt(model, nothing, fold), tasks.X, tasks.task_of_row)
    return np.bincount(tasks.task_of_row, forward(scale, tasks.y) - before.center, tasks.n_tasks)


def _reason(subject: Subject, seen: int, lift: float) -> str:
    if seen == 0:
        side = "" if lift == 0 else "higher " if lift > 0 else "lower "
        return f"{subject.target} is {side}{'than' if side else 'not as'} its columns say"
    if seen <= 2:
        return "its columns do something else"
    return "its rows differ among themselves"


def _in_words(chance: float) -> str:
    return percent(chance) if chance >= LIKELY else f"1 in {number(1 / max(chance, LEAST))}"


def _mean_of(subject: Subject, model: Any) -> str:
    return f"share of {subject.target} = {model.classes_[-1]}" if subject.classes else f"mean {subject.target}"
