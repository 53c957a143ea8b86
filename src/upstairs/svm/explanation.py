"""Margins split into what is shared and what the task's support said: exact sums, nothing refitted.

θᵀφ(x) is split by column: exactly for its linear part, by integrated gradients from the mean row for the kernel's
(Sundararajan et al. 2017, equation 1; what the quadrature misses stays with the constant). The task's own part is
v = C M Σ_i s_i φ_i, so that support row i moves the margin of x by C s_i φ_iᵀMφ(x); by columns, its linear part is level and
slopes, the kernel's is local.
"""

import numpy as np

from upstairs.design import by_column, design_matrix
from upstairs.prediction import Explanation
from upstairs.svm.features import Features, with_kernel
from upstairs.svm.kernel import kernel_inputs, kernel_part

__all__ = ["explain_machine"]

N_POINTS, STEP = 16, 1e-2
"""Points of the path along which gradients are integrated, and half the step of their differences."""


def explain_machine(
    features: Features, theta: np.ndarray, relevance: np.ndarray, C: float, support_phi: np.ndarray, slope: np.ndarray,
    X: np.ndarray, unit: float, offset: float,
) -> Explanation:  # fmt: skip
    """Explanation of query rows X [n, p] after a support φ [s, q] with slopes [s], in units of the logit (or of u)."""
    D = design_matrix(features.design, X)
    phi, d = with_kernel(features.map, D, features.turn).astype(np.float64), D.shape[1]
    shared = by_column(features.design, D * features.linear(theta) + _integrated(features, theta, D), X.shape[1])
    moves = C * (phi * relevance) @ support_phi.T * slope
    v = C * relevance * (slope @ support_phi)
    own = D * features.linear(v)
    return Explanation(
        base=unit * (phi @ theta - shared.sum(axis=1)) + offset,
        shared=unit * shared,
        level=unit * own[:, 0],
        scale=np.zeros(len(X)),
        slopes=unit * by_column(features.design, own, X.shape[1]),
        local=unit * phi[:, d:] @ v[d:],
        support=unit * moves,
        exact=features.map.kernel == "linear",
    )


def _integrated(features: Features, theta: np.ndarray, D: np.ndarray) -> np.ndarray:
    """Share [n, 1 + d] of each entry of D in the kernel's part of θᵀφ, from the row of means on, as the kernel sees both."""
    shares = np.zeros(D.shape)
    if features.map.kernel == "linear":
        return shares
    Z = kernel_inputs(features.map, D).astype(np.float64)
    rest = Z - kernel_inputs(features.map, np.zeros((1, D.shape[1])))

    def curve(Z: np.ndarray) -> np.ndarray:
        return kernel_part(features.map, Z.astype(np.float32)).astype(np.float64) @ theta[D.shape[1] :]

    for j in np.flatnonzero(rest.any(axis=0)):
        for t in (np.arange(N_POINTS) + 0.5) / N_POINTS:
            above = Z - (1 - t) * rest
            below = above.copy()
            above[:, j] += STEP
            below[:, j] -= STEP
            shares[:, 1 + j] += rest[:, j] * (curve(above) - curve(below)) / (2 * STEP * N_POINTS)
    return shares
