"""The shared mean in two parts: f_w, the effect of x within tasks, and f_b, the level that x alone predicts.

    f_w   boosting with the task level removed, the average of three members: one starts from zero, two from a linear fit by
          generalised least squares, the last of them with random thresholds (without a member whose held-out error is more
          than 3 % above the best)
    f_b   plain pooled boosting started from f_w, kept if it lowers the held-out loss

A zero-shot prediction is f_w + f_b. K models are fitted, each blind to one fold of tasks; an unseen task gets their average, a
known one the model that never saw it, and everything that is learned later uses these out-of-task values.
"""

from typing import NamedTuple

import numpy as np
from scipy import linalg
from scipy.special import expit

from upstairs.design import Design, design_matrix, learn_design
from upstairs.forest.boosting import Fold, Loss, boost
from upstairs.forest.losses import (
    newton_offsets,
    pooled_class_loss,
    pooled_loss,
    within_class_loss,
    within_loss,
)
from upstairs.levels import task_sums, variance_components
from upstairs.tasks import Tasks
from upstairs.trees import Booster, Trees, flatten, sum_of

__all__ = ["SharedMean", "learn_shared_mean", "predict_mean"]

LEAVES = (5, 31)
MEMBERS = ((False, False), (True, False), (True, True))
"""Of each member: does it start from the linear fit, and are its thresholds extremely randomised?"""
MARGIN = 1.03
PENALTY = 1.0


class SharedMean(NamedTuple):
    """K fold models of f_w and f_b.

    Attributes
    ----------
    design : Design
    coef : float64 [K, d]
        The linear start, already times its member's weight.
    trees : Trees
        Group 2k adds to f_w of fold k, group 2k + 1 to its f_b.
    boosters : tuple of Booster
        The same trees as LightGBM reads them, for explanations.
    """

    design: Design
    coef: np.ndarray
    trees: Trees
    boosters: tuple[Booster, ...]


def learn_shared_mean(
    tasks: Tasks, u: np.ndarray, folds: list[Fold], classify: bool, learning_rate: float, rng: np.random.Generator,
    logs: bool = False,
) -> tuple[SharedMean, np.ndarray, np.ndarray]:  # fmt: skip
    """Fit f_w and f_b to u [n] (numbers on the learner's scale, or 0 and 1); ``logs`` as in `learn_design`.

    Returns
    -------
    mean : SharedMean
    f_w, f_b : float64 [n]
        Of each row, by the fold model that never saw its task.
    """
    seed = int(rng.integers(2**31 - 1))
    design = learn_design(tasks, logs)
    D = design_matrix(design, tasks.X)
    if classify:
        coef = np.stack([_logistic_ridge(D[fold.rows], u[fold.rows], fold.offsets) for fold in folds])
        within, pooled = (lambda start: within_class_loss(u)), pooled_class_loss(u)
    else:
        coef = np.stack([_gls_ridge(D[fold.rows], u[fold.rows], fold.offsets) for fold in folds])
        within, pooled = (
            (lambda start: within_loss(u, *variance_components(u - start.mean(axis=0), tasks.offsets))),
            pooled_loss(u),
        )
    zero, linear = np.zeros((len(folds), len(u))), coef @ D.T
    leaves = _choose_leaves(folds, zero, within(zero), seed, learning_rate)
    starts = [linear if is_linear else zero for is_linear, _ in MEMBERS]
    members = [
        boost(folds, start, within(start), leaves, seed + m, learning_rate, extra_trees)
        for m, (start, (_, extra_trees)) in enumerate(zip(starts, MEMBERS, strict=True))
    ]
    weight = _weigh_members(np.array([member.error for member in members]))
    coef = coef * sum(w for w, (is_linear, _) in zip(weight, MEMBERS, strict=True) if is_linear)

    # f_b starts from each fold's own f_w, on the rows that the fold was fitted on and on those held out from it
    boosters = [
        Booster(text, float(w), 2 * k)
        for member, w in zip(members, weight, strict=True)
        if w > 0
        for k, text in enumerate(member.texts())
    ]
    f_w = np.stack([_alone(boosters, tasks.X, 2 * k) for k in range(len(folds))]) + coef @ D.T
    between = boost(folds, f_w, pooled, leaves, seed + len(MEMBERS), learning_rate)
    boosters += [Booster(text, 1.0, 2 * k + 1) for k, text in enumerate(between.texts())]
    mean = SharedMean(design, coef, flatten(boosters), tuple(boosters))
    held_f_w, held_f_b = np.empty(len(u)), np.empty(len(u))
    for k, fold in enumerate(folds):
        held_f_w[fold.held_rows] = f_w[k, fold.held_rows]
        held_f_b[fold.held_rows] = _alone(boosters, tasks.X[fold.held_rows], 2 * k + 1)
    return mean, held_f_w, held_f_b


def predict_mean(mean: SharedMean, X: np.ndarray, fold: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """f_w and f_b, float64 [n] each, of rows X [n, p] by the model of each row's fold [n]; fold -1 is the average."""
    n_folds = len(mean.coef)
    D = design_matrix(mean.design, X)
    if (fold < 0).all():
        trees = mean.trees._replace(group=mean.trees.group % 2)
        f = sum_of(trees, X, 2) / n_folds
        return f[:, 0] + D @ mean.coef.mean(axis=0), f[:, 1]
    f = sum_of(mean.trees, X, 2 * n_folds).reshape(len(X), n_folds, 2)
    f[:, :, 0] += D @ mean.coef.T
    own = np.where((fold < 0)[:, None], f.mean(axis=1), f[np.arange(len(X)), np.maximum(fold, 0)])
    return own[:, 0], own[:, 1]


def _choose_leaves(folds: list[Fold], start: np.ndarray, loss: Loss, seed: int, learning_rate: float) -> int:
    """The better number of leaves, on two folds; members differ little in it."""
    errors = [boost(folds[:2], start[:2], loss, leaves, seed, learning_rate).error for leaves in LEAVES]
    return LEAVES[int(np.argmin(errors))]


def _weigh_members(errors: np.ndarray) -> np.ndarray:
    """The same weight for all members but those clearly worse than the best."""
    good = errors <= MARGIN * errors.min()
    return good / good.sum()


def _alone(boosters: list[Booster], X: np.ndarray, group: int) -> np.ndarray:
    """Sum [n] of one group's trees."""
    return sum_of(flatten([booster._replace(group=0) for booster in boosters if booster.group == group]), X, 1)[:, 0]


def _gls_ridge(D: np.ndarray, u: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Random-intercept least squares: rows and targets lose a_t of their task's mean, a_t = 1 − √(w / (w + n_t b))."""
    sizes = np.diff(offsets)
    D_mean, u_mean = _task_means(D, offsets), _task_means(u[:, None], offsets)[:, 0]
    coef = np.zeros(D.shape[1])
    for _ in range(2):
        w, b = variance_components(u - D @ coef, offsets)
        a = np.repeat(1 - np.sqrt(w / (w + sizes * b)), sizes)
        D_part, u_part = D - a[:, None] * D_mean, u - a * u_mean
        coef = linalg.solve(D_part.T @ D_part + _penalty(D), D_part.T @ u_part, assume_a="pos")
    return coef


def _logistic_ridge(D: np.ndarray, y: np.ndarray, offsets: np.ndarray, steps: int = 8) -> np.ndarray:
    """Logistic regression about task offsets, offsets and coefficients in turn by Newton steps."""
    coef, o = np.zeros(D.shape[1]), np.zeros(len(offsets) - 1)
    for _ in range(steps):
        o = newton_offsets(y, D @ coef, offsets, o, steps=1)
        p = expit(D @ coef + np.repeat(o, np.diff(offsets)))
        weight = np.maximum(p * (1 - p), 1e-4)
        hessian = (D * weight[:, None]).T @ D + _penalty(D)
        coef += linalg.solve(hessian, D.T @ (y - p) - _penalty(D) @ coef, assume_a="pos")
    return coef


def _penalty(D: np.ndarray) -> np.ndarray:
    return np.diag([1e-8] + [PENALTY] * (D.shape[1] - 1))


def _task_means(values: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Mean of the rows of each task, repeated for each of its rows [n, d]."""
    sizes = np.diff(offsets)
    return np.repeat(task_sums(values, offsets) / sizes[:, None], sizes, axis=0)
