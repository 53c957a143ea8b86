"""What meta-models blind to a task make of its episodes: margins, their losses, and what makes them honest."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.special import expit, log_expit

from upstairs.episodes import BUCKETS, Episodes
from upstairs.svm.machine import Machine, adapt_machines
from upstairs.svm.problem import Loss
from upstairs.svm.rows import Rows
from upstairs.tasks import Tasks, offsets_of

__all__ = [
    "HeldOut",
    "Thetas",
    "choose_strength",
    "learn_logits",
    "learn_spread",
    "losses_by_task",
    "margins_of_episodes",
    "rows_by_task",
]

LOG_STRENGTHS = tuple(np.log((0.1, 0.3, 1.0, 3.0, 10.0)))
"""Of C by number of shots, in units of the companion's."""
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Of the machine that all rows share in the meta-model, by number of shots."""
N_BOOTSTRAPS = 200
DRAWN = 1e-3
"""How far slopes of logits are drawn to ``USUAL``."""
USUAL = 2.0
MOST_STEPS, SHORTEST_STEP, SMALLEST_DECREASE = 50, 1e-4, 1e-10
"""Of Newton's method for them."""


class HeldOut(NamedTuple):
    """Tasks that choices are made on, the fold [T] of each, and episodes of them."""

    tasks: Tasks
    fold: np.ndarray
    episodes: Episodes

    def queries(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """At each bucket of shots, query rows [n] of the episodes that tell it, and their tasks [n]."""
        pairs = []
        for shots in BUCKETS:
            some = self.episodes.telling(shots)
            asked = some.query >= 0
            pairs.append((some.query[asked], np.repeat(some.task, asked.sum(axis=1))))
        return pairs


class Thetas(NamedTuple):
    """θ of fold models, float64 [K, outputs, q]: of machines that differ by task, and of the one that all rows share."""

    joint: np.ndarray
    pooled: np.ndarray

    def mixed(self, share: float) -> np.ndarray:
        return self.joint + share * (self.pooled - self.joint)


def margins_of_episodes(
    machine: Machine, rows: Rows, thetas: list[np.ndarray], held_out: HeldOut, C: np.ndarray
) -> list[np.ndarray]:
    """f [n, outputs] of the query rows at each bucket, by θ [K, outputs, q] of the fold that hasn't seen the task and C [B]."""
    return [_margins(machine, rows, thetas[b], C[b], held_out, shots) for b, shots in enumerate(BUCKETS)]


def choose_strength(
    machine: Machine, rows: Rows, thetas: Thetas, held_out: HeldOut, C: float, free: bool, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The pooled machine's share [B] and then, if it is free, C [B] of smallest held-out loss at each bucket, around the
    companion's; where there are no such episodes, the share of the bucket before, and the companion's C.

    A choice is averaged over bootstraps of the tasks: where few tasks decide, their coming and going draws it to the middle.
    """
    n_tasks = held_out.tasks.n_tasks
    chosen, share = np.full(len(BUCKETS), C), np.zeros(len(BUCKETS))
    draws = rng.multinomial(n_tasks, np.full(n_tasks, 1 / n_tasks), size=N_BOOTSTRAPS)
    for b, (shots, (query, task)) in enumerate(zip(BUCKETS, held_out.queries(), strict=True)):
        if len(query) == 0:
            share[b] = share[b - 1]
            continue

        def average(values: tuple[float, ...], ask: Callable, query=query, task=task, shots=shots) -> float:
            margins = [_margins(machine, rows, theta, own, held_out, shots) for theta, own in map(ask, values)]
            losses = [_row_losses(machine.loss, rows.Y[query], one) for one in margins]
            by_task = np.array([np.bincount(task, one, minlength=n_tasks) for one in losses])
            return float(np.asarray(values)[np.argmin(draws @ by_task.T, axis=1)].mean())

        share[b] = average(SHARES, lambda part: (thetas.mixed(part), C))
        if free and shots > 0:
            theta = thetas.mixed(share[b])
            chosen[b] = C * np.exp(average(LOG_STRENGTHS, lambda factor, theta=theta: (theta, C * np.exp(factor))))
    return share, chosen


def losses_by_task(loss: Loss, rows: Rows, margins: list[np.ndarray], held_out: HeldOut) -> np.ndarray:
    """Held-out losses [B, T], summed over rows and outputs."""
    n_tasks = held_out.tasks.n_tasks
    return np.array([
        np.bincount(task, _row_losses(loss, rows.Y[query], f), minlength=n_tasks)
        for f, (query, task) in zip(margins, held_out.queries(), strict=True)
    ])  # fmt: skip


def rows_by_task(held_out: HeldOut) -> np.ndarray:
    """Query rows [B, T] behind them."""
    n_tasks = held_out.tasks.n_tasks
    return np.array([np.bincount(task, minlength=n_tasks).astype(float) for _, task in held_out.queries()])


def learn_logits(loss: Loss, rows: Rows, margins: list[np.ndarray], held_out: HeldOut) -> tuple[np.ndarray, np.ndarray]:
    """Slope and offset [B, outputs] of the logit in the margin (Platt 1999); ones and zeros for numbers."""
    n_outputs = rows.Y.shape[1]
    slope, offset = np.ones((len(BUCKETS), n_outputs)), np.zeros((len(BUCKETS), n_outputs))
    if loss.hinge:
        for b, (f, (query, _)) in enumerate(zip(margins, held_out.queries(), strict=True)):
            for c in range(n_outputs):
                last = (slope[b - 1, c], offset[b - 1, c])
                slope[b, c], offset[b, c] = _platt(f[:, c], rows.Y[query][:, c]) if len(query) else last
    return slope, offset


def learn_spread(loss: Loss, rows: Rows, margins: list[np.ndarray], held_out: HeldOut) -> np.ndarray:
    """Standard deviation [B] of held-out errors of u; ones for classes."""
    spread = np.ones(len(BUCKETS))
    if not loss.hinge:
        for b, (f, (query, _)) in enumerate(zip(margins, held_out.queries(), strict=True)):
            spread[b] = max(np.sqrt(np.mean((rows.Y[query] - f) ** 2)), 1e-6) if len(query) else spread[b - 1]
    return spread


def _margins(machine: Machine, rows: Rows, thetas: np.ndarray, C: float, held_out: HeldOut, shots: int) -> np.ndarray:
    some = held_out.episodes.telling(shots)
    support, asked = some.support[:, :shots], some.query >= 0
    given = support >= 0
    s, q, offsets = support[given], some.query[asked], offsets_of(given.sum(axis=1))
    fold = held_out.fold[some.task]
    own, per_query = np.repeat(fold, given.sum(axis=1)), np.repeat(np.arange(len(fold)), asked.sum(axis=1))
    phi_s, phi_q, Y_s = rows.phi[s], rows.phi[q], rows.Y[s]
    margins = np.empty((len(q), rows.Y.shape[1]))
    for c in range(margins.shape[1]):
        f = (phi_s * thetas[own, c]).sum(axis=1)
        v, _ = adapt_machines(machine, phi_s, Y_s[:, c], f, offsets, np.full(len(fold), C))
        margins[:, c] = (phi_q * (v + thetas[fold, c])[per_query]).sum(axis=1)
    return margins


def _row_losses(loss: Loss, Y: np.ndarray, f: np.ndarray) -> np.ndarray:
    """Of each row [n]: the log loss of its outputs once their margins are logits, or the squared error."""
    if not loss.hinge or len(Y) == 0:
        return ((Y - f) ** 2).sum(axis=1)
    logits = [slope * f[:, c] + offset for c in range(f.shape[1]) for slope, offset in [_platt(f[:, c], Y[:, c])]]
    return -log_expit(Y * np.column_stack(logits)).sum(axis=1)


def _platt(f: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Slope and offset of the logit by maximum likelihood, by Newton's method."""
    design, drawn, usual = np.column_stack([f, np.ones(len(f))]), DRAWN * np.eye(2), np.array([USUAL, 0.0])

    def loss(at: np.ndarray) -> float:
        return float(-log_expit(y * (design @ at)).mean() + (at - usual) @ drawn @ (at - usual) / 2)

    at, value = usual, loss(usual)
    for _ in range(MOST_STEPS):
        missing = expit(-y * (design @ at))
        gradient = -(y * missing) @ design / len(y) + drawn @ (at - usual)
        hessian = (design.T * (missing * (1 - missing))) @ design / len(y) + drawn
        move, length = np.linalg.solve(hessian, -gradient), 1.0
        decrease = -gradient @ move
        if decrease < SMALLEST_DECREASE:
            break
        while (new := loss(at + length * move)) > value - 1e-4 * length * decrease and length > SHORTEST_STEP:
            length /= 2
        at, value = at + length * move, new
    return at
