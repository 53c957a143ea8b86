"""How fast are machines learned and adapted, and with how much memory?

    python benchmarks/machines.py

1. Outer learning of one meta-model on 20 columns and tasks of 50 rows, beside LinearSVC (liblinear) on the pooled rows with
   the same loss, the same C for each row and the same relative distance to its own optimum (which our solver finds, to a tenth
   of that): CPU seconds, and how they grow with rows. Of the hinge a million rows take half an hour.
2. Adaptation of 100,000 tasks to 10 rows of 20 columns through the solver, and through ``adapt_tasks``: µs a task.
3. By how much outer learning raises the process's peak memory, over the bound rows × (p + 4) × 4 + tasks × p × 8 bytes.
"""

import argparse
import multiprocessing
import resource
import time
import warnings

import numpy as np
import pandas as pd
from sklearn.exceptions import ConvergenceWarning
from sklearn.svm import LinearSVC

from tables import add_quick, say, show
from upstairs import MetaSVC
from upstairs.svm.machine import Machine, adapt_machines, solve
from upstairs.svm.problem import make_loss

COLUMNS, ROWS, SUPPORT = 20, 50, 10
TOLERANCE = 1e-4
C, STIFF = 1.0, 1e-9
PATIENCE = 3
"""Times as long as ours that liblinear may take: an excess above the tolerance says that it was stopped."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_quick(parser, rows=[10_000, 100_000], losses=["squared_hinge"], tasks=20_000)
    parser.add_argument("--rows", nargs="*", type=int, default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--losses", nargs="*", default=["squared_hinge", "hinge"])
    parser.add_argument("--tasks", type=int, default=100_000, help="of part 2")
    args = parser.parse_args()
    for loss in args.losses:
        table = pd.DataFrame([_outer(loss, n) for n in args.rows]).set_index("rows")
        show(f"1. {loss}: CPU seconds to a relative gap of {TOLERANCE:g}", table, 3)
        if len(table) > 1:
            growth = np.polyfit(np.log(table.index), np.log(table["upstairs"]), 1)[0]
            say(f"Exponent of growth {growth:.2f}")
    for loss in args.losses:
        say(f"2. {loss}: {_adapt_us(loss, args.tasks):.1f} µs a task in the solver")
    say(f"2. adapt_tasks, {args.tasks:,} tasks: {_adapt_tasks_us(args.tasks):.1f} µs a task")
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        growth, bound = pool.apply(_memory, (args.rows[-1],))
    say(f"3. {args.rows[-1]:,} rows: outer learning adds {growth / 1e6:.0f} MB; the bound is {bound / 1e6:.0f} MB")


def _data(n_rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    n_tasks = n_rows // ROWS
    phi = rng.normal(size=(n_rows, COLUMNS)).astype(np.float32)
    phi[:, 0] = 1
    w = 1 + rng.normal(size=(n_tasks, COLUMNS)).astype(np.float32)
    f = np.einsum("tnq,tq->tn", phi.reshape(n_tasks, ROWS, COLUMNS), w).ravel()
    return phi, np.where(f + rng.normal(size=n_rows) > 0, 1.0, -1.0), np.arange(n_tasks + 1) * ROWS


def _outer(loss: str, n_rows: int) -> dict:
    phi, y, offsets = _data(n_rows)
    machine, n_tasks = Machine(make_loss(loss), np.full(COLUMNS, 1 / COLUMNS)), n_rows // ROWS
    solve(machine, phi[: 2 * ROWS], y[: 2 * ROWS], offsets[:3], 1.0, C, TOLERANCE)  # compiled
    start = time.process_time()
    one = solve(machine, phi, y, offsets, C * ROWS * n_tasks, C, TOLERANCE)
    ours = time.process_time() - start
    X, weight = phi.astype(np.float64), C / 2 if loss == "squared_hinge" else C

    def objective(w: np.ndarray) -> float:
        e = np.maximum(1 - y * (X @ w), 0)
        return float(w @ w / 2 + weight * (e**2 if loss == "squared_hinge" else e).sum())

    def liblinear(sweeps: int) -> tuple[float, float]:
        peer = LinearSVC(loss=loss, C=weight, dual=True, fit_intercept=False, tol=1e-12, max_iter=sweeps, random_state=0)
        start = time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            w = peer.fit(X, y).coef_[0]
        return time.process_time() - start, objective(w)

    # tasks that may not go anywhere from θ make the pooled problem; its gap is proven, where a long run only promises
    best = objective(solve(machine, phi, y, offsets, C * n_rows, STIFF, TOLERANCE / 10).theta)
    for sweeps in 2 ** np.arange(13):
        theirs, value = liblinear(sweeps)
        if value <= best * (1 + TOLERANCE) or theirs > PATIENCE * ours:
            break
    return {
        "rows": n_rows, "tasks": n_tasks, "upstairs": ours, "gap": one.gap, "steps": one.n_steps, "liblinear": theirs,
        "sweeps": sweeps, "excess": value / best - 1, "ratio": ours / theirs,
    }  # fmt: skip


def _adapt_us(loss: str, n_tasks: int) -> float:
    phi, y, _ = _data(n_tasks * SUPPORT)
    machine, offsets = Machine(make_loss(loss), np.full(COLUMNS, 1 / COLUMNS)), np.arange(n_tasks + 1) * SUPPORT
    f, strength = phi @ np.full(COLUMNS, 0.1, np.float32).astype(float), np.full(n_tasks, C)
    adapt_machines(machine, phi[:20], y[:20], f[:20], offsets[:3], strength[:2])
    start = time.process_time()
    adapt_machines(machine, phi, y, f, offsets, strength)
    return 1e6 * (time.process_time() - start) / n_tasks


def _adapt_tasks_us(n_tasks: int) -> float:
    phi, y, _ = _data(n_tasks * SUPPORT)
    X, task = phi[:, 1:], np.repeat(np.arange(n_tasks), SUPPORT)
    meta = MetaSVC(kernel="linear", random_state=0).fit(X[:5000], y[:5000], groups=task[:5000])
    meta.adapt_tasks(X[:1000], y[:1000], groups=task[:1000])
    start = time.process_time()
    meta.adapt_tasks(X, y, groups=task)
    return 1e6 * (time.process_time() - start) / n_tasks


def _memory(n_rows: int) -> tuple[int, int]:
    phi, y, offsets = _data(n_rows)
    machine, n_tasks = Machine(make_loss("squared_hinge"), np.full(COLUMNS, 1 / COLUMNS)), n_rows // ROWS
    solve(machine, phi[: 2 * ROWS], y[: 2 * ROWS], offsets[:3], 1.0, C, TOLERANCE)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    solve(machine, phi, y, offsets, C * n_rows, C, TOLERANCE)
    growth = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    return growth + phi.nbytes, 4 * n_rows * (COLUMNS + 4) + 8 * n_tasks * COLUMNS


if __name__ == "__main__":
    main()
