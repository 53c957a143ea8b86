"""How two rows of a task are alike: the kernel of the deviation, a sum of P components.

    k(x, x') = ψ(x)ᵀψ(x') + Σ_c θ_c 1[x_c = x_c'] + Σ_j θ'_j exp(−2 (l_j − l_j')²) + θ_F K_F
    ψ(x) = (√θ_0, √θ_j l_j, …, a_1ᵀ(1, l), a_2ᵀ(1, l))

The linear features l are the shared mean's two parts f̃_w and f̃_b, then numbers: standardised, clipped to their meta-train
range and to ±4, 0 where missing. Categories (missing is a category of its own) and numbers take part if they vary within at
least a tenth of the tasks. Level and slopes vary on their own and, along two learned directions a, together; the bumps (length
½) are there only where a number has more than two values. All θ are relative to the noise variance σ², so that K + I is never
singular.
"""

from typing import NamedTuple

import numba
import numpy as np

from upstairs.compiled import FAST
from upstairs.tasks import Tasks

__all__ = [
    "NEGLIGIBLE",
    "FeatureMap",
    "Prior",
    "Rows",
    "bump",
    "compare",
    "learn_features",
    "project",
    "take",
    "to_rows",
    "with_constant",
]

MOST = 4.0
FEWEST_TASKS = 0.1
NEGLIGIBLE = 2e-5
"""A variance at its floor: its component isn't worth computing."""


class FeatureMap(NamedTuple):
    """From rows of numbers to the features that the kernel compares.

    Attributes
    ----------
    mean_center, mean_scale : float64 [2]
        Standardise f_w and f_b.
    numbers : int32 [J]
        Columns of X.
    low, high : float32 [J]
    categories : int32 [C]
        Columns of X.
    bumps : int32 [R]
        Positions among the linear features.
    """

    mean_center: np.ndarray
    mean_scale: np.ndarray
    numbers: np.ndarray
    low: np.ndarray
    high: np.ndarray
    categories: np.ndarray
    bumps: np.ndarray


class Rows(NamedTuple):
    """Rows as the deviation sees them.

    Attributes
    ----------
    f_w, f_b : float64 [n]
    linear : float32 [n, 2 + J]
    category : int16 [n, C]
    leaf : uint8 [n, M]
    """

    f_w: np.ndarray
    f_b: np.ndarray
    linear: np.ndarray
    category: np.ndarray
    leaf: np.ndarray


def learn_features(tasks: Tasks, f_w: np.ndarray, f_b: np.ndarray) -> FeatureMap:
    """Choose the columns that vary within tasks."""
    X = tasks.X
    filled = np.where(np.isnan(X), np.float32(-1e9), X)
    starts = tasks.offsets[:-1]
    varies = np.maximum.reduceat(filled, starts, axis=0) > np.minimum.reduceat(filled, starts, axis=0)
    several = tasks.sizes > 1
    often = varies[several].mean(axis=0) >= FEWEST_TASKS if several.any() else np.zeros(X.shape[1], bool)
    numbers = np.flatnonzero(often & (tasks.levels == 0))
    many_values = [len(np.unique(X[~np.isnan(X[:, j]), j][:2000])) > 2 for j in numbers]
    return FeatureMap(
        np.array([f_w.mean(), f_b.mean()]),
        np.array([_scale(f_w), _scale(f_b)]),
        numbers.astype(np.int32),
        np.maximum(np.nanmin(X[:, numbers], axis=0), -MOST).astype(np.float32),
        np.minimum(np.nanmax(X[:, numbers], axis=0), MOST).astype(np.float32),
        np.flatnonzero(often & (tasks.levels > 0)).astype(np.int32),
        (2 + np.flatnonzero(many_values)).astype(np.int32),
    )


def to_rows(features: FeatureMap, X: np.ndarray, f_w: np.ndarray, f_b: np.ndarray, leaf: np.ndarray) -> Rows:
    """Features of rows X float32 [n, p]."""
    linear = np.empty((len(X), 2 + len(features.numbers)), np.float32)
    means = (np.column_stack([f_w, f_b]) - features.mean_center) / features.mean_scale
    linear[:, :2] = np.clip(means, -MOST, MOST)
    linear[:, 2:] = np.nan_to_num(np.clip(X[:, features.numbers], features.low, features.high))
    category = np.nan_to_num(X[:, features.categories], nan=-1).astype(np.int16)
    # loops are compiled anew for each layout of their arrays
    return Rows(*map(np.ascontiguousarray, (f_w, f_b, linear, category, leaf)))


def take(rows: Rows, index: np.ndarray) -> Rows:
    """The given rows."""
    return Rows(*(field[index] for field in rows))


class Prior(NamedTuple):
    """Parameters of the deviation, all variances relative to ``sigma2``.

    Attributes
    ----------
    linear : float64 [3 + J]
        Variances of the level and of the slopes on f̃_w, f̃_b and the numbers.
    slopes : float64 [2, 3 + J]
        Directions in which level and slopes move together.
    category : float64 [C]
    bump : float64 [R]
    leaf : float
    rho : float
        Level mixing.
    sigma2 : float
    """

    linear: np.ndarray
    slopes: np.ndarray
    category: np.ndarray
    bump: np.ndarray
    leaf: float
    rho: float
    sigma2: float


def project(prior: Prior, linear: np.ndarray) -> np.ndarray:
    """ψ [n, 5 + J], whose inner products are the linear part of the kernel."""
    full = with_constant(linear)
    return np.concatenate([full * np.sqrt(prior.linear), full @ prior.slopes.T], axis=-1)


def with_constant(linear: np.ndarray) -> np.ndarray:
    """(1, l), float64."""
    return np.concatenate([np.ones((*linear.shape[:-1], 1)), linear], axis=-1)


@numba.njit(inline="always", fastmath=FAST)
def bump(gap):  # pragma: no cover (compiled)
    """exp(−2 gap²) for |gap| ≤ 2 `MOST`, within 10⁻¹¹: Taylor's sum of a 64th of the exponent, squared six times.

    Without a branch or a call, so that a vector holds several.
    """
    z = gap * gap * (-2 / 64)
    e = 1 + z * (1 + z * (1 / 2 + z * (1 / 6 + z * (1 / 24 + z * (1 / 120 + z * (1 / 720))))))
    e *= e
    e *= e
    e *= e
    e *= e
    e *= e
    return e * e


@numba.njit(inline="always", fastmath=FAST)
def compare(
    psi, smooth, category, leaf, first, psi2, smooth2, category2, leaf2, first2, th_category, th_bump, th_leaf, upper, K
):  # pragma: no cover (compiled)
    """k between rows ``first``, … of one set and rows ``first2``, … of another, into K [n, m]; its upper triangle is enough.

    ``smooth`` [., R] are the features that have bumps. A call for each pair would take longer than what is compared.
    """
    for i in range(K.shape[0]):
        a = first + i
        for j in range(i if upper else 0, K.shape[1]):
            b = first2 + j
            total, bumps, same = 0.0, 0.0, np.int32(0)
            for p in range(psi.shape[1]):
                total += psi[a, p] * psi2[b, p]
            for c in range(category.shape[1]):
                if category[a, c] == category2[b, c]:
                    total += th_category[c]
            for r in range(smooth.shape[1]):
                bumps += th_bump[r] * bump(np.float64(smooth[a, r] - smooth2[b, r]))
            if th_leaf > 0 and leaf.shape[1] > 0:
                for m in range(leaf.shape[1]):
                    same = np.int32(same + np.int32(leaf[a, m] == leaf2[b, m]))
                total += th_leaf * same / leaf.shape[1]
            K[i, j] = total + bumps


def _scale(f: np.ndarray) -> float:
    sd = float(f.std())
    return sd if sd > 1e-9 else 1.0
