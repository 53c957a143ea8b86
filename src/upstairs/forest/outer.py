"""Outer learning of the meta random forest: many tasks -> the state that one task adapts from.

In order: the target's scale; the shared mean by folds of tasks; task-effect trees on what it leaves; the features in which
tasks differ; the prior of the deviation on episodes; Student's t and the calibration on fresh ones. Everything after the shared
mean is learned from out-of-task residuals, since in-task ones are too small and the prior would come out too tight.
"""

from typing import NamedTuple

import numpy as np
from scipy import stats
from scipy.special import expit

from upstairs.calibration import Calibration, identity_calibration, learn_intervals, learn_temperatures
from upstairs.episodes import SHOTS, Episodes, draw_episodes
from upstairs.forest.boosting import Fold, boost, make_folds
from upstairs.forest.deviation import Deviation, adapt_deviation, predict_deviation
from upstairs.forest.effects import grow_effect_trees
from upstairs.forest.inner import Part, State, class_log_proba, one_class, student_t
from upstairs.forest.kernel import Rows, learn_features, take, to_rows
from upstairs.forest.levels import leave_one_out, task_sums, variance_components
from upstairs.forest.losses import jackknife_logit, newton_offsets, pooled_loss
from upstairs.forest.prior import learn_prior
from upstairs.forest.shared_mean import SharedMean, learn_shared_mean
from upstairs.forest.trees import Booster, Trees, flatten, leaf_of
from upstairs.prediction import from_scale
from upstairs.target import Scale, back_mean, forward, identity_scale, log_scale
from upstairs.tasks import Tasks, assign_folds, offsets_of

__all__ = ["Info", "learn"]

NUS = (1.0, 2.0, 3.0, 4.0, 6.0, 10.0, 20.0, 50.0, np.inf)
KAPPAS = (0.7, 0.85, 1.0, 1.2)


class Info(NamedTuple):
    """What a person wants to know of a fit. Variances are on the user's scale (of log y where the target's scale is a log)."""

    n_tasks: int
    n_rows: int
    n_rows_used: int
    n_trees: int
    log_target: bool
    level_variance: float
    noise_variance: float
    rho: float
    linear: np.ndarray


def learn(tasks: Tasks, n_classes: int, params: dict, rng: np.random.Generator) -> tuple[State, Info]:
    """Learn the state from meta-train tasks."""
    used = tasks.thin(_most_rows_a_task(tasks.sizes, params["max_rows"]), rng)
    fold = assign_folds(used.n_tasks, params["n_folds"], rng)
    folds = make_folds(used, fold)
    state, shared_trees, level, noise = (
        _learn_classes(used, fold, folds, n_classes, params, rng) if n_classes else _learn_numbers(used, fold, folds, params, rng)
    )
    log = state.scale is not None and state.scale.log
    prior = state.parts[0].prior
    return state, Info(
        tasks.n_tasks, len(tasks.y), len(used.y), shared_trees, log, level, noise, prior.rho, prior.linear
    )


def _learn_numbers(tasks: Tasks, fold: np.ndarray, folds: list[Fold], params: dict, rng: np.random.Generator):
    scale, u, shared, f_w, f_b = _choose_scale(tasks, folds, params, rng)
    w, b = variance_components(u - f_w, tasks.offsets)
    residual = leave_one_out(u - f_w, tasks.offsets, w, b)
    w_all, b_all = variance_components(u - f_w - f_b, tasks.offsets)
    part, rows = _learn_part(tasks, u, shared, f_w, f_b, residual, b_all / w_all, w_all, False, params, rng)
    direct, direct_scale = _learn_direct(tasks, folds, scale, params, rng)
    nu, kappa = _learn_student(part, rows, u, tasks, rng)
    state = State(fold, scale, None, (part,), nu, kappa, direct, direct_scale)
    state = state._replace(calibration=_calibrate_numbers(state, rows, u, tasks, rng))
    return state, len(shared.trees.root), b_all * scale.sd**2, w_all * scale.sd**2


def _learn_classes(
    tasks: Tasks, fold: np.ndarray, folds: list[Fold], n_classes: int, params: dict, rng: np.random.Generator
):
    n_parts = 1 if n_classes == 2 else n_classes
    parts, rows = [], []
    for c in range(n_parts):
        y = one_class(tasks.y, c, n_parts)
        shared, f_w, f_b = learn_shared_mean(tasks, y, folds, True, params["learning_rate"], rng)
        offset = newton_offsets(y, f_w, tasks.offsets, np.zeros(tasks.n_tasks), steps=5, variance=0.5)
        residual = y - expit(jackknife_logit(y, f_w, tasks.offsets, offset, 0.5))
        part, part_rows = _learn_part(tasks, y, shared, f_w, f_b, residual, 0.5, 1.0, True, params, rng)
        parts.append(part)
        rows.append(part_rows)
    buckets = (0, *SHOTS)
    state = State(fold, None, identity_calibration(buckets), tuple(parts), np.inf, 1.0, None, None)
    state = state._replace(calibration=_calibrate_classes(state, rows, tasks, rng))
    return state, sum(len(part.mean.trees.root) for part in parts), float(parts[0].prior.linear[0]), 1.0


def _learn_part(
    tasks: Tasks, target: np.ndarray, shared: SharedMean, f_w: np.ndarray, f_b: np.ndarray, residual: np.ndarray,
    level: float, noise: float, classify: bool, params: dict, rng: np.random.Generator,
) -> tuple[Part, Rows]:  # fmt: skip
    """Effect trees on the leave-one-out residual [n], features, and the prior from a first guess of level and noise."""
    effects = grow_effect_trees(tasks, residual, params["n_effect_trees"], rng)
    features = learn_features(tasks, f_w, f_b)
    rows = to_rows(features, tasks.X, f_w, f_b, leaf_of(effects, tasks.X))
    episodes = draw_episodes(tasks, params["n_episodes"], rng)
    prior = learn_prior(rows, target, episodes, features, level, noise, classify, rng)
    return Part(shared, effects, features, prior), rows


def _choose_scale(tasks: Tasks, folds: list[Fold], params: dict, rng: np.random.Generator):
    """The scale whose shared mean and level, told by five rows, predict a task's other rows better on the user's scale."""
    scales = [scale for scale in (identity_scale(tasks.y), log_scale(tasks.y)) if scale is not None]
    seed = int(rng.integers(2**31 - 1))
    best = None
    for scale in scales:
        u = forward(scale, tasks.y)
        fit = learn_shared_mean(tasks, u, folds, False, params["learning_rate"], np.random.default_rng(seed))
        error = _five_row_error(tasks, u, fit[1], scale, np.random.default_rng(seed)) if len(scales) > 1 else 0.0
        if best is None or error < best[0]:
            best = (error, scale, u, *fit)
    return best[1:]


def _five_row_error(tasks: Tasks, u: np.ndarray, f_w: np.ndarray, scale: Scale, rng: np.random.Generator) -> float:
    w, b = variance_components(u - f_w, tasks.offsets)
    task = tasks.task_of_row
    shuffled = np.lexsort((rng.random(len(u)), task))
    rank = np.empty(len(u), int)
    rank[shuffled] = np.arange(len(u)) - tasks.offsets[task[shuffled]]
    support = rank < np.minimum(5, tasks.sizes // 2)[task]
    totals, counts = task_sums((u - f_w) * support, tasks.offsets), task_sums(support.astype(float), tasks.offsets)
    level = (b * totals / (counts * b + w))[task]
    y = back_mean(scale, f_w + level, np.full(len(u), w))
    return float((((tasks.y - y) ** 2)[~support]).mean())


def _learn_direct(
    tasks: Tasks, folds: list[Fold], scale: Scale, params: dict, rng: np.random.Generator
) -> tuple[Trees | None, Scale | None]:
    """Pooled boosters of y itself, only for a log target."""
    if not scale.log:
        return None, None
    plain = identity_scale(tasks.y)
    u, start = forward(plain, tasks.y), np.zeros((len(folds), len(tasks.y)))
    boosted = boost(folds, start, pooled_loss(u), 31, int(rng.integers(2**31 - 1)), params["learning_rate"])
    return flatten([Booster(text, 1.0, k) for k, text in enumerate(boosted.texts())]), plain


def _learn_student(part: Part, rows: Rows, u: np.ndarray, tasks: Tasks, rng: np.random.Generator) -> tuple[float, float]:
    """ν and κ by the likelihood of the queries of fresh episodes."""
    episodes = draw_episodes(tasks, 500, rng)
    held = [(_held_out(part, rows, u, _with_shots(episodes, shots), shots, False), shots) for shots in (2, 5, 10)]
    best = (-np.inf, np.inf, 1.0)
    for nu in NUS:
        for kappa in KAPPAS:
            fit = 0.0
            for (deviation, mean, variance, offsets), shots in held:
                query = _with_shots(episodes, shots).query
                scale, dof = student_t(nu, kappa, deviation, variance, offsets)
                error = (u[query[query >= 0]] - mean) / scale
                fit += stats.t.logpdf(error, np.where(np.isinf(dof), 1e6, dof)).sum() - np.log(scale).sum()
            best = max(best, (fit, nu, kappa))
    return best[1:]


def _calibrate_numbers(state: State, rows: Rows, u: np.ndarray, tasks: Tasks, rng: np.random.Generator) -> Calibration:
    buckets = (0, *SHOTS)
    episodes = draw_episodes(tasks, 1000, rng)
    predictions, targets, names = [], [], []
    for shots in buckets:
        some = _with_shots(episodes, shots)
        deviation, mean, variance, offsets = _held_out(state.parts[0], rows, u, some, shots, False)
        spread, dof = student_t(state.nu, state.kappa, deviation, variance, offsets)
        predictions.append(from_scale(state.scale, mean, variance, spread, dof))
        targets.append(tasks.y[some.query[some.query >= 0]])
        names.append(np.repeat(some.task, np.diff(offsets)))
    return learn_intervals(buckets, predictions, targets, names, state.scale)


def _calibrate_classes(state: State, rows: list[Rows], tasks: Tasks, rng: np.random.Generator) -> Calibration:
    buckets = (0, *SHOTS)
    episodes = draw_episodes(tasks, 1000, rng)
    log_probas, targets = [], []
    for shots in buckets:
        some = _with_shots(episodes, shots)
        answers = []
        for c, part in enumerate(state.parts):
            y = one_class(tasks.y, c, len(state.parts))
            answers.append(_held_out(part, rows[c], y, some, shots, True)[1:3])
        log_probas.append(class_log_proba(answers, np.full(len(answers[0][0]), shots)))
        targets.append(tasks.y[some.query[some.query >= 0]])
    return learn_temperatures(buckets, log_probas, targets)


def _with_shots(episodes: Episodes, shots: int) -> Episodes:
    """Episodes whose support tells this bucket from the one before it."""
    least = 0 if shots == 0 else 1 + max((s for s in (0, *SHOTS) if s < shots))
    return Episodes(*(field[episodes.shots >= least] for field in episodes))


def _held_out(
    part: Part, rows: Rows, target: np.ndarray, episodes: Episodes, shots: int, classify: bool
) -> tuple[Deviation, np.ndarray, np.ndarray, np.ndarray]:
    """Deviations of episodes; mean, variance and offsets of their queries."""
    support, query = episodes.support[:, :shots], episodes.query
    s, q = support[support >= 0], query[query >= 0]
    offsets, bumps = offsets_of((query >= 0).sum(axis=1)), part.features.bumps
    support_offsets = offsets_of((support >= 0).sum(axis=1))
    deviation = adapt_deviation(part.prior, bumps, take(rows, s), target[s], support_offsets, classify)
    return deviation, *predict_deviation(part.prior, bumps, deviation, take(rows, q), offsets, classify), offsets


def _most_rows_a_task(sizes: np.ndarray, most: int) -> int:
    """The largest c with Σ_t min(n_t, c) ≤ most: rows are thinned evenly over tasks, tasks never."""
    if sizes.sum() <= most:
        return int(sizes.max())
    low, high = 1, int(sizes.max())
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if np.minimum(sizes, middle).sum() <= most else (low, middle)
    return low
