"""The tables of an evaluation: by fold, over all folds, by task, and calibration. A table is a dict of equally long lists."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from upstairs.evaluation.losses import COVERAGES, Findings, TaskLosses, by, mean_error
from upstairs.evaluation.metrics import mean_over_tasks

__all__ = ["calibration", "columns_of", "miscalibration", "scores", "summary", "task_errors"]

_NINE_TENTHS = int(np.argmax(COVERAGES == 0.9))


def scores(findings: Findings) -> dict[str, list]:
    """By learner, shots and fold."""

    def row(at: tuple[int, ...], part: TaskLosses) -> dict[str, Any]:
        learner, shots, fold = at
        return {
            "learner": findings.learners[learner],
            "shots": shots,
            "fold": fold,
            **_figures(findings, part),
            "fit_seconds": float(findings.fit_seconds[learner, fold]),
            "adapt_seconds": float(findings.adapt_seconds[learner, fold, findings.shots.index(shots)]),
        }

    return columns_of(row(at, part) for at, part in by(findings.losses, "learner", "shots", "fold"))


def summary(findings: Findings) -> dict[str, list]:
    """By learner and shots, over all folds; calibration is how far what was promised lies from what happened, on average."""

    def row(at: tuple[int, ...], part: TaskLosses) -> dict[str, Any]:
        learner, shots = at
        return {
            "learner": findings.learners[learner],
            "shots": shots,
            **_figures(findings, part),
            "calibration": miscalibration(part),
            "fit_seconds": float(findings.fit_seconds[learner].mean()),
            "adapt_seconds": float(findings.adapt_seconds[learner, :, findings.shots.index(shots)].mean()),
        }

    return columns_of(row(at, part) for at, part in by(findings.losses, "learner", "shots"))


def task_errors(findings: Findings) -> dict[str, list]:
    """By learner, shots, fold and unseen task."""
    losses = findings.losses
    order = np.lexsort((losses.task, losses.fold, losses.shots, losses.learner))
    losses = TaskLosses(*(column[order] for column in losses))
    with np.errstate(invalid="ignore"):
        error = losses.loss / losses.n_rows
    return {
        "learner": [findings.learners[at] for at in losses.learner.tolist()],
        "shots": losses.shots.tolist(),
        "fold": losses.fold.tolist(),
        "task": findings.ids[losses.task].tolist(),
        "n_rows": losses.n_rows.tolist(),
        "error": (np.sqrt(error) if findings.metric.root else error).tolist(),
    }


def calibration(findings: Findings) -> dict[str, list]:
    """Numbers: how often intervals hold what they should. Classes: how often a class is there that is given a probability."""
    table = _reliability if findings.metric.classes else _coverage
    return columns_of(
        {"learner": findings.learners[learner], "shots": shots, **row}
        for (learner, shots), part in by(findings.losses, "learner", "shots")
        for row in table(part)
    )


def columns_of(rows: Iterable[dict[str, Any]]) -> dict[str, list]:
    """Rows as columns."""
    rows = list(rows)
    return {name: [row[name] for row in rows] for name in (rows[0] if rows else ())}


def _figures(findings: Findings, part: TaskLosses) -> dict[str, Any]:
    error, error_se = mean_error(findings.metric, part.loss, part.n_rows, part.task)
    figures = {
        "n_tasks": len(np.unique(part.task)),
        "n_rows": int(part.n_rows.sum()),
        "error": error,
        "error_se": error_se,
        "relative_error": float(part.loss.sum() / part.naive_loss.sum()) if part.naive_loss.sum() > 0 else np.nan,
    }
    if findings.metric.classes:
        means = {"accuracy": part.right[:, 0]}
    else:
        means = {"crps": part.crps[:, 0], "coverage": part.covered[:, _NINE_TENTHS], "width": part.width[:, 0]}
    for name, total in means.items():
        mean, se = mean_over_tasks(total, part.n_rows, part.task)
        figures |= {name: float(mean), f"{name}_se": float(se)}
    return figures


def _coverage(part: TaskLosses) -> list[dict[str, Any]]:
    observed, se = mean_over_tasks(part.covered, part.n_rows, part.task)
    return [
        {"nominal": float(nominal), "observed": float(mean), "observed_se": float(error)}
        for nominal, mean, error in zip(COVERAGES, observed, se, strict=True)
    ]


def _reliability(part: TaskLosses) -> list[dict[str, Any]]:
    """One row for each bin that holds anything."""
    observed, se = mean_over_tasks(part.happened, part.binned, part.task)
    count, promised = part.binned.sum(axis=0), part.promised.sum(axis=0)
    return [
        {
            "predicted": float(promised[b] / count[b]),
            "observed": float(observed[b]),
            "observed_se": float(se[b]),
            "n_rows": int(count[b]),
        }
        for b in np.flatnonzero(count)
    ]


def miscalibration(part: TaskLosses) -> float:
    """How far what was promised, coverages or probabilities, lies from what happened, on average."""
    if part.covered.shape[1]:
        return float(np.abs(part.covered.sum(axis=0) / part.n_rows.sum() - COVERAGES).mean())
    gap = part.happened.sum(axis=0) - part.promised.sum(axis=0)
    return float(np.abs(gap).sum() / part.binned.sum())
