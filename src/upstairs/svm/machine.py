"""Machines around a meta-model: of all tasks jointly, and of one task alone.

With features φ, task machines w_t = θ + v_t, a loss ℓ and a positive diagonal M (`outer` says what they mean),

    joint    min over θ, v_1..v_T of  ½‖θ‖² + Σ_t c_t (1/(2C) v_tᵀM⁻¹v_t + Σ_i ℓ(y_ti, w_tᵀφ_ti)),   c_t = λ / (T n_t)
    dual     max over s of  Σ_ti c_t (s_ti y_ti − tube |s_ti| − δ s_ti² / 2) − ½‖θ‖² − Σ_t c_t/(2C) v_tᵀM⁻¹v_t
             with  θ = Σ_ti c_t s_ti φ_ti,   v_t = C M Σ_i s_ti φ_ti

one support vector machine with the kernel φᵀφ′ + (C / c_t) [same task] φᵀMφ′ (Evgeniou & Pontil 2004). s_ti is the slope of
row i's loss: between 0 and y for the hinge (y = ±1, tube = 0), between −1 and 1 for the tube, without the far limit where the
loss is squared (δ = 1, else 0). The inner machine is the joint one with θ held fixed. Squared losses are solved by Newton's
method (`newton`), the others by descending coordinates of the dual (`coordinate_descent`).
"""

from typing import NamedTuple

import numpy as np

from upstairs.svm.coordinate_descent import adapt_by_coordinates, descend_coordinates
from upstairs.svm.newton import adapt_exactly, descend_newton

__all__ = ["LOSSES", "Loss", "Machine", "Solution", "adapt_machines", "combine", "make_loss", "solve"]

LOSSES = {
    "hinge": (True, False),
    "squared_hinge": (True, True),
    "epsilon_insensitive": (False, False),
    "squared_epsilon_insensitive": (False, True),
}


class Loss(NamedTuple):
    """Of target y and prediction f: e = max(0, 1 − yf) for the hinge, else max(0, |y − f| − tube); ½e² if squared."""

    hinge: bool
    squared: bool
    tube: float


class Machine(NamedTuple):
    """What rows are fitted with.

    relevance : float64 [q]
        Diagonal of M.
    """

    loss: Loss
    relevance: np.ndarray


class Solution(NamedTuple):
    """Of the joint problem.

    Attributes
    ----------
    theta : float64 [q]
    slope : float64 [n]
        s.
    loss : float
        Ē, the mean over tasks of L_t(θ) = (1/(2C) v_tᵀM⁻¹v_t + Σ_i ℓ_ti) / n_t.
    gap : float
        Duality gap over the primal objective.
    n_steps : int
    """

    theta: np.ndarray
    slope: np.ndarray
    loss: float
    gap: float
    n_steps: int


def make_loss(name: str, tube: float = 0.0) -> Loss:
    hinge, squared = LOSSES[name]
    return Loss(hinge, squared, 0.0 if hinge else tube)


def solve(
    machine: Machine, phi: np.ndarray, y: np.ndarray, offsets: np.ndarray, lam: float, C: float, tolerance: float,
    start: np.ndarray | None = None, seed: int = 0,
) -> Solution:  # fmt: skip
    """The joint problem, from slopes ``start`` [n] (of a neighbouring λ) to a relative duality gap.

    Parameters
    ----------
    phi : float32 [n, q]
    y : float64 [n]
        ±1 for the hinge.
    offsets : int64 [T + 1]
    lam, C : float
        λ and C.
    """
    sizes = np.diff(offsets)
    cost = lam / (len(sizes) * np.maximum(sizes, 1.0))
    low, high = limits(machine.loss, y)
    theta = np.zeros(phi.shape[1]) if start is None else combine(phi, cost, start, offsets)
    problem = (phi, y, offsets, cost, machine.loss, low, high, C, machine.relevance)
    slope = np.zeros(len(y)) if start is None else start.copy()
    if machine.loss.squared:
        # Newton's last step about squares the gap, and θ errs by its root
        slope, loss, gap, n_steps = descend_newton(*problem, theta, slope, tolerance**2)
    else:
        loss, gap, n_steps = descend_coordinates(*problem, theta, slope, tolerance, seed)
    return Solution(combine(phi, cost, slope, offsets), slope, loss / max(lam, 1e-300), gap, n_steps)


def combine(phi: np.ndarray, cost: np.ndarray, slope: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """θ [q] = Σ c_t s_ti φ_ti, from the support vectors alone."""
    weight = np.repeat(cost, np.diff(offsets)) * slope
    some = np.flatnonzero(weight)
    return weight[some] @ phi[some].astype(np.float64)


def adapt_machines(
    machine: Machine, phi: np.ndarray, y: np.ndarray, f: np.ndarray, offsets: np.ndarray, C: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Inner machines of T tasks around predictions f = θᵀφ [n], with C [T] of their own.

    Returns
    -------
    v : float64 [T, q]
    slope : float64 [n]
    """
    low, high = limits(machine.loss, y)
    problem = (phi, y, f, offsets, machine.loss, low, high, C, machine.relevance)
    return adapt_exactly(*problem) if machine.loss.squared else adapt_by_coordinates(*problem)


def limits(loss: Loss, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of s, [n] each."""
    far = np.inf if loss.squared else 1.0
    if loss.hinge:
        return np.where(y > 0, 0.0, -far), np.where(y > 0, far, 0.0)
    return np.full(len(y), -far), np.full(len(y), far)
