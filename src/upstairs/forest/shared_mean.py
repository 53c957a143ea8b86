"""The shared mean in two parts: f_w, the effect of x within tasks, and f_b, the level that x alone predicts.

    f_w   boosting with the task level removed, the average of three members: one starts from zero, two from a linear fit by
          generalised least squares, the last of them with random thresholds (without a member whose held-out error is more
          than 3 % above the best)
    f_b   what plain pooled boosting, which sees levels too, adds to f_w: the average of a member that starts from f_w and one
          that starts from zero (weighed as above), blended with one that starts from a ridge and has random thresholds.
          Trees know no slope beyond the tasks they saw, and a line may know a wrong one: held-out tasks tell how much of each

A zero-shot prediction is f_w + f_b. K models are fitted, each blind to one fold of tasks; an unseen task gets their average, a
known one the model that never saw it, and everything that is learned later uses these out-of-task values. Once they have chosen
leaves, rounds and weights, one model of all tasks can take the average's place: a K-th of the trees, and hardly less accurate.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.special import expit

from upstairs.blending import blend_weights
from upstairs.design import Design, design_matrix, learn_design
from upstairs.forest.boosting import Boosted, Fold, Loss, boost, grow
from upstairs.forest.losses import (
    pooled_class_loss,
    pooled_loss,
    within_class_loss,
    within_loss,
)
from upstairs.levels import variance_components
from upstairs.ridge import gls_ridge, logistic_ridge, pooled_logistic_ridge, pooled_ridge
from upstairs.tasks import Tasks
from upstairs.trees import Booster, Trees, flatten, sum_of

__all__ = ["Chosen", "SharedMean", "learn_shared_mean", "learn_whole_mean", "predict_mean"]

LEAVES = (5, 31)
MEMBERS = ((False, False), (True, False), (True, True))
"""Of each member: does it start from the linear fit, and are its thresholds extremely randomised?"""
MARGIN = 1.03
LINE = 2
"""The member of f_b that starts from a line."""


class SharedMean(NamedTuple):
    """K fold models of f_w and f_b.

    Attributes
    ----------
    design : Design
    coef : float64 [K, 2, d]
        The linear starts of f_w and f_b, already times their members' weight.
    share : float
        Of f_w, to be taken from f_b: the weight of its members that don't start from f_w.
    trees : Trees
        Group 2k adds to f_w of fold k, group 2k + 1 to its f_b.
    boosters : tuple of Booster
        The same trees as LightGBM reads them, for explanations.
    """

    design: Design
    coef: np.ndarray
    share: float
    trees: Trees
    boosters: tuple[Booster, ...]


class Chosen(NamedTuple):
    """What held-out tasks chose: of the members of f_w and f_b, ``weight`` float64 [2, 3] and ``rounds`` int [2, 3], 0 without
    weight."""

    seed: int
    leaves: int
    rounds: np.ndarray
    weight: np.ndarray


class _Kind(NamedTuple):
    """How numbers are fitted, or two classes: linear fits (D, u, offsets) -> [d], and losses."""

    ridge: Callable
    level_ridge: Callable
    within: Callable[[np.ndarray], Loss]
    pooled: Loss


def learn_shared_mean(
    tasks: Tasks, u: np.ndarray, folds: list[Fold], classify: bool, learning_rate: float, rng: np.random.Generator,
    logs: bool = False,
) -> tuple[SharedMean, np.ndarray, np.ndarray, Chosen]:  # fmt: skip
    """Fit f_w and f_b to u [n] (numbers on the learner's scale, or 0 and 1); ``logs`` as in `learn_design`.

    Returns
    -------
    mean : SharedMean
    f_w, f_b : float64 [n]
        Of each row, by the fold model that never saw its task.
    chosen : Chosen
    """
    seed = int(rng.integers(2**31 - 1))
    design = learn_design(tasks, logs)
    D = design_matrix(design, tasks.X)
    kind = _kind(tasks, u, classify)
    coef, starts = _starts_within(kind, D, u, folds)
    leaves = _choose_leaves(folds, starts[0], kind.within(starts[0]), seed, learning_rate)
    members = [
        boost(folds, start, kind.within(start), leaves, seed + m, learning_rate, extra_trees)
        for m, (start, (_, extra_trees)) in enumerate(zip(starts, MEMBERS, strict=True))
    ]
    weight = _weigh_members(np.array([member.error for member in members]))
    coef = coef * _share_of_line(weight)
    boosters = _weighted(members, weight, 0)
    f_w = _sums(boosters, tasks.X, len(folds)) + coef @ D.T

    level_coef, starts = _starts_level(kind, D, u, folds, f_w)
    level_members = [
        boost(folds, start, kind.pooled, leaves, seed + len(MEMBERS) + m, learning_rate, extra_trees=m == LINE)
        for m, start in enumerate(starts)
    ]
    held = np.stack([_held_out(folds, tasks.X, start, member) for start, member in zip(starts, level_members, strict=True)])
    level_weight = _weigh_level(level_members, expit(held) if classify else held, u, tasks, rng)
    held_f_w = _held_out(folds, tasks.X, f_w)
    weights = np.stack([weight, level_weight])
    rounds = [[member.rounds for member in part] for part in (members, level_members)]
    chosen = Chosen(seed, leaves, np.where(weights > 0, rounds, 0), weights)
    boosters += _weighted(level_members, level_weight, 1)
    return _assemble(design, coef, level_coef, boosters, level_weight), held_f_w, level_weight @ held - held_f_w, chosen


def learn_whole_mean(
    tasks: Tasks, u: np.ndarray, whole: Fold, classify: bool, learning_rate: float, mean: SharedMean, chosen: Chosen
) -> SharedMean:
    """One model of all tasks, as the K of ``mean`` have ``chosen`` it."""
    D = design_matrix(mean.design, tasks.X)
    kind = _kind(tasks, u, classify)
    coef, starts = _starts_within(kind, D, u, [whole])
    members = [
        grow(whole, start, kind.within(start), chosen.leaves, chosen.seed + m, learning_rate, rounds, extra_trees)
        for m, (start, rounds, (_, extra_trees)) in enumerate(zip(starts, chosen.rounds[0], MEMBERS, strict=True))
    ]
    coef = coef * _share_of_line(chosen.weight[0])
    boosters = _weighted(members, chosen.weight[0], 0)
    f_w = _sums(boosters, tasks.X, 1) + coef @ D.T

    level_coef, starts = _starts_level(kind, D, u, [whole], f_w)
    members = [
        grow(whole, start, kind.pooled, chosen.leaves, chosen.seed + len(MEMBERS) + m, learning_rate, rounds, m == LINE)
        for m, (start, rounds) in enumerate(zip(starts, chosen.rounds[1], strict=True))
    ]
    boosters += _weighted(members, chosen.weight[1], 1)
    return _assemble(mean.design, coef, level_coef, boosters, chosen.weight[1])


def predict_mean(mean: SharedMean, X: np.ndarray, fold: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """f_w and f_b, float64 [n] each, of rows X [n, p] by the model of each row's fold [n]; fold -1 is the average."""
    n_folds = len(mean.coef)
    D = design_matrix(mean.design, X)
    if (fold < 0).all():
        trees = mean.trees._replace(group=mean.trees.group % 2)
        own = sum_of(trees, X, 2) / n_folds + D @ mean.coef.mean(axis=0).T
    else:
        f = sum_of(mean.trees, X, 2 * n_folds).reshape(len(X), n_folds, 2) + np.einsum("ni,kpi->nkp", D, mean.coef)
        own = np.where((fold < 0)[:, None], f.mean(axis=1), f[np.arange(len(X)), np.maximum(fold, 0)])
    return own[:, 0], own[:, 1] - mean.share * own[:, 0]


def _kind(tasks: Tasks, u: np.ndarray, classify: bool) -> _Kind:
    if classify:
        return _Kind(
            logistic_ridge, lambda D, u, _: pooled_logistic_ridge(D, u), lambda _: within_class_loss(u), pooled_class_loss(u)
        )

    def within(start: np.ndarray) -> Loss:
        return within_loss(u, *variance_components(u - start.mean(axis=0), tasks.offsets))

    return _Kind(gls_ridge, lambda D, u, _: pooled_ridge(D, u), within, pooled_loss(u))


def _starts_within(kind: _Kind, D: np.ndarray, u: np.ndarray, folds: list[Fold]) -> tuple[np.ndarray, list[np.ndarray]]:
    """Linear fits [K, d], and what each member of f_w starts from [K, n]."""
    coef = np.stack([kind.ridge(D[fold.rows], u[fold.rows], fold.offsets) for fold in folds])
    zero, linear = np.zeros((len(folds), len(u))), coef @ D.T
    return coef, [linear if is_linear else zero for is_linear, _ in MEMBERS]


def _starts_level(
    kind: _Kind, D: np.ndarray, u: np.ndarray, folds: list[Fold], f_w: np.ndarray
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Pooled linear fits [K, d], and what each member of f_b starts from [K, n]."""
    coef = np.stack([kind.level_ridge(D[fold.rows], u[fold.rows], fold.offsets) for fold in folds])
    return coef, [f_w, np.zeros_like(f_w), coef @ D.T]


def _assemble(
    design: Design, coef: np.ndarray, level_coef: np.ndarray, boosters: list[Booster], level_weight: np.ndarray
) -> SharedMean:
    both = np.stack([coef, level_coef * level_weight[LINE]], axis=1)
    return SharedMean(design, both, float(1 - level_weight[0]), flatten(boosters), tuple(boosters))


def _choose_leaves(folds: list[Fold], start: np.ndarray, loss: Loss, seed: int, learning_rate: float) -> int:
    """The better number of leaves, on two folds; members differ little in it."""
    errors = [boost(folds[:2], start[:2], loss, leaves, seed, learning_rate).error for leaves in LEAVES]
    return LEAVES[int(np.argmin(errors))]


def _share_of_line(weight: np.ndarray) -> float:
    """Of f_w, the weight of the members that start from a line."""
    return sum(w for w, (is_linear, _) in zip(weight, MEMBERS, strict=True) if is_linear)


def _weigh_members(errors: np.ndarray) -> np.ndarray:
    """The same weight for all members but those clearly worse than the best."""
    good = errors <= MARGIN * errors.min()
    return good / good.sum()


def _weigh_level(members: list[Boosted], held: np.ndarray, u: np.ndarray, tasks: Tasks, rng: np.random.Generator) -> np.ndarray:
    """Weights [3] of the members of f_w + f_b, from their means [3, n] of u [n] in tasks they never saw."""
    trees = _weigh_members(np.array([member.error for member in members[:LINE]]))
    blend = blend_weights([trees @ held[:LINE], held[LINE]], u, tasks.task_of_row, rng)
    return np.append(blend[0] * trees, blend[1])


def _weighted(members: list[Boosted], weight: np.ndarray, part: int) -> list[Booster]:
    """The boosters of the members that count, in the groups of f_w (part 0) or f_b (part 1)."""
    return [
        Booster(text, float(w), 2 * k + part)
        for member, w in zip(members, weight, strict=True)
        if w > 0
        for k, text in enumerate(member.texts())
    ]


def _sums(boosters: list[Booster], X: np.ndarray, n_folds: int) -> np.ndarray:
    """Of the trees of f_w, by each fold model [K, n]."""
    return np.stack([_alone(boosters, X, 2 * k) for k in range(n_folds)])


def _alone(boosters: list[Booster], X: np.ndarray, group: int) -> np.ndarray:
    """Sum [n] of one group's trees."""
    return sum_of(flatten([booster._replace(group=0) for booster in boosters if booster.group == group]), X, 1)[:, 0]


def _held_out(folds: list[Fold], X: np.ndarray, start: np.ndarray, member: Boosted | None = None) -> np.ndarray:
    """What the fold that never saw a row's task says of it [n]: its start [K, n] and its trees."""
    out, texts = np.empty(start.shape[1]), member.texts() if member else []
    for k, fold in enumerate(folds):
        out[fold.held_rows] = start[k, fold.held_rows]
        if texts:
            out[fold.held_rows] += _alone([Booster(texts[k], 1.0, 0)], X[fold.held_rows], 0)
    return out
