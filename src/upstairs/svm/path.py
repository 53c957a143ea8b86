"""The path of meta-models along λ: from the widest margin, θ = 0, to the smallest loss.

    min ½‖θ‖² subject to Ē(θ) ≤ ε    has the Lagrangian    ½‖θ‖² + λ (Ē(θ) − ε)

so each λ solves the constrained problem for the budget ε = Ē(θ_λ), which falls as λ grows. A given budget is a root in log λ.
Without one, the budget is bought by what it is for: of all points of the path whose held-out loss is within one standard error
(over tasks) of the smallest, the one with the widest margin is taken (Breiman et al. 1984, section 3.4.3).
"""

from typing import NamedTuple

import numpy as np
from scipy import optimize

from upstairs.errors import UpstairsError
from upstairs.svm.machine import Machine, solve
from upstairs.svm.problem import Solution
from upstairs.svm.rows import Rows, column

__all__ = ["GRID", "PRECISE", "Path", "mean_score", "meet_budget", "solve_outputs", "widest_margin"]

GRID = 10.0 ** np.arange(-1, 4.5, 0.5)
"""λ / T."""
SMALLEST = 1e-7
"""λ / T at which θ is as good as 0."""
PATH_TOLERANCE, BUDGET_TOLERANCE = 1e-4, 1e-3
"""Relative duality gap of the path; how near to the budget its loss has to be, in units of the budget."""
PRECISE = 1e-7
"""Relative duality gap at which the loss is as near as that: it errs by the root."""
N_BOOTSTRAPS, STANDARD_ERRORS = 200, 1.0


class Path(NamedTuple):
    """One line for each λ, the widest margin first.

    Attributes
    ----------
    lam : float64 [L]
    loss : float64 [L]
        Ē(θ).
    norm : float64 [L]
        ‖θ‖.
    n_support, n_support_tasks : int64 [L]
        Rows with a slope, and tasks with such rows.
    held_out : float64 [L]
        Log loss, or half the log of the squared error of u, on tasks held out: the mean over numbers of shots.
    """

    lam: np.ndarray
    loss: np.ndarray
    norm: np.ndarray
    n_support: np.ndarray
    n_support_tasks: np.ndarray
    held_out: np.ndarray


def solve_outputs(
    machine: Machine, rows: Rows, lam: float, C: float, tolerance: float, start: list[Solution] | None = None
) -> list[Solution]:
    """The joint problem of each output, with one λ."""
    return [
        solve(machine, rows.phi, column(rows.Y, c), rows.offsets, lam, C, tolerance, None if start is None else start[c])
        for c in range(rows.Y.shape[1])
    ]


def widest_margin(losses: np.ndarray, counts: np.ndarray, log: bool, rng: np.random.Generator) -> tuple[int, np.ndarray]:
    """Which of several candidates [A], sorted by preference, and the score of each.

    Parameters
    ----------
    losses : float64 [A, B, T]
        Held-out loss of each candidate, summed over the rows of each task, at each number of shots.
    counts : float64 [B, T]
        Rows behind them.
    log : bool
        Is the score half the mean log of the loss, or its mean?

    Returns
    -------
    choice : int
        The first candidate whose score isn't worse than the best by more than one standard error of their difference.
    score : float64 [A]
    """

    n_tasks = losses.shape[2]
    own = mean_score(losses, counts, log)
    draws = rng.multinomial(n_tasks, np.full(n_tasks, 1 / n_tasks), size=N_BOOTSTRAPS)
    scores = np.array([mean_score(losses, counts, log, weight) for weight in draws])
    best = int(np.argmin(own))
    error = np.nanstd(scores - scores[:, [best]], axis=0)
    return int(np.flatnonzero(own - own[best] <= STANDARD_ERRORS * error)[0]), own


def mean_score(losses: np.ndarray, counts: np.ndarray, log: bool, weight: np.ndarray | float = 1.0) -> np.ndarray:
    """Score [...] of losses [..., B, T] (see `widest_margin`), where tasks weigh differently."""
    rows = (counts * weight).sum(axis=-1)
    mean = ((losses * weight).sum(axis=-1))[..., rows > 0] / rows[rows > 0]
    return (0.5 * np.log(np.maximum(mean, 1e-300)) if log else mean).mean(axis=-1)


def meet_budget(machine: Machine, rows: Rows, budget: float, C: float) -> float:
    """λ at which the loss Ē is the budget; 0 where θ = 0 already meets it.

    Raises
    ------
    UpstairsError
        Where no θ does.
    """
    n_tasks = len(rows.offsets) - 1
    found: dict[float, list[Solution]] = {}

    def excess(log_lam: float) -> float:
        start = found[min(found, key=lambda other: abs(other - log_lam))] if found else None
        found[log_lam] = solve_outputs(machine, rows, n_tasks * np.exp(log_lam), C, PRECISE, start)
        return float(np.mean([one.loss for one in found[log_lam]])) / budget - 1

    below = np.log(SMALLEST)
    if excess(below) <= 0:
        return 0.0
    for above in np.log(GRID):
        if excess(above) <= 0:
            return n_tasks * float(np.exp(optimize.brentq(excess, below, above, xtol=1e-6)))
        below = above
    least = min(np.mean([one.loss for one in outputs]) for outputs in found.values())
    raise UpstairsError(
        f"loss_budget={budget:g} can't be met: the smallest loss that is attainable here is about {least:.4g}. "
        'Give a larger budget, or "auto".'
    )
