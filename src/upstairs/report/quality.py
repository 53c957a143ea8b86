"""What an evaluation found: the error on unseen tasks, the value of a row, calibration, over- and underfitting, harm."""

from typing import Any

import numpy as np

from upstairs.displays import CalibrationDisplay, CoverageDisplay, LearningCurveDisplay, TaskCurveDisplay
from upstairs.report.figures import describe
from upstairs.report.section import cell, error_cell, percent_cell, section, table
from upstairs.report.subject import Subject
from upstairs.wording import after, article, listing, number, percent, rows_in_words

__all__ = ["calibration", "harm", "overfitting", "unseen", "value_of_rows"]

MEANING = {
    "root mean squared error": "The error is the root mean squared error: how far predictions are off, in the unit of "
    "{target}; large misses count for more.",
    "mean absolute error": "The error is the mean absolute error: how far a prediction is off on average, in the unit of "
    "{target}.",
    "log loss": "The error is the log loss: 0 where the truth was given all probability, and the more the less it was given.",
    "Brier score": "The error is the Brier score: the squared distance of probabilities from what came true, 0 at best.",
    "error rate": "The error is the share of rows whose most probable class is wrong.",
}
NAMES_SHOWN = 12
CLOSE = 0.03
"""As a share: probabilities that miss by less on average are called close."""


def unseen(subject: Subject) -> dict[str, Any]:
    """The error on unseen tasks beside baselines."""
    found, learner, one, many, shots = subject.found, subject.learner, subject.one, subject.many, subject.shots
    summary = found["summary"]
    errors = {
        (name, s): (error, se)
        for name, s, error, se in zip(*(summary[c] for c in ("learner", "shots", "error", "error_se")), strict=True)
    }
    beside = [name for name in found["learners"] if name not in found["own_learners"]]
    lines = [[cell(name), *(error_cell(*errors[name, s]) for s in shots)] for name in found["learners"]]
    first, last = errors[learner, shots[0]][0], errors[learner, shots[-1]][0]
    figure = describe(
        LearningCurveDisplay.from_evaluation(subject.evaluation),
        f"Error on an unseen {one}, by rows seen of it",
        f"The error of {learner} goes from {number(first)} {after(shots[0])} to {number(last)} {after(shots[-1])}. "
        "The table below has all numbers.",
        f"Lower is better. Bands are ± 1 standard error.{' Baselines are grey.' if beside else ''}",
    )
    headings = [("rows seen", "text"), *((str(s), "number") for s in shots)]
    note = f"Lower is better. {listing(beside)} {'is a baseline' if len(beside) == 1 else 'are baselines'}." if beside else ""
    return section(
        "unseen",
        f"How good is it on {article(one)} {one} that it has never seen?",
        _beside_nothing(subject),
        [
            subject.said.get("baselines", ""),
            MEANING[found["metric"]].format(target=subject.target),
            f"“±” is the standard error: with other {many} the number might well differ by as much, or by twice as much.",
            _how(subject),
        ],
        [figure],
        [table(f"{found['metric'].capitalize()} on unseen {many}, by rows seen", headings, lines, note)],
    )


def value_of_rows(subject: Subject) -> dict[str, Any]:
    """What each row of a new task brings."""
    one, curve = subject.one, subject.columns("value_curve")
    shots, shares = subject.shots, curve["share"]
    some = [(s, share) for s, share in zip(shots, shares, strict=True) if shots[0] < s < shots[-1] and share > 0]
    told = ""
    if some:
        (s, share), (later, more) = some[0], some[-1]
        told = f"Of what {rows_in_words(shots[-1])} gain, {rows_in_words(s)} {'brings' if s == 1 else 'bring'} {percent(share)}"
        told += f", and {rows_in_words(later)} bring {percent(more)}." if later > s else "."
    lines = [
        [cell(s), error_cell(error, se), _share_cell(share)]
        for s, error, se, share in zip(shots, curve["error"], curve["error_se"], shares, strict=True)
    ]
    columns = [("rows seen", "number"), ("error", "number"), ("share of the gain", "number")]
    return section(
        "rows",
        f"How many rows does a new {one} need?",
        subject.said.get("rows", f"It was asked at one number of rows only, so that this can't be told of a new {one}."),
        [told],
        tables=[table(f"What rows of a new {one} bring", columns, lines if len(shots) > 1 else [])],
    )


def calibration(subject: Subject) -> dict[str, Any]:
    """Whether what is promised is kept."""
    one, many, most, said = subject.one, subject.many, subject.shots[-1], subject.said["calibration"]
    if subject.classes:
        verdict, lines = _verdict_on_classes(subject)
        display: Any = CalibrationDisplay.from_evaluation(subject.evaluation, learner=subject.learner)
        columns = [("predicted", "number"), ("came true", "number"), ("predictions", "number")]
        caption, title = f"Predicted probabilities on unseen {many}, and what came true", "Can its probabilities be trusted?"
        why = "Of all the times that it says 80 %, about 80 in 100 should come true."
        note = "On the dashed line a promise is kept; larger dots are more predictions."
    else:
        verdict, lines = _verdict_on_intervals(subject)
        display = CoverageDisplay.from_evaluation(subject.evaluation, learner=subject.learner)
        columns = [("promised", "number"), ("kept", "number")]
        caption, title = f"How often intervals hold the truth on unseen {many}", "Can its intervals be trusted?"
        why = "A prediction comes with an interval; of all 90 % intervals, 90 in 100 should hold the true value."
        note = "Dashed: what is promised. Bands are ± 1 standard error."
    return section(
        "calibration",
        title,
        f"{said} {verdict}",
        [why],
        [describe(display, caption, f"{said} The table below has the numbers {after(most)}.", note)],
        [table(f"Promised and kept, {after(most)} of an unseen {one}", columns, lines)],
    )


def overfitting(subject: Subject) -> dict[str, Any]:
    """Both kinds of overfitting, and what more tasks would bring."""
    one, many, said, found = subject.one, subject.many, subject.said, subject.found
    rows = subject.columns("overfitting")
    names = [
        name for name in ("support_error", "query_error", "known_error", "unseen_error") if (rows[name] == rows[name]).any()
    ]
    lines = [
        [cell(s), *(error_cell(rows[name][i], rows[f"{name}_se"][i]) for name in names)] for i, s in enumerate(subject.shots)
    ]
    headings = {
        "support_error": "on the rows shown",
        "query_error": "on other rows",
        "known_error": f"{many} known",
        "unseen_error": f"same {many} unseen",
    }
    told = [said.get("support", ""), said.get("more_tasks", "")]
    if "known" in said:
        told.insert(0, f"A known {one} has all of its rows to go by, a new one only those shown: some difference is natural.")
    figures = []
    if found["task_curve"]:
        display = TaskCurveDisplay.from_evaluation(subject.evaluation, curve=found["task_curve"])
        caption = f"Error on an unseen {one}, by how many {many} were learned from"
        figures = [describe(display, caption, said["more_tasks"], "Lower is better. Bands are ± 1 standard error.")]
    return section(
        "overfitting",
        f"Is it better on {many} that it knows?",
        said.get("known", f"It was asked only about {many} that it doesn't know."),
        told,
        figures,
        [table(
            f"Errors on rows and {many} that it knows, and on others",
            [("rows seen", "number"), *((headings[name], "number") for name in names)], lines, "Lower is better.",
        )],
    )  # fmt: skip


def harm(subject: Subject) -> dict[str, Any] | None:
    """Unseen tasks for which a model of their own would have been better; None where that wasn't measured."""
    one, many = subject.one, subject.many
    if "harm" not in subject.said:
        return None
    rows = subject.columns("negative_transfer", subject.shots[-1])
    share, se, which = rows["share"][0], rows["share_se"][0], list(map(str, rows["tasks"][0]))
    if share < 0.5 - 2 * se:
        verdict = f"For most {many}, then, the others help."
    elif share > 0.5 + 2 * se:
        verdict = f"For most {many}, then, the others do harm: a model for each {one} would be better."
    else:
        verdict = "That is what chance would give if it made no difference."
    more = f" and {len(which) - NAMES_SHOWN} more" if len(which) > NAMES_SHOWN else ""
    return section(
        "harm",
        f"Where do other {many} do harm?",
        f"{subject.said['harm']} {verdict}",
        [
            f"The worst first: {', '.join(which[:NAMES_SHOWN])}{more}." if which else "",
            f"Few rows of each {one} were asked about, so that chance alone turns some of these comparisons.",
        ],
    )


def _beside_nothing(subject: Subject) -> str:
    """The error beside that of a guess that knows nothing; for classes, how often the most probable one is right."""
    rows, one, target = subject.columns("summary"), subject.one, subject.target
    ends = dict.fromkeys((0, len(subject.shots) - 1))
    if subject.classes:
        told = [f"{100 * rows['accuracy'][i]:.0f} times in 100 {after(subject.shots[i])}" for i in ends]
        return f"On a new {one} the most probable {target} is right {' and '.join(told)}."
    relative, error = rows["relative_error"][-1], rows["error"][-1]
    naive = error / (np.sqrt(relative) if subject.found["metric"].startswith("root") else relative)
    told = [f"by {number(rows['error'][i])} {after(subject.shots[i])}" for i in ends]
    start = f"Guessing the average {target} misses by {number(naive)}; on" if np.isfinite(naive) else "On"
    return f"{start} a new {one}, {subject.learner} misses {' and '.join(told)}."


def _how(subject: Subject) -> str:
    one, many, most, folds = subject.one, subject.many, subject.shots[-1], subject.found["n_folds"]
    if subject.evaluation.prefit:
        told = f"None of these {many} is among those that the model learned from, so it was asked about them as it is."
    else:
        told = (
            f"The {many} were cut into {folds} parts. {folds} times {subject.learner} learned from all parts but one, and met "
            f"the {many} of that one as new."
        )
    shown = f"; at most {rows_in_words(most)} of the other half were shown before" if most else ""
    when = ", those right before in time" if subject.evaluation.in_time and most else ""
    return f"{told} Half of the rows of each {one} were asked about{shown}{when}."


def _verdict_on_intervals(subject: Subject) -> tuple[str, list]:
    rows = subject.columns("calibration", subject.shots[-1])
    nominal, observed, se = rows["nominal"], rows["observed"], rows["observed_se"]
    lines = [[cell(p, f"{100 * p:g} %"), percent_cell(kept, s)] for p, kept, s in zip(nominal, observed, se, strict=True)]
    at = np.argmin(np.abs(nominal - 0.9))
    gap = observed[at] - nominal[at]
    if abs(gap) <= max(2 * np.nan_to_num(se[at]), 0.01):
        return "They can be taken at their word.", lines
    return (
        "They are too narrow: be less sure than they are." if gap < 0 else "They are too wide, which is the safe side."
    ), lines


def _verdict_on_classes(subject: Subject) -> tuple[str, list]:
    rows = subject.columns("calibration", subject.shots[-1])
    predicted, observed, se, n_rows = (rows[name] for name in ("predicted", "observed", "observed_se", "n_rows"))
    lines = [
        [cell(p, percent(p)), percent_cell(true, s), cell(int(n), f"{n:,.0f}")]
        for p, true, s, n in zip(predicted, observed, se, n_rows, strict=True)
    ]
    weight = n_rows / n_rows.sum()
    if np.abs(observed - predicted) @ weight <= CLOSE:
        return "They can be taken at their word.", lines
    boldness = -np.sign(predicted - 0.5) * (observed - predicted) @ weight
    if abs(boldness) <= 2 * np.sqrt(np.nansum((weight * se) ** 2)):
        return "That is no more than chance does with so few rows.", lines
    return (
        "They are too bold: what it calls sure is less so."
        if boldness > 0
        else "They are too timid: what it calls likely is more so."
    ), lines


def _share_cell(share: float) -> dict[str, Any]:
    there = share == share
    return cell(float(share), percent(share) if there else "–", float(np.clip(share, 0, 1)) if there else None)
