"""Outer learning of the meta support vector machine: many tasks -> the state that one task adapts from.

    min over θ of  ½‖θ‖²  subject to  (1/T) Σ_t L_t(θ) ≤ ε
    L_t(θ) = min over v of  1/(2 C n_t) vᵀM⁻¹v + 1/n_t Σ_i ℓ(y_ti, (θ + v)ᵀφ(x_ti))

In order, for y and, where that makes sense, for log y: M, C and the kernel's width (`companion`); the path of meta-models along
λ, each with models blind to a fold of tasks (`path`); the λ of the budget; θ of all tasks, and the machine θ_0 that all rows
share; and, by number of shots, on episodes of tasks held out, its part w in the meta-model (1 − w) θ + w θ_0, C, and what makes
margins honest.

Why a second machine: θ is what is left once tasks may differ, so it knows columns by what they do within tasks. What they say
of a task as a whole went into the v_t, and is missed as long as a new task has shown little.
"""

import warnings
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from upstairs.blending import blend_heads
from upstairs.calibration import learn_temperatures
from upstairs.design import by_column, design_matrix, learn_design
from upstairs.episodes import BUCKETS, draw_episodes
from upstairs.errors import UpstairsWarning
from upstairs.prediction import class_log_proba
from upstairs.svm.companion import choose_map, learn_relevance
from upstairs.svm.features import NO_TURN, Features, with_kernel
from upstairs.svm.held_out import (
    HeldOut,
    Thetas,
    choose_strength,
    learn_logits,
    learn_spread,
    losses_by_task,
    margins_of_episodes,
    rows_by_task,
)
from upstairs.svm.inner import Head, State, logits_of, number_of
from upstairs.svm.kernel import KAPPA, learn_kernel
from upstairs.svm.machine import Machine
from upstairs.svm.path import GRID, PATH_TOLERANCE, PRECISE, Path, mean_score, meet_budget, solve_outputs, widest_margin
from upstairs.svm.problem import LOSSES, Loss, Solution, make_loss
from upstairs.svm.rows import Rows, rows_of_tasks, targets
from upstairs.target import Scale, identity_scale, log_scale
from upstairs.tasks import Tasks, assign_folds, few_rows, offsets_of, pseudo_tasks

__all__ = ["Info", "learn", "streams"]

N_EPISODES = 1000
MOST_ROWS = 10_000
"""Rows of the tasks that λ, C, M and the kernel are chosen on; θ itself is that of all."""
MOST_SCALED, FEWEST_SCALED = 100_000, 10
"""Rows that the target's scales are learned from; of a task rather so many than fewer."""
MOST_SUPPORT = 1_000_000
"""Support vectors that the state holds; nobody looks at more, and every reader of a model would have to load them."""
WIDTHS = (0.03, 0.1, 0.3, 1.0)
"""γ of "rbf", in squared standard deviations."""
EMPTY = (np.empty(0, int), np.empty((0, 0)), np.empty(0, bool))
STIFF, STIFF_TOLERANCE = 1e-9, 1e-3
"""C of tasks that may not differ, and the relative duality gap at which their machine is good enough."""
LEAST_RELEVANCE = 1e-9
TUBE = 0.1
"""In standard deviations of the noise."""
KERNEL_SHARE = 0.3
"""How far tasks differ in the kernel's part, in units of their level."""
ENOUGH, TURNS = 0.01, 2
"""The path ends when the held-out score was worse than the best by so much, so many times in a row."""


class Info(NamedTuple):
    """What a person wants to know of a fit, of the main head.

    Attributes
    ----------
    n_tasks, n_rows : int
    n_support, n_support_tasks : int
        Rows that θ is made of, and their tasks.
    kernel : str
    gamma : float
        NaN where the kernel has none.
    lam, budget, loss, norm, gap : float
        λ, ε, Ē(θ), ‖θ‖ and the relative duality gap.
    path : Path
    level_relevance : float
    relevance : float64 [p]
        M summed by column of X.
    log_target : bool
        Do intervals come from a model of log y?
    log_weight : float64 [6]
        Weight of the model of log y in the mean, at 0, 1, 2, 5, 10 and 20 shots.
    """

    n_tasks: int
    n_rows: int
    n_support: int
    n_support_tasks: int
    kernel: str
    gamma: float
    lam: float
    budget: float
    loss: float
    norm: float
    gap: float
    path: Path
    level_relevance: float
    relevance: np.ndarray
    log_target: bool
    log_weight: np.ndarray

    def __str__(self) -> str:
        return (
            f"The meta-model rests on {self.n_support:,} of {self.n_rows:,} rows, from {self.n_support_tasks:,} of "
            f"{self.n_tasks:,} tasks."
        )


class Candidate(NamedTuple):
    """A kernel, the machine on its features, and the path that it gave.

    Attributes
    ----------
    features : Features
    machine : Machine
    C : float
    rows : Rows
        Of the tasks that choices are made on.
    path : Path
    thetas : list of float64 [K, outputs, q]
        Of the fold models, for each λ.
    losses : float64 [L, B, T]
        See `path.widest_margin`.
    """

    features: Features
    machine: Machine
    C: float
    rows: Rows
    path: Path
    thetas: list[np.ndarray]
    losses: np.ndarray


class Trained(NamedTuple):
    """A head, the rows that θ is of and its solution, λ, the path, and the held-out margins [n, outputs] of each bucket."""

    head: Head
    rows: Rows
    solutions: list[Solution]
    lam: float
    path: Path
    margins: list[np.ndarray]


@threadpool_limits.wrap(limits=1, user_api="blas")  # its products are small, and tasks pass in threads: others would only wait
def learn(tasks: Tasks, n_classes: int, params: dict, rng: np.random.Generator) -> tuple[State, Info]:
    """Learn the state from meta-train tasks."""
    few = pseudo_tasks(_some_tasks(tasks, rng), rng)
    fold = assign_folds(few.n_tasks, params["n_folds"], rng)
    held_out = HeldOut(few, fold, draw_episodes(few.offsets, N_EPISODES, rng))
    n_outputs = 1 if n_classes <= 2 else n_classes
    trained = [
        _learn_head(tasks, held_out, scale, n_outputs, params, rng)
        for scale in ([None] if n_classes else _scales(tasks, rng))
        if scale is not None or n_classes
    ]
    state = (_combine_classes if n_classes else _combine_numbers)(trained, held_out, rng)
    main = trained[state.main]
    rests = np.logical_or.reduce([one.lam * one.slope != 0 for one in main.solutions])
    rows, coef = _support(main, rests) if rests.sum() <= MOST_SUPPORT else (np.empty(0, int), np.empty((n_outputs, 0)))
    state = state._replace(
        fold=_known_fold(tasks, few, fold),
        support=rows,
        dual_coef=coef,
        support_task=np.diff(np.append(0, np.cumsum(rests))[main.rows.offsets]) > 0,
    )
    return state, _info(state, main, int(rests.sum()), tasks, params["loss_budget"])


def streams(params: dict) -> bool:
    """Tasks that lie on disk are read in blocks for each step of Newton's method; coordinates go through them too often."""
    _, squared = LOSSES[params["loss"]]
    return squared


def _scales(tasks: Tasks, rng: np.random.Generator) -> list[Scale | None]:
    """Of y and, where that makes sense, of log y."""
    y = few_rows(tasks, MOST_SCALED, rng, least=FEWEST_SCALED)[0].y
    return [identity_scale(y), log_scale(y)]


def _support(main: Trained, rests: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rows [m] of the tasks that θ rests on, and their weights [outputs, m] in it."""
    (_, _, offsets, kept), rows = main.rows, np.flatnonzero(rests)
    sizes = np.diff(offsets)
    cost = main.lam / (len(sizes) * sizes[np.searchsorted(offsets, rows, side="right") - 1])
    coef = np.stack([one.slope[rows] for one in main.solutions]) * cost
    return rows if kept is None else kept[rows], coef


def _some_tasks(tasks: Tasks, rng: np.random.Generator) -> Tasks:
    """Tasks with at most ``MOST_ROWS`` rows in all; the largest are thinned so that there are many."""
    if len(tasks.y) <= MOST_ROWS:
        return tasks
    order = rng.permutation(tasks.n_tasks)
    sizes = np.minimum(tasks.sizes[order], max(MOST_ROWS // 200, MOST_ROWS // tasks.n_tasks))
    few = np.sort(order[: max(2, int(np.searchsorted(np.cumsum(sizes), MOST_ROWS)))])
    return tasks.take(few).thin(int(sizes.max()), rng)


def _known_fold(tasks: Tasks, few: Tasks, fold: np.ndarray) -> np.ndarray:
    """Fold [T] of each task; where no fold model saw a task, any of them is blind to it."""
    if tasks.n_tasks < 2:
        return np.full(tasks.n_tasks, -1)
    known = np.arange(tasks.n_tasks) % (fold.max() + 1)
    known[np.isin(tasks.ids, few.ids)] = fold
    return known


def _learn_head(
    tasks: Tasks, held_out: HeldOut, scale: Scale | None, n_outputs: int, params: dict, rng: np.random.Generator
) -> Trained:
    few = held_out.tasks
    candidates = _candidates(held_out, targets(scale, n_outputs, few.y), scale is not None and scale.log, params, rng)
    best = min(candidates, key=lambda one: one.path.held_out.min())
    point, _ = widest_margin(best.losses, rows_by_task(held_out), scale is not None, rng)
    rows = rows_of_tasks(best.features, scale, n_outputs, tasks)
    automatic = params["loss_budget"] == "auto"
    if automatic:
        lam, thetas = best.path.lam[point] / few.n_tasks * tasks.n_tasks, best.thetas[point]
    else:
        lam = meet_budget(best.machine, rows, params["loss_budget"], best.C)
        if lam == 0:
            warnings.warn(UpstairsWarning(f"loss_budget={params['loss_budget']:g} is met by θ = 0 already."), stacklevel=2)
        thetas, _ = _fold_models(best, held_out, lam / tasks.n_tasks * few.n_tasks, None)
    solutions = solve_outputs(best.machine, rows, lam, best.C, params["tol"] if automatic else min(params["tol"], PRECISE))
    loss = best.machine.loss
    # the same λ, but tasks may not differ
    pooled, _ = _fold_models(best._replace(C=STIFF), held_out, lam / tasks.n_tasks * few.n_tasks, None, STIFF_TOLERANCE)
    one_for_all = solve_outputs(best.machine, rows, lam, STIFF, STIFF_TOLERANCE)
    both = Thetas(thetas, pooled)
    share, C = choose_strength(best.machine, best.rows, both, held_out, best.C, params["C"] == "auto", rng)
    margins = margins_of_episodes(best.machine, best.rows, [both.mixed(part) for part in share], held_out, C)
    slope, offset = learn_logits(loss, best.rows, margins, held_out)
    spread = learn_spread(loss, best.rows, margins, held_out)
    theta, whole = (np.stack([one.theta for one in outputs]) for outputs in (solutions, one_for_all))
    head = Head(
        best.features, theta, whole, share, best.machine.relevance, C, slope, offset, spread, loss, scale, thetas, pooled
    )
    return Trained(head, rows, solutions, float(lam), best.path, margins)


def _candidates(held_out: HeldOut, Y: np.ndarray, logs: bool, params: dict, rng: np.random.Generator) -> list[Candidate]:
    """Paths of the kernels that are in question, the plainest first."""
    tasks, fold, _ = held_out
    design = learn_design(tasks, logs)
    D = design_matrix(design, tasks.X)
    M, C, noise = learn_relevance(D, Y, tasks, fold, np.append(-1, design.column), rng)
    relevance, turn = _axes(M)
    tube = params.get("tube", 0.0)
    loss = make_loss(params["loss"], TUBE * float(np.sqrt(noise)) if tube == "auto" else tube)
    gammas = WIDTHS if params["gamma"] == "auto" else (params["gamma"],)
    maps = []
    for kernel in ("linear", "rbf") if params["kernel"] == "auto" else (params["kernel"],):
        some = [
            learn_kernel(kernel, gamma, params["n_components"], D, rng, by_rank)
            for by_rank in ((False, True) if kernel == "rbf" else (False,))
            for gamma in (gammas if kernel in ("rbf", "poly") else gammas[:1])
        ]
        maps.append(choose_map(some, D, Y, tasks, fold, C * M[0, 0]))
    C = C if params["C"] == "auto" else params["C"]
    return [_walk(Features(design, one, turn), D, Y, relevance, C, loss, held_out) for one in maps]


def _axes(M: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The diagonal of M where it is diagonal, and the turn that leads there; none where it is already."""
    if not (M - np.diag(np.diag(M))).any():
        return np.diag(M), NO_TURN
    relevance, turn = np.linalg.eigh(M)
    return np.maximum(relevance, LEAST_RELEVANCE), turn


def _walk(
    features: Features, D: np.ndarray, Y: np.ndarray, relevance: np.ndarray, C: float, loss: Loss, held_out: HeldOut
) -> Candidate:
    """The path of one kernel, until the held-out score has been worse for a while."""
    tasks, counts = held_out.tasks, rows_by_task(held_out)
    phi = with_kernel(features.map, D, features.turn)
    own = np.full(phi.shape[1] - D.shape[1], KERNEL_SHARE * features.variances(relevance)[0] / KAPPA)
    machine = Machine(loss, np.concatenate([relevance, own]))
    rows = Rows(phi, Y, tasks.offsets)
    one = Candidate(features, machine, C, rows, Path(*np.empty((6, 0))), [], np.empty(0))
    lines, losses, thetas, models, whole = [], [], [], None, None
    best, worse = np.inf, 0
    for lam in GRID * tasks.n_tasks:
        theta, models = _fold_models(one, held_out, lam, models)
        whole = solve_outputs(machine, rows, lam, C, PATH_TOLERANCE, whole)
        margins = margins_of_episodes(machine, rows, [theta] * len(BUCKETS), held_out, np.full(len(BUCKETS), C))
        losses.append(losses_by_task(loss, rows, margins, held_out))
        thetas.append(theta)
        score = float(mean_score(losses[-1], counts, not loss.hinge))
        lines.append((lam, *_summary(whole, tasks), score))
        worse = worse + 1 if score > best + ENOUGH else 0
        best = min(best, score)
        if worse == TURNS:
            break
    path = Path(*(np.array(column) for column in zip(*lines, strict=True)))
    return one._replace(path=path, thetas=thetas, losses=np.array(losses))


def _summary(solutions: list[Solution], tasks: Tasks) -> tuple[float, float, int, int]:
    """Ē, ‖θ‖, support vectors and support tasks."""
    some = np.flatnonzero(np.any([one.slope != 0 for one in solutions], axis=0))
    norm = float(np.linalg.norm([one.theta for one in solutions]))
    return float(np.mean([one.loss for one in solutions])), norm, len(some), len(np.unique(tasks.task_of_row[some]))


def _fold_models(
    one: Candidate, held_out: HeldOut, lam: float, before: list[list[Solution]] | None, tolerance: float = PATH_TOLERANCE
) -> tuple[np.ndarray, list[list[Solution]]]:
    """θ [K, outputs, q] of models blind to each fold of tasks, at the same λ / T, and their solutions."""
    tasks, fold, _ = held_out
    models = []
    for k in range(fold.max() + 1):
        seen = fold != k
        mine = np.repeat(seen, tasks.sizes)
        rows = Rows(one.rows.phi[mine], one.rows.Y[mine], offsets_of(tasks.sizes[seen]))
        start = None if before is None else before[k]
        models.append(solve_outputs(one.machine, rows, lam / tasks.n_tasks * seen.sum(), one.C, tolerance, start))
    return np.array([[output.theta for output in outputs] for outputs in models]), models


def _combine_numbers(trained: list[Trained], held_out: HeldOut, rng: np.random.Generator) -> State:
    """Weigh the heads by bucket, choose the one that intervals come from, and calibrate it."""
    numbers, ys, names = [], [], []
    for b, (rows, task) in enumerate(held_out.queries()):
        numbers.append([
            number_of(one.head, one.margins[b][:, 0], np.full(len(rows), one.head.spread[b])) for one in trained
        ])  # fmt: skip
        ys.append(held_out.tasks.y[rows])
        names.append(task)
    heads = tuple(one.head for one in trained)
    blend, main, calibration = blend_heads(numbers, ys, names, [head.scale for head in heads], rng)
    return State(np.empty(0, int), heads[main].scale, calibration, heads, blend, main, *EMPTY)


def _combine_classes(trained: list[Trained], held_out: HeldOut, rng: np.random.Generator) -> State:
    """Temperatures of the classes' probabilities by bucket."""
    (one,) = trained
    log_probas, ys = [], []
    for b, (rows, _) in enumerate(held_out.queries()):
        logits = logits_of(one.margins[b], one.head.slope[b], one.head.offset[b])
        log_probas.append(class_log_proba(logits, np.zeros_like(logits)))
        ys.append(held_out.tasks.y[rows])
    calibration = learn_temperatures(BUCKETS, log_probas, ys)
    return State(np.empty(0, int), None, calibration, (one.head,), np.ones((len(BUCKETS), 1)), 0, *EMPTY)


def _info(state: State, main: Trained, n_support: int, tasks: Tasks, budget: float | str) -> Info:
    head, loss = main.head, float(np.mean([one.loss for one in main.solutions]))
    design, p = head.features.design, tasks.X.shape[1]
    relevance = head.features.variances(head.relevance)
    log = [one.scale is not None and one.scale.log for one in state.heads]
    return Info(
        tasks.n_tasks,
        len(tasks.y),
        n_support,
        int(state.support_task.sum()),
        head.features.map.kernel,
        head.features.map.gamma if head.features.map.kernel in ("rbf", "poly") else float("nan"),
        main.lam,
        loss if budget == "auto" else float(budget),
        loss,
        float(np.linalg.norm(head.theta)),
        max(one.gap for one in main.solutions),
        main.path,
        float(relevance[0]),
        by_column(design, relevance[None], p)[0],
        log[state.main],
        state.blend @ np.array(log, float),
    )
