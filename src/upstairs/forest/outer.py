"""Outer learning of the meta random forest: many tasks -> the state that one task adapts from.

In order, for y and, where that makes sense, for log y: the shared mean by folds of tasks; task-effect trees on what it leaves;
the features in which tasks differ; the prior of the deviation on episodes; Student's t on fresh ones. Then the heads are
blended and calibrated on held-out predictions. Everything after the shared mean is learned from out-of-task residuals, since
in-task ones are too small and the prior would come out too tight; and what is judged on a task is predicted by a prior that
never saw it.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import expit
from threadpoolctl import threadpool_limits

from upstairs.blending import blend_heads
from upstairs.calibration import learn_temperatures
from upstairs.episodes import BUCKETS, Episodes, draw_episodes
from upstairs.forest.boosting import Fold, make_folds
from upstairs.forest.deviation import Deviation, adapt_deviation, predict_deviation
from upstairs.forest.effects import blind_leaves, grow_effect_trees
from upstairs.forest.inner import Head, State, log_proba_of, number_of
from upstairs.forest.kernel import Rows, learn_features, take, to_rows
from upstairs.forest.losses import jackknife_logit
from upstairs.forest.noise import noise_variance
from upstairs.forest.prior import learn_priors
from upstairs.forest.shared_mean import SharedMean, learn_shared_mean, learn_whole_mean
from upstairs.levels import leave_one_out, newton_offsets, variance_components
from upstairs.prediction import t_log_density
from upstairs.target import Scale, forward, identity_scale, log_scale
from upstairs.tasks import Tasks, assign_folds, few_rows, offsets_of, pseudo_tasks

__all__ = ["Info", "learn"]

NUS = (1.0, 2.0, 3.0, 4.0, 6.0, 10.0, 20.0, 50.0, np.inf)
KAPPAS = (0.7, 0.85, 1.0, 1.2)
LEAST_ROWS = 10
"""Of a task: where ``max_rows`` doesn't go that far, a sample of the tasks is learned from."""
N_STUDENT_EPISODES, N_CALIBRATION_EPISODES = 500, 1000


Means = tuple[SharedMean, SharedMean | None]


class Info(NamedTuple):
    """What a person wants to know of a fit. Variances are those of the main head, on the scale of y or of log y.

    Attributes
    ----------
    n_tasks, n_rows, n_rows_used, n_trees : int
    log_target : bool
        Do intervals come from a model of log y?
    log_weight : float64 [6]
        Weight of the model of log y in the mean, at 0, 1, 2, 5, 10 and 20 shots.
    level_variance, noise_variance : float
        Between tasks, and σ²: what is left of a row's once f and the deviation of its task are known.
    level_mixing : float
        ρ, the share of what x says of a task's level that survives once its level is seen.
    """

    n_tasks: int
    n_rows: int
    n_rows_used: int
    n_trees: int
    log_target: bool
    log_weight: np.ndarray
    level_variance: float
    noise_variance: float
    level_mixing: float


class Parts(NamedTuple):
    """The fold [T] of each task, what each fold model sees, and what one model of all tasks would see, if it is asked for."""

    fold: np.ndarray
    folds: list[Fold]
    whole: Fold | None


class Trained(NamedTuple):
    """A head, and the meta-train rows as it sees them out of fold, with their targets [n] and the fold [T] of each task.

    ``level`` and ``noise`` are variances on the user's scale.
    """

    head: Head
    rows: Rows
    target: np.ndarray
    fold: np.ndarray
    level: float
    noise: float


@threadpool_limits.wrap(limits=1, user_api="blas")  # its products are small: other threads would only wait, and burn time
def learn(tasks: Tasks, n_classes: int, params: dict, rng: np.random.Generator) -> tuple[State, Info]:
    """Learn the state from meta-train tasks."""
    few, which = few_rows(tasks, params["max_rows"], rng, least=LEAST_ROWS)
    used = pseudo_tasks(few, rng)
    fold = assign_folds(used.n_tasks, params["n_folds"], rng)
    folds, whole = make_folds(used, fold)
    known_fold = np.full(tasks.n_tasks, -1)
    if used is few:
        known_fold[which] = fold
    parts = Parts(fold, folds, None if params["ensemble"] else whole)
    trained = (_learn_classes if n_classes else _learn_numbers)(used, parts, n_classes, params, rng)
    episodes = draw_episodes(used.offsets, N_CALIBRATION_EPISODES, rng)
    state = (_combine_classes if n_classes else _combine_numbers)(trained, used, episodes, rng)
    main = trained[state.main]
    log = [head.scale is not None and head.scale.log for head in state.heads]
    return state._replace(fold=known_fold), Info(
        tasks.n_tasks,
        len(tasks.y),
        len(used.y),
        sum(len(mean.trees.group) for head in state.heads for mean in (head.mean, head.whole) if mean is not None),
        log[state.main],
        state.blend @ np.array(log, float),
        main.level,
        main.noise,
        main.head.prior.rho,
    )


def _learn_numbers(tasks: Tasks, parts: Parts, n_classes: int, params: dict, rng: np.random.Generator) -> list[Trained]:
    """A head for y, and one for log y where that makes sense."""
    trained = []
    for scale in (identity_scale(tasks.y), log_scale(tasks.y)):
        if scale is None:
            continue
        u = forward(scale, tasks.y)
        means, f_w, f_b = _learn_means(tasks, u, parts, False, params, rng, scale.log)
        residual = leave_one_out(u - f_w, tasks.offsets, *variance_components(u - f_w, tasks.offsets))
        w, b = variance_components(u - f_w - f_b, tasks.offsets)
        head, rows = _learn_head(tasks, parts.fold, u, means, f_w, f_b, residual, b / w, w, scale, params, rng)
        episodes = draw_episodes(tasks.offsets, N_STUDENT_EPISODES, rng)
        noise = noise_variance(head, rows, u, tasks, parts.fold, episodes)
        one = Trained(head, rows, u, parts.fold, b * scale.sd**2, noise * scale.sd**2)
        nu, kappa = _learn_student(one, episodes)
        trained.append(one._replace(head=head._replace(nu=nu, kappa=kappa)))
    return trained


def _learn_classes(tasks: Tasks, parts: Parts, n_classes: int, params: dict, rng: np.random.Generator) -> list[Trained]:
    """A head for two classes, or one for each."""
    trained = []
    for c in [1] if n_classes == 2 else range(n_classes):
        y = (tasks.y == c).astype(float)
        means, f_w, f_b = _learn_means(tasks, y, parts, True, params, rng)
        offset = newton_offsets(y, f_w, tasks.offsets, np.zeros(tasks.n_tasks), steps=5, variance=0.5)
        residual = y - expit(jackknife_logit(y, f_w, tasks.offsets, offset, 0.5))
        head, rows = _learn_head(tasks, parts.fold, y, means, f_w, f_b, residual, 0.5, 1.0, None, params, rng)
        trained.append(Trained(head, rows, y, parts.fold, float(head.prior.linear[0]), 1.0))
    return trained


def _learn_means(
    tasks: Tasks, u: np.ndarray, parts: Parts, classify: bool, params: dict, rng: np.random.Generator, logs: bool = False
) -> tuple[Means, np.ndarray, np.ndarray]:
    """The shared mean by folds, with that of all tasks if it is asked for; f_w and f_b [n] as each task's fold sees them."""
    rate = params["learning_rate"]
    mean, f_w, f_b, chosen = learn_shared_mean(tasks, u, parts.folds, classify, rate, rng, logs)
    whole = None if parts.whole is None else learn_whole_mean(tasks, u, parts.whole, classify, rate, mean, chosen)
    return (mean, whole), f_w, f_b


def _learn_head(
    tasks: Tasks, fold: np.ndarray, target: np.ndarray, means: Means, f_w: np.ndarray, f_b: np.ndarray,
    residual: np.ndarray, level: float, noise: float, scale: Scale | None, params: dict, rng: np.random.Generator,
) -> tuple[Head, Rows]:  # fmt: skip
    """Effect trees on the leave-one-out residual [n], features, and the priors from a first guess of level and noise."""
    effects, unseen = grow_effect_trees(tasks, residual, params["n_effect_trees"], rng)
    features = learn_features(tasks, f_w, f_b)
    rows = to_rows(features, tasks.X, f_w, f_b, blind_leaves(effects, unseen, tasks))
    episodes = draw_episodes(tasks.offsets, params["n_episodes"], rng)
    prior, blind = learn_priors(rows, target, episodes, fold, features, level, noise, scale is None, rng)
    mean, whole = means
    return Head(mean, effects, features, prior, scale, np.inf, 1.0, blind, whole), rows


def _learn_student(one: Trained, episodes: Episodes) -> tuple[float, float]:
    """ν and κ by the likelihood of the queries of fresh episodes."""
    held = []
    for shots in (2, 5, 10):
        some = episodes.telling(shots)
        held.append((*_held_out(one, some, shots), one.target[some.query[some.query >= 0]]))
    best = (-np.inf, np.inf, 1.0)
    for nu in NUS:
        for kappa in KAPPAS:
            fit = 0.0
            for deviation, mean, variance, offsets, target in held:
                t = number_of(one.head._replace(nu=nu, kappa=kappa), deviation, mean, variance, offsets)
                error = (target - mean) / t.spread
                fit += t_log_density(error, t.dof).sum() - np.log(t.spread).sum()
            best = max(best, (fit, nu, kappa))
    return best[1:]


def _combine_numbers(trained: list[Trained], tasks: Tasks, episodes: Episodes, rng: np.random.Generator) -> State:
    """Weigh the heads by bucket, choose the one that intervals come from, and calibrate it."""
    numbers, targets, names = [], [], []
    for shots in BUCKETS:
        some = episodes.telling(shots)
        held = [_held_out(one, some, shots) for one in trained]
        numbers.append([number_of(one.head, *answer) for one, answer in zip(trained, held, strict=True)])
        targets.append(tasks.y[some.query[some.query >= 0]])
        names.append(np.repeat(some.task, np.diff(held[0][-1])))
    heads = tuple(one.head for one in trained)
    blend, main, calibration = blend_heads(numbers, targets, names, [head.scale for head in heads], rng)
    return State(np.empty(0, int), heads[main].scale, calibration, heads, blend, main)


def _combine_classes(trained: list[Trained], tasks: Tasks, episodes: Episodes, rng: np.random.Generator) -> State:
    """Temperatures of the classes' probabilities by bucket."""
    log_probas, targets = [], []
    for shots in BUCKETS:
        some = episodes.telling(shots)
        answers = [_held_out(one, some, shots)[1:3] for one in trained]
        log_probas.append(log_proba_of(answers, np.full(len(answers[0][0]), shots)))
        targets.append(tasks.y[some.query[some.query >= 0]])
    calibration = learn_temperatures(BUCKETS, log_probas, targets)
    heads = tuple(one.head for one in trained)
    return State(np.empty(0, int), None, calibration, heads, np.ones((len(BUCKETS), len(heads))), 0)


def _held_out(one: Trained, episodes: Episodes, shots: int) -> tuple[Deviation, np.ndarray, np.ndarray, np.ndarray]:
    """Deviations of episodes; mean, variance and offsets of their queries."""
    support, query = episodes.support[:, :shots], episodes.query
    s, q = support[support >= 0], query[query >= 0]
    offsets, support_offsets = offsets_of((query >= 0).sum(axis=1)), offsets_of((support >= 0).sum(axis=1))
    head, fold = one.head, one.fold[episodes.task]
    priors, bumps, classify = head.priors_for(fold), head.features.bumps, head.scale is None
    deviation = adapt_deviation(*priors, bumps, take(one.rows, s), one.target[s], support_offsets, classify)
    return deviation, *predict_deviation(*priors, bumps, deviation, take(one.rows, q), offsets, classify), offsets
