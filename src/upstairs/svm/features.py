"""From a row to features φ(x) = (D Q, √κ k(x)): a linear part, and that of a kernel (`kernel`).

D is the row as numbers, with a constant, missing values flagged and categories one-hot (`upstairs.design`). Q turns it to where
M, which says how tasks differ, is diagonal; θ is penalised alike in all directions and doesn't notice.
"""

from typing import NamedTuple

import numpy as np

from upstairs.design import Design, design_matrix
from upstairs.svm.kernel import KernelMap, kernel_inputs, kernel_part

__all__ = ["NO_TURN", "Features", "feature_matrix", "with_kernel"]

NO_TURN = np.empty((0, 0))


class Features(NamedTuple):
    """φ.

    Attributes
    ----------
    design : Design
    map : KernelMap
    turn : float64 [1 + d, 1 + d]
        Q, orthogonal; empty where nothing is turned.
    """

    design: Design
    map: KernelMap
    turn: np.ndarray = NO_TURN

    def linear(self, weights: np.ndarray) -> np.ndarray:
        """Weights [..., 1 + d] of D, of weights [..., q] of φ."""
        some = weights[..., : 1 + len(self.design.column)]
        return some @ self.turn.T if self.turn.size else some

    def variances(self, relevance: np.ndarray) -> np.ndarray:
        """Of weights [1 + d] of D, of variances [q] of independent weights of φ."""
        some = relevance[: 1 + len(self.design.column)]
        return self.turn**2 @ some if self.turn.size else some


def feature_matrix(features: Features, X: np.ndarray) -> np.ndarray:
    """φ, float32 [n, q], for rows X float32 [n, p]."""
    return with_kernel(features.map, design_matrix(features.design, X), features.turn)


def with_kernel(kernel_map: KernelMap, D: np.ndarray, turn: np.ndarray = NO_TURN) -> np.ndarray:
    """The same for rows D [n, 1 + d]."""
    linear = (D @ turn if turn.size else D).astype(np.float32)
    if kernel_map.kernel == "linear":
        return linear
    phi = kernel_part(kernel_map, kernel_inputs(kernel_map, D), room=linear.shape[1])
    phi[:, : linear.shape[1]] = linear
    return phi
