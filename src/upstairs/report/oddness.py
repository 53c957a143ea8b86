"""Which of the tasks that a meta-model knows are odd."""

from typing import Any, NamedTuple

import numpy as np

from upstairs.displays import TaskMapDisplay
from upstairs.errors import UpstairsError
from upstairs.report.figures import describe
from upstairs.report.section import cell, section, table
from upstairs.report.subject import Subject
from upstairs.wording import listing

__all__ = ["Odd", "odd", "odd_tasks"]

FAR, MOST_ODD = 3.0, 10
"""Standard deviations from the middle beyond which a task is called odd, and how many are listed."""


class Odd(NamedTuple):
    """Tasks, the oddest first: their distance from the middle of the map, in standard deviations of each direction."""

    tasks: list
    distance: np.ndarray


def odd_tasks(display: TaskMapDisplay) -> Odd:
    """How odd each task of a map is. Whatever else tells odd tasks belongs here; all that is said of them rests on it."""
    order = np.argsort(-display.oddness, kind="stable")
    return Odd([display.names[t] for t in order], display.oddness[order])


def odd(subject: Subject, model: Any) -> dict[str, Any]:
    """The map of the known tasks, and those far from the others."""
    many, title = subject.many, f"Which {subject.many} are odd?"
    try:
        display = TaskMapDisplay.from_estimator(model, value_name=_mean_of(subject, model))
    except UpstairsError:
        return section("odd", title, f"That can't be told: this model predicts all {many} alike, or keeps none that it knows.")
    found = odd_tasks(display)
    far = [str(task) for task, distance in zip(*found, strict=True) if distance > FAR][:MOST_ODD]
    lead = f"None stands out: all are within {FAR:g} standard deviations of the middle."
    if far:
        lead = f"{listing(far)} {'stands' if len(far) == 1 else 'stand'} out from the others."
    lines = [[cell(task), cell(float(d), f"{d:.1f}")] for task, d in list(zip(*found, strict=True))[:MOST_ODD]]
    figure = describe(
        display,
        f"{many[:1].upper()}{many[1:]} by what is their own",
        f"Farthest from the middle {'are' if len(found.tasks) > 1 else 'is'} {listing(list(map(str, found.tasks[:3])))}.",
        f"Near to each other are {many} of which the model says alike; the axes have no unit.",
    )
    return section(
        "odd",
        title,
        lead,
        [
            f"Each {subject.one} is placed by how its own rows change what is predicted. Look at those far out: their numbers "
            "may be wrong, or they are of another kind, of which others tell little.",
        ],
        [figure],
        [table(f"The oddest {many}", [(subject.one, "text"), ("distance, in standard deviations", "number")], lines)],
    )


def _mean_of(subject: Subject, model: Any) -> str:
    return f"share of {subject.target} = {model.classes_[-1]}" if subject.classes else f"mean {subject.target}"
