"""Both kinds of overfitting: within a task, support against query; across tasks, known against unseen ones.

support_error   on the very rows that the meta-learner was adapted to
query_error     on other rows of the same unseen tasks
known_error     on held-out rows of tasks that were learned from (all of whose other rows help)
unseen_error    on the same rows while their tasks were unseen, after so many shots
"""

from typing import Any

import numpy as np

from upstairs.evaluation.losses import Findings, KnownLosses, TaskLosses, by, mean_error
from upstairs.evaluation.tables import columns_of

__all__ = ["overfitting", "unseen_and_known"]


def overfitting(findings: Findings) -> dict[str, list]:
    """By learner and shots; NaN where there is nothing to compare."""
    known = {learner: part for (learner,), part in by(findings.known, "learner")}

    def row(at: tuple[int, ...], part: TaskLosses) -> dict[str, Any]:
        learner, shots = at
        seen, held = unseen_and_known(part, known[learner]) if learner in known else (None, None)
        means = {
            "support": (part.support_loss, part.n_support, part.task),
            "query": (part.loss, part.n_rows, part.task),
            "known": (seen.loss, seen.n_rows, seen.task) if seen else None,
            "unseen": (held.held_loss, held.n_held, held.task) if held else None,
        }
        figures: dict[str, float] = {}
        for name, sums in means.items():
            error, se = mean_error(findings.metric, *sums) if sums else (np.nan, np.nan)
            figures |= {f"{name}_error": error, f"{name}_error_se": se}
        return {"learner": findings.learners[learner], "shots": shots, **figures}

    return columns_of(row(at, part) for at, part in by(findings.losses, "learner", "shots"))


def unseen_and_known(part: TaskLosses, known: KnownLosses) -> tuple[KnownLosses, TaskLosses]:
    """Both tables cut to the tasks that they share; whole where they share none, as with a single fold."""
    both = np.intersect1d(part.task[part.n_held > 0], known.task)
    if not len(both):
        return known, part
    return (
        KnownLosses(*(column[np.isin(known.task, both)] for column in known)),
        TaskLosses(*(column[np.isin(part.task, both)] for column in part)),
    )
