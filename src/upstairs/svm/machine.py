"""Machines around a meta-model: of all tasks jointly, and of one task alone.

The inner machine is the joint one (`problem`) with θ held fixed. Squared losses are solved by Newton's method (`newton`) around
machines that are exact (`active_sets`), the others by descending coordinates of the dual (`coordinate_descent`).
"""

from typing import NamedTuple

import numpy as np

from upstairs.svm.active_sets import adapt_exactly
from upstairs.svm.coordinate_descent import adapt_by_coordinates, descend_coordinates
from upstairs.svm.newton import descend_newton
from upstairs.svm.problem import Joint, Loss, Solution
from upstairs.svm.rows import Made

__all__ = ["Machine", "adapt_machines", "solve"]


class Machine(NamedTuple):
    """What rows are fitted with.

    relevance : float64 [q]
        Diagonal of M.
    """

    loss: Loss
    relevance: np.ndarray


def solve(
    machine: Machine, phi: np.ndarray | Made, y: np.ndarray | Made, offsets: np.ndarray, lam: float, C: float,
    tolerance: float, start: Solution | None = None, seed: int = 0,
) -> Solution:  # fmt: skip
    """The joint problem, from the solution for a neighbouring λ to a relative duality gap; see `problem.Joint`."""
    joint = Joint(phi, y, offsets, machine.loss, machine.relevance, lam, C)
    slope = np.zeros(offsets[-1]) if start is None else start.slope.copy()
    if machine.loss.squared:
        theta = np.zeros(phi.shape[1]) if start is None else start.theta
        # Newton's last step about squares the gap, and θ errs by its root
        return descend_newton(joint, theta, slope, tolerance**2, seed)
    theta = np.zeros(phi.shape[1]) if start is None else lam / start.lam * start.theta
    return descend_coordinates(joint, theta, slope, tolerance, seed)


def adapt_machines(
    machine: Machine, phi: np.ndarray, y: np.ndarray, f: np.ndarray, offsets: np.ndarray, C: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Inner machines of T tasks around predictions f = θᵀφ [n], with C [T] of their own.

    Returns
    -------
    v : float64 [T, q]
    slope : float64 [n]
    """
    solver = adapt_exactly if machine.loss.squared else adapt_by_coordinates
    return solver(phi, y, f, offsets, machine.loss, C, machine.relevance)
