"""How fast, and with how much memory?

    python benchmarks/speed.py --learner forest

1. Fit: CPU seconds on real panels over those of the pooled LightGBM baseline (tuned on folds of tasks), in this very run.
2. One task through the public API: adapt to 10 rows and predict 10, in milliseconds (median).
3. Many tasks: adapt_tasks + predict of 100,000 tasks of 10 + 10 rows, linear ones of six columns and sine waves of one, in
   microseconds a task, and over one LightGBM model's predict of the same query rows.
4. Memory: by how much a fit of a table of numbers raises the process's peak, over the table's size.
"""

import argparse
import functools
import multiprocessing
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import lightgbm
import numpy as np
import pandas as pd

from learners import add_learner_arguments, label_of, make_learner, warm_up
from panels import PANELS, QUICK_PANELS, load, split
from tables import add_quick, say, show, write
from upstairs.datasets import make_random_slopes, make_sinusoids
from upstairs.learners import learner_class

ROWS, COLUMNS = 10, 6
MANY = {"linear tasks": functools.partial(make_random_slopes, n_columns=COLUMNS), "sine waves": make_sinusoids}
MOST_TIMES, MOST_SECONDS, SHORT = 6, 2.0, 0.3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_learner_arguments(parser)
    add_quick(parser, panels=["exam", "milk", "headache"], tasks=20_000, rows=50_000)
    parser.add_argument("--panels", nargs="*", choices=PANELS, default=QUICK_PANELS, metavar="PANEL")
    parser.add_argument("--tasks", type=int, default=100_000, help="of part 3; default: %(default)s")
    parser.add_argument("--rows", type=int, default=200_000, help="of part 4, of 20 columns; default: %(default)s")
    args = parser.parse_args()
    for kind in ("regression", "classification"):
        warm_up(args, kind)
    print(label_of(args))
    if args.panels:
        table = _fit_times(args)
        show("1. Fit, CPU seconds", table, 2)
        write(args, "speed", table)
    framed, plain = (_one_task_ms(args, table) for table in (_framed, np.asarray))
    say(f"\n2. One task of 10 + 10 rows: {framed:.2f} ms as a DataFrame, {plain:.2f} ms as an ndarray")
    for what, make in MANY.items():
        ours, pooled = _many_tasks_s(args, make)
        each = 1e6 * ours / args.tasks
        say(f"3. {args.tasks:,} {what}: {ours:.2f} s, {each:.1f} µs each, LightGBM {pooled:.2f} s, ratio {ours / pooled:.1f}")
    growth, size = _in_a_process_of_its_own(_fit_memory, args)
    say(f"4. {args.rows:,} × 20 numbers of {size / 1e6:.0f} MB: a fit adds {growth / 1e6:.0f} MB, {growth / size:.1f} ×")


def _fit_times(args: argparse.Namespace) -> pd.DataFrame:
    rows = []
    for name in args.panels:
        panel = load(name)
        train, _ = split(panel, 0)
        X, y, task = panel.X[train].reset_index(drop=True), panel.y[train], panel.task[train]
        pooled = learner_class("pooled", panel.kind == "classification")(random_state=0)
        ours, theirs = (_cpu_s(meta.fit, X, y, groups=task) for meta in (make_learner(args, panel.kind), pooled))
        limit = MOST_SECONDS if theirs < SHORT else MOST_TIMES * theirs
        rows.append(
            {"panel": name, "ours": ours, "pooled": theirs, "ratio": ours / theirs, "limit": limit, "kept": ours <= limit}
        )
    return pd.DataFrame(rows).set_index("panel")


def _framed(X: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(X, columns=list("abcdef"))


def _one_task_ms(args: argparse.Namespace, table, repeats: int = 200) -> float:
    X, y, groups, _ = make_random_slopes(200, 2 * ROWS, COLUMNS, random_state=0)
    meta = make_learner(args, "regression").fit(table(X), y, groups=groups)
    support, query, y_support = table(X[:ROWS]), table(X[ROWS : 2 * ROWS]), y[:ROWS]
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        meta.adapt(support, y_support).predict(query)
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times)


def _many_tasks_s(args: argparse.Namespace, make: Callable) -> tuple[float, float]:
    """CPU seconds of ours (median of three), and of one LightGBM model with early stopping, on the query rows of all tasks."""
    X, y, groups, _ = make(200 + args.tasks, 2 * ROWS, random_state=0)
    row, train = np.arange(len(y)) % (2 * ROWS), groups < 200
    support, query = ~train & (row < ROWS), ~train & (row >= ROWS)
    meta = make_learner(args, "regression").fit(X[train], y[train], groups=groups[train])
    params = {"verbosity": -1, "num_threads": 1, "min_data_in_leaf": 20}
    whole = lightgbm.Dataset(X[train], y[train], params=params, free_raw_data=False)
    late = groups[train] >= 160
    seen, unseen = (whole.subset(np.flatnonzero(rows)) for rows in (~late, late))
    booster = lightgbm.train(params, seen, 1000, [unseen], callbacks=[lightgbm.early_stopping(40, verbose=False)])

    def ours() -> None:
        models = meta.adapt_tasks(X[support], y[support], groups=groups[support])
        models.predict(X[query], groups=groups[query])

    return statistics.median(_cpu_s(ours) for _ in range(3)), _cpu_s(booster.predict, X[query], num_threads=1)


def _fit_memory(args: argparse.Namespace, answer) -> None:
    warm_up(args, "regression")
    X, y, groups, _ = make_random_slopes(args.rows // 50, 50, 20, random_state=0)
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far (Linux)
    before = _peak_bytes()
    make_learner(args, "regression").fit(X, y, groups=groups)
    answer.put((_peak_bytes() - before, X.nbytes + y.nbytes))


def _peak_bytes() -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return 1024 * int(line.split()[1])


def _in_a_process_of_its_own(function, args: argparse.Namespace):
    context = multiprocessing.get_context("spawn")
    answer = context.Queue()
    process = context.Process(target=function, args=(args, answer))
    process.start()
    result = answer.get()
    process.join()
    return result


def _cpu_s(work, *args, **kwargs) -> float:
    start = time.process_time()
    work(*args, **kwargs)
    return time.process_time() - start


if __name__ == "__main__":
    main()
