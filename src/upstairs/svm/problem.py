"""The joint problem of all tasks, which both solvers solve, and its losses.

With features φ, task machines w_t = θ + v_t, a loss ℓ and a positive M, diagonal by choice of φ (`outer` says what it means),

    joint    min over θ, v_1..v_T of  ½‖θ‖² + Σ_t c_t (1/(2C) v_tᵀM⁻¹v_t + Σ_i ℓ(y_ti, w_tᵀφ_ti)),   c_t = λ / (T n_t)
    dual     max over s of  Σ_ti c_t (s_ti y_ti − tube |s_ti| − δ s_ti² / 2) − ½‖θ‖² − Σ_t c_t/(2C) v_tᵀM⁻¹v_t
             with  θ = Σ_ti c_t s_ti φ_ti,   v_t = C M Σ_i s_ti φ_ti

one support vector machine with the kernel φᵀφ′ + (C / c_t) [same task] φᵀMφ′ (Evgeniou & Pontil 2004). s_ti is the slope of
row i's loss: between 0 and y for the hinge (y = ±1, tube = 0), between −1 and 1 for the tube, without the far limit where the
loss is squared (δ = 1, else 0).
"""

from typing import NamedTuple

import numpy as np

from upstairs.svm.rows import Made
from upstairs.tasks import offsets_of, rows_of

__all__ = ["LOSSES", "Joint", "Loss", "Solution", "make_loss"]

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


class Joint(NamedTuple):
    """The problem of one output.

    Attributes
    ----------
    phi : float32 [n, q]
    y : float64 [n]
        ±1 for the hinge.
    offsets : int64 [T + 1]
    loss : Loss
    relevance : float64 [q]
        Diagonal of M.
    lam, C : float
        λ and C.
    """

    phi: np.ndarray | Made
    y: np.ndarray | Made
    offsets: np.ndarray
    loss: Loss
    relevance: np.ndarray
    lam: float
    C: float

    @property
    def cost(self) -> np.ndarray:
        """c, float64 [T]."""
        return self.cost_of(np.diff(self.offsets))

    def cost_of(self, sizes: np.ndarray) -> np.ndarray:
        """c of some tasks with so many rows."""
        return self.lam / ((len(self.offsets) - 1) * np.maximum(sizes, 1.0))

    def sample(self, tasks: np.ndarray) -> "Joint":
        """The same with some tasks, in memory, that stand for all."""
        rows = rows_of(self.offsets, tasks)
        return self._replace(phi=self.phi[rows], y=self.y[rows], offsets=offsets_of(np.diff(self.offsets)[tasks]))


class Solution(NamedTuple):
    """Of the joint problem.

    Attributes
    ----------
    theta : float64 [q]
    slope : float64 [n]
        s.
    lam : float
    loss : float
        Ē, the mean over tasks of L_t(θ) = (1/(2C) v_tᵀM⁻¹v_t + Σ_i ℓ_ti) / n_t.
    gap : float
        Duality gap over the primal objective.
    n_steps : int
    """

    theta: np.ndarray
    slope: np.ndarray
    lam: float
    loss: float
    gap: float
    n_steps: int


def make_loss(name: str, tube: float = 0.0) -> Loss:
    hinge, squared = LOSSES[name]
    return Loss(hinge, squared, 0.0 if hinge else tube)
