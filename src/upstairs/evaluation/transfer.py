"""Negative transfer: unseen tasks on which learning across tasks did harm, since a model of their own rows alone was better.

That model is the baseline ``task-ridge``. A task has few query rows, so that chance alone turns some of these comparisons.
"""

from typing import Any

import numpy as np

from upstairs.errors import UpstairsError
from upstairs.evaluation.losses import Findings, TaskLosses, by
from upstairs.evaluation.tables import columns_of

__all__ = ["OWN", "negative_transfer"]

OWN = "task-ridge"
"""The learner that knows nothing of other tasks."""


def negative_transfer(findings: Findings) -> dict[str, list]:
    """By learner and shots of 1 and more: the share of unseen tasks, and which they are, the worst first."""
    if OWN not in findings.learners:
        raise UpstairsError(
            f"Negative transfer is told by the baseline {OWN!r}, which wasn't evaluated; leave baselines=True, or pass it "
            "among the meta-learners."
        )
    own = findings.learners.index(OWN)
    parts = {at: part for at, part in by(findings.losses, "shots", "learner") if at[0] > 0}
    return columns_of(
        {"learner": findings.learners[learner], "shots": shots, **_compare(findings, part, parts[shots, own])}
        for (shots, learner), part in sorted(parts.items(), key=lambda item: item[0][::-1])
        if learner != own
    )


def _compare(findings: Findings, part: TaskLosses, alone: TaskLosses) -> dict[str, Any]:
    """Both parts hold the same tasks in the same order."""
    able = (part.n_support > 0) & (part.n_rows > 0)
    harm = (part.loss - alone.loss)[able] / part.n_rows[able]
    worst = np.argsort(-harm, kind="stable")[: int((harm > 0).sum())]
    n_tasks = len(harm)
    share = len(worst) / n_tasks if n_tasks else np.nan
    return {
        "n_tasks": n_tasks,
        "share": share,
        "share_se": float(np.sqrt(share * (1 - share) / n_tasks)) if n_tasks else np.nan,
        "tasks": findings.ids[part.task[able][worst]].tolist(),
    }
