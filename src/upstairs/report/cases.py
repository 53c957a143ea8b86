"""Some unseen tasks, drawn: three typical ones and the three worst, each by a model that never saw it."""

from collections.abc import Callable
from typing import Any

import numpy as np

from upstairs.displays import TaskPredictionDisplay
from upstairs.errors import UpstairsError
from upstairs.report.figures import describe
from upstairs.report.insight import Importance
from upstairs.report.section import cell, section, table
from upstairs.report.subject import Subject
from upstairs.wording import after, number, rows_in_words

__all__ = ["cases", "choose_tasks", "shots_to_draw"]

N_TYPICAL, N_WORST = 3, 3
USUAL_SHOTS = 5
MOST_LISTED = 500
COVERAGE = 0.9


def cases(
    subject: Subject, importances: list[Importance], along: str | None = None, begin: Callable[[str], None] | None = None
) -> dict[str, Any]:
    """Tasks before and after some rows of theirs were seen, and the errors on all tasks."""
    shots, most = shots_to_draw(subject), subject.shots[-1]
    typical, worst = choose_tasks(subject, shots)
    errors = {s: _errors(subject, s) for s in dict.fromkeys((subject.shots[0], shots, most))}
    figures = []
    for kind, tasks in (("typical", typical), ("among the worst", worst)):
        for task in tasks:
            if begin is not None:
                begin(f"Drawing {task}")
            figures += _draw(subject, task, kind, shots, errors, importances, along)
    listed = sorted(errors[most].items(), key=lambda item: -item[1])
    lines = [[cell(task), *(cell(errors[s].get(task, float("nan"))) for s in errors)] for task, _ in listed[:MOST_LISTED]]
    left = len(listed) - len(lines)
    note = f"The {MOST_LISTED} with the highest errors; {left:,} others are in the JSON report." if left else ""
    interval = "" if subject.classes else ", with its 90 % interval"
    middle, highest = float(np.median(list(errors[shots].values()))), errors[shots][worst[0]]
    ratio = f", {number(highest / middle, 2)} times the one in the middle" if middle > 0 else ""
    return section(
        "tasks",
        f"How does it do on single {subject.many}?",
        f"The highest error {after(shots)} is {number(highest)}, that of {worst[0]}{ratio}.",
        [
            f"Drawn are {len(typical)} {subject.many} in the middle, then the {len(worst)} with the highest errors; none was "
            "seen by the model that predicts it.",
            f"Dashed is what it says before it has seen a row, blue what it says {after(shots)}{interval}. Full dots are rows "
            "that it has seen, empty ones those that it was asked about.",
        ],
        figures,
        [table(
            f"Errors on all {subject.many}", [(subject.one, "text"), *((after(s), "number") for s in errors)], lines, note,
            folded=True,
        )],
    )  # fmt: skip


def shots_to_draw(subject: Subject) -> int:
    """Five rows, or the number nearest to it."""
    return min(subject.shots, key=lambda s: (abs(s - USUAL_SHOTS), s))


def choose_tasks(subject: Subject, shots: int) -> tuple[list, list]:
    """The tasks whose errors are in the middle, by size, and those with the highest, the worst first."""
    ranked = sorted(_errors(subject, shots).items(), key=lambda item: -item[1])
    worst, rest = [task for task, _ in ranked[:N_WORST]], [task for task, _ in ranked[N_WORST:]]
    start = max(0, (len(ranked) - N_TYPICAL) // 2 - N_WORST)
    return rest[start : start + N_TYPICAL], worst


def _errors(subject: Subject, shots: int) -> dict[Any, float]:
    """By task; where one was unseen several times, the mean."""
    rows = subject.columns("tasks", shots)
    errors: dict[Any, list[float]] = {}
    names = subject.task_names()
    for task, error in zip(rows["task"].tolist(), rows["error"].tolist(), strict=True):
        if error == error:
            errors.setdefault(names[str(task)], []).append(error)
    return {task: float(np.mean(several)) for task, several in errors.items()}


def _draw(
    subject: Subject, task: Any, kind: str, shots: int, errors: dict, importances: list[Importance], along: str | None
) -> list[dict]:
    model = subject.evaluation.unseen_model(task, subject.learner)
    X_support, y_support, X_query, y_query = subject.evaluation.episode(task, shots)
    if subject.classes and not np.isin(y_support, model.classes_).all():
        return []  # a class that no other task has: the model can't adapt to it
    display = None
    for feature in dict.fromkeys([along, *_axes(model, importances), *(one.column for one in importances)]):
        if feature in model.columns_.names:
            try:
                display = TaskPredictionDisplay.from_estimator(
                    model, X_support, y_support, X_query, y_query, feature=feature, coverage=COVERAGE, target=subject.target
                )
                break
            except UpstairsError:  # it can't be drawn along this column
                continue
    if display is None:
        return []
    before, now = (errors[s].get(task, float("nan")) for s in (subject.shots[0], shots))
    told = f"The error goes from {number(before)} {after(subject.shots[0])} to {number(now)} {after(shots)}."
    if shots == subject.shots[0]:
        told = f"The error is {number(now)} {after(shots)}."
    return [
        describe(
            display, f"{task} ({kind})",
            f"{subject.target} along {display.feature}, before and after {rows_in_words(len(y_support))}. {told}", told,
        )
    ]  # fmt: skip


def _axes(model: Any, importances: list[Importance]) -> list[str]:
    """Columns of dates, then those of numbers, the most important first."""
    kinds = {column.name: column.kind for column in model.columns_.columns}
    ordered = [one.column for one in importances]
    return [name for kind in ("date", "number") for name in ordered if kinds[name] == kind]
