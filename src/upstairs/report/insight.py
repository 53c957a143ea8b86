"""What a fitted meta-model is: what it learned from, and what drives it."""

from typing import Any, NamedTuple

import numpy as np
from scipy import special

from upstairs.displays import EffectDisplay
from upstairs.errors import UpstairsError
from upstairs.frames import row_count, take_rows
from upstairs.learners import LEARNERS
from upstairs.report.figures import describe
from upstairs.report.section import cell, section, table
from upstairs.report.subject import Subject
from upstairs.wording import listing, number, percent

__all__ = ["Importance", "columns_by_importance", "drivers", "learned"]

WORDS = {
    "auto": "AutoMeta tries several learners on {many} held out and blends them by how many rows of a new {one} it has seen.",
    "forest": "A meta random forest grows trees that all {many} share, and learns from a new {one}'s rows how it deviates.",
    "gradient": "Meta-gradient descent trains a network across all {many} from which a few rows lead to a new {one}'s model.",
    "svm": "A meta support vector machine keeps what all {many} share, and lets the model of a new {one} move away from it.",
    "hierarchical-ridge": "A hierarchical ridge is a linear model whose level and slopes vary by {one} around those of all.",
    "pooled": "One model of the rows of all {many} together; it never adapts to a new {one}.",
    "pooled-shift": "One model of the rows of all {many} together; the rows of a new {one} move it up or down.",
    "shrunk-mean": "It uses no columns: it predicts a new {one}'s mean, drawn towards that of all {many} while rows are few.",
    "task-ridge": "A linear model of the rows of a new {one} alone; other {many} tell it nothing.",
}
MOST_EXPLAINED, MOST_EFFECTS, LEAST_EFFECT = 400, 3, 0.03
"""Rows whose predictions are split into columns; columns that are drawn, and the share of importance that a drawn one has."""
HOLDS = {"number": "numbers", "category": "text", "date": "dates", "time": "times of day", "duration": "durations"}


class Importance(NamedTuple):
    """A column, its part in all that columns do to predictions (0 to 1), and how far it moves one on average.

    The move is in the unit of the target; as a share where the model is one of log y; and of classes what becomes of a
    probability of 50 %.
    """

    column: str
    share: float
    move: float


def learned(subject: Subject, model: Any, source: list[str]) -> dict[str, Any]:
    """What was learned from how many tasks."""
    one, many, target = subject.one, subject.many, subject.target
    names = list(model.columns_.names)
    n_tasks = getattr(model.info_, "n_tasks", model.known_.n_tasks)
    n_rows = getattr(model.info_, "n_rows", None)
    rows = f" ({n_rows:,} rows)" if n_rows else ""
    columns = "1 column" if len(names) == 1 else f"{len(names)} columns"
    kinds = [[cell(column.name), cell(HOLDS[column.kind])] for column in model.columns_.columns]
    classes = f" ({' or '.join(map(str, model.classes_))})" if subject.classes and len(model.classes_) <= 5 else ""
    told = WORDS[_learner(model)].format(one=one, many=many)
    found = model.info_.sentences() if hasattr(model.info_, "sentences") else []
    listed = f"Its columns are {listing(names)}." if len(names) <= 8 else ""
    return section(
        "learned",
        "What was learned, and from what?",
        f"The model learned to predict {target}{classes} of any {one} from {columns}, on {n_tasks:,} {many}{rows}.",
        [told, *source, *found, listed],
        tables=[table("Columns", [("column", "text"), ("holds", "text")], kinds, folded=True)] if not listed else [],
    )


def drivers(subject: Subject, model: Any, X: Any, importances: list[Importance]) -> dict[str, Any]:
    """How much each column moves predictions, and how."""
    target, many = subject.target, subject.many
    title = "What drives the predictions?"
    strong = [one for one in importances if one.share > 0]
    if not strong:
        return section(
            "drivers", title, f"No column does: what it says of a {subject.one} comes from its rows' {target} alone."
        )
    scale = model.state_.scale
    what = "a probability of 50 % by" if scale is None else "a prediction by"
    unit = "" if scale is None or scale.log else f", in the unit of {target}"
    top = strong[: 3 if len(strong) > 3 else 2]
    share = sum(one.share for one in top)
    part = f": {percent(share)} of all that columns do to them" if share < 0.995 else ""
    lead = f"Predictions rest {'mostly ' * bool(part)}on {listing([one.column for one in top])}{part}."
    lines = [
        [cell(one.column), cell(one.share, percent(one.share), one.share), cell(one.move, _move(one.move, scale))]
        for one in importances
    ]
    heading = [("column", "text"), ("share", "number"), (f"moves {what}{unit}", "number")]
    figures = [
        figure for one in strong[:MOST_EFFECTS] if one.share >= LEAST_EFFECT for figure in _effect(subject, model, X, one)
    ]
    return section(
        "drivers",
        title,
        lead,
        [
            f"Counted is how far each column moves the prediction of a row that has not been seen, on average over rows. "
            f"What a {subject.one} shows of itself is added to that.",
            f"The pictures show what the model predicts as a column changes and the others stay: in blue for all {many} "
            "together, in grey for some of them. They describe the model; what would happen if somebody changed the column, "
            "they don't say.",
        ],
        figures,
        [table("Columns by what they do to predictions", heading, lines)],
    )


def columns_by_importance(model: Any, X: Any, seed: int = 0) -> list[Importance]:
    """The user's columns, the most important first: mean size of their shared contributions (`prediction.Explanation`)."""
    some = np.sort(np.random.default_rng(seed).permutation(row_count(X))[:MOST_EXPLAINED])
    explained = model.explain(take_rows(X, some))
    outputs = list(explained.values()) if isinstance(explained, dict) else [explained]
    names = list(model.columns_.names)
    of_column = np.array([names.index(feature.column) for feature in model.columns_.features])
    moves = np.zeros(len(names))
    for output in outputs:
        by_column = np.zeros((len(some), len(names)))
        np.add.at(by_column.T, of_column, output.shared.T)
        moves += np.abs(by_column - by_column.mean(axis=0)).mean(axis=0) / len(outputs)
    total, sized = moves.sum(), _in_units(moves, model.state_.scale)
    order = np.argsort(-moves, kind="stable")
    return [Importance(names[j], float(moves[j] / total) if total > 0 else 0.0, float(sized[j])) for j in order]


def _effect(subject: Subject, model: Any, X: Any, importance: Importance) -> list[dict]:
    """The picture of one column, or none where it can't be drawn."""
    column, target = importance.column, subject.target
    try:
        display = EffectDisplay.from_estimator(model, X, column, target=target)
    except UpstairsError:  # it holds a single value, or times of day
        return []
    low, high = display.shared.argmin(), display.shared.argmax()
    show = percent if subject.classes else number
    what = f"predicted {target}" if display.label is None else f"the probability that {target} is {display.label}"
    return [
        describe(
            display,
            f"What {column} does to {what}",
            f"For all {subject.many} together {what} is lowest, {show(display.shared[low])}, at {_at(display.x[low])}, and "
            f"highest, {show(display.shared[high])}, at {_at(display.x[high])}.",
        )
    ]


def _in_units(moves: np.ndarray, scale: Any) -> np.ndarray:
    if scale is None:
        return special.expit(moves) - 0.5
    return np.expm1(moves * scale.sd) if scale.log else moves * scale.sd


def _at(x: Any) -> str:
    if isinstance(x, np.datetime64):
        return str(x.astype("M8[D]"))
    return x if isinstance(x, str) else number(float(x))


def _move(move: float, scale: Any) -> str:
    if scale is None:
        return f"± {100 * move:.1f} points"
    return f"± {percent(move)}" if scale.log else f"± {number(move)}"


def _learner(model: Any) -> str:
    return next(name for name, (_, *classes) in LEARNERS.items() if type(model).__name__ in classes)
