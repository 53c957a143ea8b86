"""What a row of a new task is worth: how much of the gain of many rows a few already bring."""

import math
from collections.abc import Sequence

import numpy as np

from upstairs.evaluation.losses import Findings
from upstairs.evaluation.tables import summary

__all__ = ["rows_needed", "value_curve"]


def value_curve(findings: Findings) -> dict[str, list]:
    """By learner and shots: the error, and the share of what the most shots gain over the fewest; NaN where that is nothing."""
    table = summary(findings)
    learners, shots, error = table["learner"], table["shots"], np.array(table["error"])
    share = np.full(len(error), np.nan)
    for learner in findings.learners:
        rows = [at for at, name in enumerate(learners) if name == learner]
        gain = error[rows[0]] - error[rows]
        if gain[-1] > 0:
            share[rows] = gain / gain[-1]
    columns = {"learner": learners, "shots": shots, "error": error.tolist(), "error_se": table["error_se"]}
    return {**columns, "share": share.tolist()}


def rows_needed(shots: Sequence[int], share: Sequence[float], wanted: float = 0.9) -> int | None:
    """The fewest rows that bring the wanted share, between two numbers of shots along a line in log(1 + shots)."""
    if not share or math.isnan(share[0]):
        return None
    at = next(i for i, value in enumerate(share) if value >= wanted)
    if at == 0:
        return shots[0]
    low, high = np.log1p(shots[at - 1]), np.log1p(shots[at])
    needed = np.expm1(low + (high - low) * (wanted - share[at - 1]) / (share[at] - share[at - 1]))
    return math.ceil(needed - 1e-9)
