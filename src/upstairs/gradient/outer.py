"""Outer learning of meta-gradient descent: many tasks -> the state that one task adapts from.

In order, for y and, where that makes sense, for log y: two ridges for each fold, where the descent starts;
the descent itself (`training`). Then the heads are blended and calibrated on held-out episodes.
"""

import warnings
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from upstairs.blending import blend_heads
from upstairs.calibration import learn_temperatures
from upstairs.design import design_matrix
from upstairs.episodes import BUCKETS, Episodes, draw_episodes
from upstairs.errors import UpstairsError, UpstairsWarning
from upstairs.gradient.checkpoint import Checkpoint, fingerprint
from upstairs.gradient.encoder import Inputs, learn_inputs
from upstairs.gradient.held_out import answer_episodes, errors_by_shots
from upstairs.gradient.inner import Head, Shape, State, number_of, problem_of
from upstairs.gradient.network import check_finite, check_network, shapes_of, width_of
from upstairs.gradient.progress import show_progress
from upstairs.gradient.rows import InputRows, Rows
from upstairs.gradient.rules.rule import Latent, Problem, Start, Theta
from upstairs.gradient.training import CHUNK, Budget, Trace, train
from upstairs.levels import variance_components
from upstairs.prediction import class_log_proba
from upstairs.ridge import gls_ridge, logistic_ridge, pooled_logistic_ridge, pooled_ridge
from upstairs.target import Scale, identity_scale, log_scale
from upstairs.tasks import Tasks, assign_folds, few_rows, offsets_of, pseudo_tasks

__all__ = ["Info", "learn", "streams"]

N_EPISODES = 1000
"""Held-out episodes for blending and calibration, and seen ones to tell over-fitting by."""
MOST_FIRST_ROWS, FEWEST_FIRST_ROWS = 100_000, 10
"""Rows that inputs, scales and ridges are learned from, where the descent starts; of a task rather so many than fewer."""
MOST_SLOPES, VARYING = 24, 0.1
"""Inputs whose slopes may differ by task: at most so many, and only those that vary within a tenth of the tasks."""


class Info(NamedTuple):
    """What a person wants to know of a fit.

    Attributes
    ----------
    n_tasks, n_rows, n_parameters : int
        Parameters of one model.
    n_steps : int
        Meta-steps after which the best θ was found (of the main head).
    n_skipped : int
        Steps not taken because a gradient wasn't finite.
    interrupted : bool
        Was the fit cut short by Ctrl-C?
    loss, held_out : float64 [chunks], [chunks + 1]
        Mean outer loss of each 50 steps; the held-out error before the first and after each.
    seen_error, unseen_error : float64 [B]
        Squared error of u (or log loss) at 0, 1, 2, 5, 10 and 20 shots on episodes of tasks that a model was fitted on and of
        tasks it wasn't: the gap is meta-overfitting. NaN where no task is large enough.
    log_target : bool
        Do intervals come from a model of log y?
    log_weight : float64 [6]
        Weight of the model of log y in the mean, at the same shots.
    """

    n_tasks: int
    n_rows: int
    n_parameters: int
    n_steps: int
    n_skipped: int
    interrupted: bool
    loss: np.ndarray
    held_out: np.ndarray
    seen_error: np.ndarray
    unseen_error: np.ndarray
    log_target: bool
    log_weight: np.ndarray


class Trained(NamedTuple):
    """A head, what it was learned from, and how that went."""

    rows: Rows
    theta: Theta
    trace: Trace

    @property
    def scale(self) -> Scale | None:
        return self.rows.scale

    @property
    def head(self) -> Head:
        weights, prior = (tuple(np.asarray(leaf) for leaf in jax.tree.leaves(part)) for part in self.theta)
        return Head(weights, prior, self.scale)


def learn(tasks: Tasks, n_classes: int, params: dict, rng: np.random.Generator) -> tuple[State, Info]:
    """Learn the state from meta-train tasks."""
    used = pseudo_tasks(tasks, rng)
    fold = assign_folds(used.n_tasks, params["n_folds"], rng)
    few, which = few_rows(used, MOST_FIRST_ROWS, rng, least=FEWEST_FIRST_ROWS)
    inputs = learn_inputs(few, params["n_pieces"])
    shape = _shape(int(used.sizes.max()), few, inputs, n_classes, params)
    problem = problem_of(shape)
    seeds = rng.integers(2**31 - 1, size=2).tolist()
    # of a user's functions and of a RandomState, the text is another in another process
    told = {name: value for name, value in params.items() if name not in ("checkpoint", "network", "random_state", "verbose")}
    owner = fingerprint(told, shapes_of(shape.network, shape.n_inputs), seeds, few.X, few.y, used.offsets, fold)
    trained: list[Trained] = []
    for scale, seed in zip([None] if n_classes else [identity_scale(few.y), log_scale(few.y)], seeds, strict=False):
        if (scale is None and not n_classes) or (trained and trained[-1].trace.interrupted):
            continue
        rows = Rows(InputRows(inputs, used.X), used.y, used.offsets, fold, scale, n_classes)
        first = rows._replace(inputs=InputRows(inputs, few.X), y=few.y, offsets=few.offsets, fold=fold[which])
        starts = [_start(problem, first, first.fold != k) for k in range(fold.max() + 2)]
        name = "classes" if n_classes else "log" if scale.log else "numbers"
        with show_progress(params["verbose"], name, params["n_steps"]) as watch:
            trained.append(_descend(problem, rows, starts, params, seed, Checkpoint(params["checkpoint"], name, owner), watch))
    episodes = draw_episodes(used.offsets, N_EPISODES, rng)
    known_fold = fold if used.n_tasks == tasks.n_tasks else np.full(tasks.n_tasks, -1)
    state = State(known_fold, None, None, inputs, shape, tuple(one.head for one in trained), np.ones((len(BUCKETS), 1)), 0)
    state = (_combine_classes if n_classes else _combine_numbers)(state, problem, trained, used, episodes, rng)
    return state, _info(state, problem, trained, tasks, episodes)


def streams(_: dict) -> bool:
    """Of tasks that lie on disk, episodes are read and no more."""
    return True


def _shape(largest_task: int, few: Tasks, inputs: Inputs, n_classes: int, params: dict) -> Shape:
    """What is compiled, checked against what the tasks can give."""
    most = largest_task // 2
    largest = min(BUCKETS[-1], most) if params["max_shots"] is None else params["max_shots"]
    if params["max_shots"] is not None and largest > most:
        raise UpstairsError(
            f"max_shots is {largest}, but the largest task holds {largest_task} rows, of which a support takes at most "
            f"half: give max_shots={most} or less."
        )
    least = params["min_shots"]
    if least > largest:
        raise UpstairsError(
            f"min_shots is {least}, but no support has more than {largest} rows: give min_shots={largest} or less."
        )
    shots = sorted({least, largest} | {s for s in BUCKETS if least < s < largest})
    given, n_inputs = check_network(params["network"]), 1 + len(inputs.design.column) + len(inputs.column)
    n_features = n_inputs + width_of(given, n_inputs)
    check_finite(given, InputRows(inputs, few.X))
    slopes = _slopes(few, design_matrix(inputs.design, few.X).astype(np.float32))
    return Shape(
        params["inner"], given, n_classes, n_inputs, n_features, slopes, np.array(shots), params["inner_steps"],
        float(params["inner_rate"]),
    )  # fmt: skip


def _slopes(tasks: Tasks, D: np.ndarray) -> np.ndarray:
    """Inputs of the plain design that vary most within tasks."""
    starts = tasks.offsets[:-1][tasks.sizes > 0]
    spread = np.maximum.reduceat(D, starts, axis=0) - np.minimum.reduceat(D, starts, axis=0)
    varies = (spread > 1e-6).mean(axis=0)
    means = np.add.reduceat(D, starts, axis=0) / np.diff(np.append(starts, len(D)))[:, None]
    within = ((D - np.repeat(means, np.diff(np.append(starts, len(D))), axis=0)) ** 2).mean(axis=0)
    able = np.flatnonzero((varies >= VARYING) & (within > 1e-6))
    return np.sort(able[np.argsort(-within[able], kind="stable")[:MOST_SLOPES]])


def _descend(
    problem: Problem, rows: Rows, starts: list[Start], params: dict, seed: int, checkpoint: Checkpoint, watch: Callable
) -> Trained:
    budget = Budget(
        params["n_steps"], params["batch_tasks"], params["patience"], params["learning_rate"], params["weight_decay"]
    )
    theta, trace = train(problem, rows, starts, budget, seed, checkpoint, watch)
    if trace.interrupted:
        done = CHUNK * len(trace.loss)
        warnings.warn(UpstairsWarning(f"fit was interrupted: the model is the best of {done} meta-steps."), stacklevel=2)
    return Trained(rows, theta, trace)


def _start(problem: Problem, rows: Rows, seen: np.ndarray) -> Start:
    """Ridges of the tasks that a fold model sees."""
    sizes = np.diff(rows.offsets)
    mine, offsets = np.repeat(seen, sizes), offsets_of(sizes[seen])
    D, Y = rows.inputs.take(mine).matrix().astype(np.float64), rows.target(mine).astype(np.float64)
    if problem.classify:
        linear = np.stack([logistic_ridge(D, y, offsets) for y in Y.T])
        pooled = np.stack([pooled_logistic_ridge(D, y) for y in Y.T])
        return Start(linear, pooled, np.full(len(linear), 0.5), np.ones(len(linear)))
    linear = gls_ridge(D, Y[:, 0], offsets)
    noise, level = variance_components(Y[:, 0] - D @ linear, offsets)
    return Start(linear[None], pooled_ridge(D, Y[:, 0])[None], np.array([level / noise]), np.array([noise]))


def _combine_numbers(
    state: State, problem: Problem, trained: list[Trained], tasks: Tasks, episodes: Episodes, rng: np.random.Generator
) -> State:
    """Weigh the heads by bucket, choose the one that intervals come from, and calibrate it."""
    numbers, targets, names = [], [], []
    for shots in BUCKETS:
        some = episodes.telling(shots)
        numbers.append([number_of(one.scale, _held_out(problem, one, some, shots)) for one in trained])
        targets.append(tasks.y[some.query[some.query >= 0]])
        names.append(np.repeat(some.task, (some.query >= 0).sum(axis=1)))
    blend, main, calibration = blend_heads(numbers, targets, names, [one.scale for one in trained], rng)
    return state._replace(scale=trained[main].scale, calibration=calibration, blend=blend, main=main)


def _combine_classes(
    state: State, problem: Problem, trained: list[Trained], tasks: Tasks, episodes: Episodes, rng: np.random.Generator
) -> State:
    """Temperatures of the classes' probabilities by bucket."""
    log_probas, targets = [], []
    for shots in BUCKETS:
        some = episodes.telling(shots)
        latent = _held_out(problem, trained[0], some, shots)
        log_probas.append(class_log_proba(latent.mean, latent.variance))
        targets.append(tasks.y[some.query[some.query >= 0]])
    return state._replace(calibration=learn_temperatures(BUCKETS, log_probas, targets))


def _held_out(problem: Problem, one: Trained, episodes: Episodes, shots: int) -> Latent:
    """Each task by the fold model that didn't see it."""
    return answer_episodes(problem, one.theta, one.rows, episodes, one.rows.fold[episodes.task], shots)


def _info(state: State, problem: Problem, trained: list[Trained], tasks: Tasks, episodes: Episodes) -> Info:
    main = trained[state.main]
    own = main.rows.fold[episodes.task]
    n_folds = main.rows.fold.max() + 1
    one_model = jax.eval_shape(lambda theta: theta._replace(weights=theta.model(-1)), main.theta)
    unseen = errors_by_shots(problem, main.theta, main.rows, episodes, own, BUCKETS)
    seen = errors_by_shots(problem, main.theta, main.rows, episodes, (own + 1) % n_folds, BUCKETS)
    log = [one.scale is not None and one.scale.log for one in trained]
    return Info(
        tasks.n_tasks,
        len(tasks.y),
        sum(leaf.size for leaf in jax.tree.leaves(one_model)),
        main.trace.step,
        sum(one.trace.n_skipped for one in trained),
        any(one.trace.interrupted for one in trained),
        main.trace.loss,
        main.trace.held_out,
        seen,
        unseen,
        log[state.main],
        state.blend @ np.array(log, float),
    )
