"""What was found, in plain sentences, and what to be careful about."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from upstairs.evaluation.losses import COVERAGES, Findings, TaskLosses, by, mean_error
from upstairs.evaluation.metrics import mean_over_tasks
from upstairs.evaluation.overfitting import unseen_and_known
from upstairs.evaluation.tables import miscalibration
from upstairs.evaluation.task_curve import gain_of_doubling
from upstairs.evaluation.transfer import OWN, negative_transfer
from upstairs.evaluation.value import rows_needed, value_curve
from upstairs.wording import Noun, after, number, percent, rows_in_words

__all__ = ["sentences", "sentences_by_topic", "warnings_of"]

FEW_TASKS = 10
WANTED = 0.9


def sentences(findings: Findings, n_own: int, noun: Noun, curve: dict[str, list] | None) -> list[str]:
    """Plain findings about each of the user's own meta-learners; ``curve`` is the task curve, if it was computed."""
    return [
        f"{findings.learners[learner]}: {text[0].lower()}{text[1:]}" if n_own > 1 else text
        for learner in range(n_own)
        for text in sentences_by_topic(findings, n_own, learner, noun, curve).values()
    ]


def sentences_by_topic(
    findings: Findings, n_own: int, learner: int, noun: Noun, curve: dict[str, list] | None
) -> dict[str, str]:
    """What was found of one meta-learner; a topic of which nothing can be said is left out."""
    parts = {at: part for at, part in by(findings.losses, "learner", "shots")}
    name = findings.learners[learner]
    told = {
        "baselines": _beside_baselines(findings, n_own, learner, parts, noun),
        "known": _unseen_beside_known(findings, learner, parts, noun),
        "more_tasks": _more_tasks(findings, name, curve, noun),
        "rows": _rows_needed(findings, name, noun),
        "support": _query_beside_support(findings, learner, parts, noun),
        "calibration": _calibration(findings, learner, parts, noun),
        "harm": _harm(findings, name, noun),
    }
    return {topic: text[0].upper() + text[1:] for topic, text in told.items() if text}


def warnings_of(
    findings: Findings, noun: Noun, sizes: np.ndarray, left_out: Sequence[int], cautions: Sequence[str]
) -> list[str]:
    """Sentences about what makes these findings less than they seem; ``sizes`` [T] are the rows of each task."""
    told = list(cautions)
    n_tasks = len(findings.ids)
    if n_tasks < FEW_TASKS:
        told.append(f"There are only {n_tasks} {noun.many}: errors on unseen ones, and their standard errors, are rough.")
    if left_out:
        told.append(
            f"shots={', '.join(map(str, left_out))} left out: no {noun.one} can give so many, since half of its rows, at most "
            f"{sizes.max() // 2}, may be support."
        )
    for s in findings.shots:
        short = (sizes // 2 < s).mean()
        if short > 0.5:
            told.append(f"At {s} shots {percent(short)} of the {noun.many} show fewer rows than that, all that they can give.")
            break
    if (single := int((sizes < 2).sum())) > n_tasks / 2:
        told.append(f"{single} of {n_tasks} {noun.many} have a single row, from which nothing can be adapted.")
    return told


def _beside_baselines(findings: Findings, n_own: int, learner: int, parts: dict, noun: Noun) -> str:
    most = findings.shots[-1]
    own = parts[learner, most]
    error, se = mean_error(findings.metric, own.loss, own.n_rows, own.task)
    text = f"{after(most)} the {findings.metric.words} on unseen {noun.many} is {number(error)}" + (
        f" (± {number(se, 2)})" if np.isfinite(se) else ""
    )
    others = {b: _error(findings, parts[b, most]) for b in range(n_own, len(findings.learners))}
    if not others:
        return text + "."
    best = min(others, key=others.__getitem__)
    name, change = findings.learners[best], error / others[best] - 1 if others[best] > 0 else 0.0
    clear, wins = _duel(own.loss - parts[best, most].loss, own.n_rows, own.task)
    if not clear:
        return f"{text}, which can't be told from that of the best baseline, {name} ({number(others[best])})."
    side = "higher" if change > 0 else "lower"
    return (
        f"{text}, {percent(abs(change))} {side} than that of the best baseline, {name}, and lower on {percent(wins)} of the "
        f"{noun.many}."
    )


def _unseen_beside_known(findings: Findings, learner: int, parts: dict, noun: Noun) -> str:
    known = {at: part for (at,), part in by(findings.known, "learner")}
    if learner not in known:
        return ""
    told = []
    for shots in dict.fromkeys((findings.shots[0], findings.shots[-1])):
        seen, held = unseen_and_known(parts[learner, shots], known[learner])
        before, _ = mean_error(findings.metric, seen.loss, seen.n_rows, seen.task)
        now, _ = mean_error(findings.metric, held.held_loss, held.n_held, held.task)
        if not before > 0:
            return ""
        told.append(f"{_compared(now / before)} known ones {after(shots)}")
    return f"unseen {noun.many} are predicted {', and '.join(told)}."


def _more_tasks(findings: Findings, name: str, curve: dict[str, list] | None, noun: Noun) -> str:
    if not curve:
        return ""
    rows = list(zip(*(curve[column] for column in ("learner", "shots", "n_tasks", "error")), strict=True))
    told = []
    for shots in dict.fromkeys((findings.shots[0], findings.shots[-1])):
        points = [(n, error) for learner, s, n, error in rows if learner == name and s == shots]
        gain = gain_of_doubling(*zip(*points, strict=True))
        told.append(f"{f'about {percent(gain)}' if gain >= 0.005 else 'next to nothing'} {after(shots)}")
    return f"twice as many {noun.many} would bring {' and '.join(told)}."


def _rows_needed(findings: Findings, name: str, noun: Noun) -> str:
    table = value_curve(findings)
    rows = [at for at, learner in enumerate(table["learner"]) if learner == name]
    shots, share = [table["shots"][at] for at in rows], [table["share"][at] for at in rows]
    if len(shots) < 2:
        return ""
    needed = rows_needed(shots, share, WANTED)
    if needed is None:
        return f"rows of a new {noun.one} bring nothing: the error {after(shots[-1])} is no lower than {after(shots[0])}."
    if needed == shots[-1]:
        return f"a new {noun.one} needs all of {rows_in_words(needed)} to reach 90 % of what they give."
    over = "" if shots[0] == 0 else f" over {rows_in_words(shots[0])}"
    return f"a new {noun.one} needs {rows_in_words(needed)} to reach 90 % of what {rows_in_words(shots[-1])} give{over}."


def _query_beside_support(findings: Findings, learner: int, parts: dict, noun: Noun) -> str:
    shots = findings.shots[-1]
    part: TaskLosses = parts[learner, shots]
    if shots == 0 or not part.n_support.sum():
        return ""
    support, _ = mean_error(findings.metric, part.support_loss, part.n_support, part.task)
    query = _error(findings, part)
    if not query > 0:
        return ""
    change = support / query - 1
    side = "lower" if change < 0 else "higher"
    return (
        f"on the {rows_in_words(shots)} that it was adapted to, the error is {percent(abs(change))} {side} than on others of "
        f"the same {noun.one}."
    )


def _calibration(findings: Findings, learner: int, parts: dict, noun: Noun) -> str:
    most = findings.shots[-1]
    if findings.metric.classes:
        gap = miscalibration(parts[learner, most])
        return f"{after(most)} predicted probabilities lie {100 * gap:.1f} points from what happens, on average."
    inside = COVERAGES.tolist().index(0.9)
    told = []
    for shots in dict.fromkeys((findings.shots[0], findings.shots[-1])):
        part = parts[learner, shots]
        mean, se = mean_over_tasks(part.covered[:, inside], part.n_rows, part.task)
        told.append(f"{percent(float(mean))} (± {100 * float(se):.1f}) {after(shots)}")
    return f"of the values of unseen {noun.many}, 90 % intervals hold {' and '.join(told)}."


def _harm(findings: Findings, name: str, noun: Noun) -> str:
    if OWN not in findings.learners or name == OWN or findings.shots[-1] == 0:
        return ""
    table: dict[str, list[Any]] = negative_transfer(findings)
    at = [i for i, learner in enumerate(table["learner"]) if learner == name][-1]
    if not table["n_tasks"][at]:
        return ""
    return (
        f"for {percent(table['share'][at])} of the unseen {noun.many} a model of their own "
        f"{rows_in_words(table['shots'][at])} alone would have been better."
    )


def _compared(ratio: float) -> str:
    if abs(ratio - 1) < 0.005:
        return "as well as"
    if ratio >= 2:
        return f"{ratio:.1f} times as badly as"
    return f"{percent(abs(ratio - 1))} {'worse' if ratio > 1 else 'better'} than"


def _duel(difference: np.ndarray, n_rows: np.ndarray, task: np.ndarray) -> tuple[bool, float]:
    """Whether summed differences of losses are more than chance, and the share of tasks on which they are negative.

    They are more than chance if their mean is two standard errors from none, or if many tasks agree with its sign (sign test):
    where a few tasks hold most of the loss, only the second can tell.
    """
    mean, se = mean_over_tasks(difference, n_rows, task)
    codes = np.unique(task, return_inverse=True)[1]
    signs = np.sign(np.bincount(codes, weights=difference))
    agreement = signs.sum() * np.sign(mean)
    clear = abs(mean) > 2 * se or agreement > 2 * np.sqrt(max(1, np.abs(signs).sum()))
    return bool(clear), float((signs < 0).mean())


def _error(findings: Findings, part: TaskLosses) -> float:
    return mean_error(findings.metric, part.loss, part.n_rows, part.task)[0]
