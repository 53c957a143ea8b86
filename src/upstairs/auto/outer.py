"""Outer learning of AutoMeta: every learner learns across the tasks, then they are weighed on held-out episodes.

In order: the baselines; the learners asked for, within the time budget; what each says of the same episodes, by fold models
that never saw the task; weights by number of shots; those without weight dropped; the blend calibrated.
"""

import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any, NamedTuple

import numpy as np
from joblib import cpu_count, effective_n_jobs
from joblib.externals.loky import ProcessPoolExecutor

from upstairs.auto.inner import Member, State, blend_classes, blend_numbers, learner_of
from upstairs.blending import blend_weights, mixture_weights
from upstairs.calibration import identity_calibration, learn_intervals, learn_temperatures
from upstairs.episodes import BUCKETS, Episodes, draw_episodes, query_tasks, support_tasks
from upstairs.errors import UpstairsError
from upstairs.learners import check_learner, learner_class
from upstairs.prediction import ClassPrediction, Prediction, log_density
from upstairs.tasks import Tasks
from upstairs.wording import rows_in_words

__all__ = ["BASELINES", "Info", "learn"]

BASELINES = ("shrunk-mean", "pooled-shift")
NEGLIGIBLE = 0.05
"""A learner whose weight stays below this at every number of shots is dropped."""


class Info(NamedTuple):
    """What a person wants to know of a fit: who won where, and why.

    Attributes
    ----------
    n_tasks, n_rows : int
    tried : tuple of M str
        Baselines and learners that finished.
    seconds : float64 [M]
        Wall-clock time of each fit.
    weight : float64 [B, M]
        Weight of each at 0, 1, 2, 5, 10 and 20 shots.
    error : float64 [B, M]
        Root mean squared error, or log loss, of each on held-out episodes; NaN where no task is large enough.
    blend_error : float64 [B]
        The same of their blend, whose weights were learned on these episodes.
    left_out : tuple of str
        A sentence for each learner that didn't finish.
    """

    n_tasks: int
    n_rows: int
    tried: tuple[str, ...]
    seconds: np.ndarray
    weight: np.ndarray
    error: np.ndarray
    blend_error: np.ndarray
    left_out: tuple[str, ...]

    def sentences(self) -> list[str]:
        """Who leads from how many rows on, what the blend gains by the others, and who was dropped or left out."""
        leader = self.weight.argmax(axis=1)
        told = []
        for b in (b for b in range(len(BUCKETS)) if b == 0 or leader[b] != leader[b - 1]):
            m, when = leader[b], "With no rows" if BUCKETS[b] == 0 else f"From {rows_in_words(BUCKETS[b])} on"
            if np.isnan(self.error[b, m]):
                continue
            second = np.delete(self.error[b], m).min(initial=np.inf)
            told.append(
                f"{when} {self.tried[m]} leads, with {self.weight[b, m]:.0%} of the weight: its held-out error is "
                f"{self.error[b, m]:.4g}, that of the best of the others {second:.4g}, blended {self.blend_error[b]:.4g}."
            )
        dropped = [name for name, weight in zip(self.tried, self.weight.T, strict=True) if not weight.any()]
        if dropped:
            told.append(f"{' and '.join(dropped)} had next to no weight and {'was' if len(dropped) == 1 else 'were'} dropped.")
        return told + list(self.left_out)


class Fitted(NamedTuple):
    """A member, and the seconds that it took."""

    member: Member
    seconds: float


class Held(NamedTuple):
    """What each of M members says of the query rows [n] of the episodes that tell a bucket of shots from the one before."""

    predictions: list[Any]
    y: np.ndarray
    task: np.ndarray
    shots: np.ndarray


def learn(tasks: Tasks, n_classes: int, params: dict, rng: np.random.Generator) -> tuple[State, Info]:
    """Learn the state from meta-train tasks."""
    fitted, left_out = _fit_all(tasks, n_classes, params, rng)
    if any((one.member.state.fold < 0).any() for one in fitted):  # of a single task no model is blind to any of it
        fitted = fitted[len(BASELINES) :][:1] or fitted[-1:]
        held = [Held([None], np.empty(0), np.empty(0), np.empty(0))] * len(BUCKETS)
    else:
        episodes = draw_episodes(tasks.offsets, params["n_episodes"], rng)
        held = [_held_out(fitted, tasks, episodes.telling(shots), shots) for shots in BUCKETS]
    weight = _weight_by_bucket(_class_weights if n_classes else _number_weights, held, len(fitted), rng)
    keep = np.flatnonzero(weight.any(axis=0))
    state = State(
        np.arange(tasks.n_tasks), fitted[keep[0]].member.state.scale, identity_calibration(BUCKETS),
        tuple(fitted[m].member for m in keep), weight[:, keep], 0,
    )  # fmt: skip
    kept = [bucket._replace(predictions=[bucket.predictions[m] for m in keep]) for bucket in held]
    combine: Callable = _combine_classes if n_classes else _combine_numbers
    state, blends = combine(state, kept)
    return state, Info(
        tasks.n_tasks,
        len(tasks.y),
        tuple(one.member.learner for one in fitted),
        np.array([one.seconds for one in fitted]),
        weight,
        np.array([[_error(prediction, bucket.y) for prediction in bucket.predictions] for bucket in held]),
        np.array([_error(blend, bucket.y) for blend, bucket in zip(blends, held, strict=True)]),
        tuple(left_out),
    )


def _fit_all(tasks: Tasks, n_classes: int, params: dict, rng: np.random.Generator) -> tuple[list[Fitted], list[str]]:
    """The baselines, then the learners that are ready in time, each from a seed of its own."""
    names = [*BASELINES, *_check_names(params["learners"])]
    jobs = [(name, tasks, n_classes, seed) for name, seed in zip(names, rng.integers(2**31 - 1, size=len(names)), strict=True)]
    deadline = time.perf_counter() + (params["time_budget"] or np.inf)
    done = [_fit(*job) for job in jobs[: len(BASELINES)]]
    apart = params["time_budget"] is not None or effective_n_jobs(params["n_jobs"]) > 1
    run = _fit_in_processes if apart else _fit_here
    done += run(jobs[len(BASELINES) :], deadline, effective_n_jobs(params["n_jobs"]))
    fitted = [one for one in done if isinstance(one, Fitted)]
    return fitted, [one for one in done if isinstance(one, str)]


def _fit_here(jobs: list[tuple], deadline: float, n_jobs: int) -> list[Fitted | str]:
    return [_fit(*job) for job in jobs]


def _fit_in_processes(jobs: list[tuple], deadline: float, n_jobs: int) -> list[Fitted | str]:
    """So many at a time; whoever isn't ready by the deadline is stopped."""
    threads = str(max(1, cpu_count() // n_jobs))
    pool = ProcessPoolExecutor(n_jobs, env={"OMP_NUM_THREADS": threads, "NUMBA_NUM_THREADS": threads})
    waiting = list(jobs)
    running: dict[Future, str] = {}
    done: dict[str, Fitted | str] = {}
    try:
        while waiting or running:
            while waiting and len(running) < n_jobs:
                job = waiting.pop(0)
                running[pool.submit(_fit, *job)] = job[0]
            left = None if np.isinf(deadline) else max(0.0, deadline - time.perf_counter())
            ready, _ = wait(running, left, FIRST_COMPLETED)
            if not ready:
                break
            done |= {running.pop(one): one.result() for one in ready}
    finally:
        pool.shutdown(kill_workers=True)
    return [done.get(name, f"{name} is left out: it wasn't ready within the time budget.") for name, *_ in jobs]


def _fit(name: str, tasks: Tasks, n_classes: int, seed: int) -> Fitted | str:
    """A fitted learner, or why it can't take part."""
    start = time.perf_counter()
    try:
        cls = learner_class(name, n_classes > 0)
        state, _ = cls.learner.learn(tasks, n_classes, cls().get_params(deep=False), np.random.default_rng(seed))
    except UpstairsError as error:
        return f"{name} is left out: {error}"
    return Fitted(Member(name, state), time.perf_counter() - start)


def _check_names(learners: Any) -> list[str]:
    """The learners asked for, each once and no baseline, which run anyway."""
    names = [name for name in dict.fromkeys(learners) if name not in BASELINES]
    for name in names:
        check_learner(name)
        if name == "auto":
            raise UpstairsError("learners holds 'auto', which can't try itself: name others, or leave learners out.")
    return names


def _held_out(fitted: list[Fitted], tasks: Tasks, episodes: Episodes, shots: int) -> Held:
    """Each episode is answered by the fold model of its task, which never saw it."""
    support, query = support_tasks(tasks, episodes, shots), query_tasks(tasks, episodes)
    predictions = []
    for name, state in (one.member for one in fitted):
        learner = learner_of(name)
        adapted = learner.adapt(state, support, state.fold[episodes.task])
        predictions.append(learner.predict(state, adapted, query) if len(query.y) else None)
    return Held(predictions, query.y, np.repeat(episodes.task, query.sizes), np.repeat(support.sizes, query.sizes))


def _weight_by_bucket(weigh: Callable, held: list[Held], n_members: int, rng: np.random.Generator) -> np.ndarray:
    """Weights [B, M]; a member that is negligible at every number of shots gets none."""
    if n_members == 1:
        return np.ones((len(BUCKETS), 1))
    keep = np.arange(n_members)
    for _ in range(2):  # the second time among those that are kept
        weight: list[np.ndarray] = []
        for bucket in held:
            # a bucket that no task is large enough for takes after the one before it
            weight.append(weigh([bucket.predictions[m] for m in keep], bucket, rng) if len(bucket.y) else weight[-1])
        among = np.zeros((len(held), n_members))
        among[:, keep] = weight
        keep = np.flatnonzero(among.max(axis=0) >= NEGLIGIBLE)
    return among


def _number_weights(predictions: list[Prediction], held: Held, rng: np.random.Generator) -> np.ndarray:
    return blend_weights([prediction.mean for prediction in predictions], held.y, held.task, rng, share=1.0)


def _class_weights(predictions: list[ClassPrediction], held: Held, rng: np.random.Generator) -> np.ndarray:
    right = [_log_proba_of_right(prediction, held.y) for prediction in predictions]
    return mixture_weights(np.exp(np.column_stack(right)), held.task, rng)


def _combine_numbers(state: State, held: list[Held]) -> tuple[State, list[Prediction | None]]:
    """The scale that intervals are told on is that of the member whose density fits best; the blend is calibrated on it."""
    states = [member.state for member in state.members]
    fits = [
        sum(log_density(bucket.predictions[m], one.scale, bucket.y).sum() for bucket in held if len(bucket.y))
        for m, one in enumerate(states)
    ]
    main = int(np.argmax(fits))
    blends = [
        blend_numbers(bucket.predictions, states, _tile(weight, bucket.y), main, bucket.shots) if len(bucket.y) else None
        for bucket, weight in zip(held, state.blend, strict=True)
    ]
    targets, names = [bucket.y for bucket in held], [bucket.task for bucket in held]
    calibration = learn_intervals(BUCKETS, blends, targets, names, states[main].scale)
    return state._replace(main=main, scale=states[main].scale, calibration=calibration), blends


def _combine_classes(state: State, held: list[Held]) -> tuple[State, list[ClassPrediction | None]]:
    """The mixture is tempered."""
    blends = [
        blend_classes(bucket.predictions, _tile(weight, bucket.y)) if len(bucket.y) else None
        for bucket, weight in zip(held, state.blend, strict=True)
    ]
    calibration = learn_temperatures(BUCKETS, blends, [bucket.y for bucket in held])
    return state._replace(calibration=calibration), [None if b is None else ClassPrediction(b) for b in blends]


def _tile(weight: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.tile(weight, (len(y), 1))


def _error(prediction: Prediction | ClassPrediction | None, y: np.ndarray) -> float:
    if prediction is None:
        return np.nan
    if isinstance(prediction, Prediction):
        return float(np.sqrt(np.mean((prediction.mean - y) ** 2)))
    return float(-_log_proba_of_right(prediction, y).mean())


def _log_proba_of_right(prediction: ClassPrediction, y: np.ndarray) -> np.ndarray:
    return prediction.log_proba[np.arange(len(y)), y.astype(int)]
