"""How good on tasks known from fit?

    python benchmarks/known_tasks.py --learner forest --panels exam hsb82 milk

20 % of each task's rows, drawn at random, are held out; the rest is fitted, and the held-out rows are predicted with their task
(``predict(X, groups=...)``). Beside the learner: LightGBM with the task as a category and its out-of-fold target encoding, the
hierarchical ridge as a mixed model with slopes, and those peers of `peers.py` whose packages are installed.
"""

import argparse
import time

import numpy as np
import pandas as pd

from learners import CONTENDERS, add_learner_arguments, can_learn, label_of, make_learner, make_named, warm_up
from panels import PANELS, Panel, load, most_each
from peers import missing_package
from tables import add_quick, show, write

PEERS = ["lgbm-taskid", "hierarchical-ridge", "lmm", "gpboost"]
HELD_OUT, MOST_ROWS = 0.2, 60_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_learner_arguments(parser)
    add_quick(
        parser, panels=["exam", "milk", "wages", "contraception", "headache"], peers=["lgbm-taskid", "hierarchical-ridge"]
    )
    parser.add_argument("--panels", nargs="+", choices=PANELS, default=PANELS, metavar="PANEL", help=", ".join(PANELS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--peers", nargs="*", choices=CONTENDERS, metavar="PEER", default=PEERS, help="default: %(default)s")
    args = parser.parse_args()
    for kind in {load(name).kind for name in args.panels}:
        warm_up(args, kind)
    rows = [row for name in args.panels for seed in args.seeds for row in _score(args, load(name), seed)]
    table = pd.DataFrame(rows).pivot_table(index="panel", columns="method", values="error", sort=False)
    ours = label_of(args)
    show("Error on held-out rows of known tasks (nmse, log loss)", table, 4)
    ratios = table.rdiv(table[ours], axis=0).drop(columns=ours)
    summary = pd.DataFrame({"ratio": np.exp(np.log(ratios).mean()), "panels won": (ratios < 1).sum(), "of": ratios.count()})
    show(f"{ours}: geometric mean ratio of its error to", summary)
    write(args, "known-tasks", table)


def _score(args: argparse.Namespace, panel: Panel, seed: int) -> list[dict]:
    train, test = _hold_out_rows(panel, seed)
    methods = {label_of(args): make_learner(args, panel.kind, seed)}
    others = [name for name in args.peers if name != args.learner and can_learn(name, panel.kind) and not missing_package(name)]
    methods |= {name: make_named(name, panel.kind, seed) for name in others}
    scored = []
    for name, meta in methods.items():
        start = time.process_time()
        error = _error(panel, train, test, _predicted(meta, panel, train, test))
        seconds = time.process_time() - start
        scored.append({"panel": panel.name, "seed": seed, "method": name, "error": error, "cpu_s": seconds})
        print(f"{panel.name:<14}seed {seed}  {name:<20}{error:.4f}  {seconds:6.1f} s", flush=True)
    return scored


def _hold_out_rows(panel: Panel, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows to fit and to predict: a fifth of each task, at random; large panels are thinned evenly over tasks first."""
    rng = np.random.default_rng(seed)
    order = np.lexsort((rng.random(len(panel.task)), panel.task))
    sizes = np.bincount(panel.task)
    rank = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    kept = np.minimum(sizes, most_each(sizes, MOST_ROWS))[panel.task[order]]
    test = rank < np.round(HELD_OUT * kept)
    return order[~test & (rank < kept)], order[test]


def _error(panel: Panel, train: np.ndarray, test: np.ndarray, predicted: np.ndarray) -> float:
    y = panel.y[test]
    if panel.kind == "regression":
        return float(((y - predicted) ** 2).sum() / ((y - panel.y[train].mean()) ** 2).sum())
    p = np.clip(predicted, 1e-6, 1 - 1e-6)
    return float(-np.where(y == 1, np.log(p), np.log1p(-p)).mean())


def _predicted(meta, panel: Panel, train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """The mean, or the probability of class 1: all panels have two classes."""
    meta.fit(panel.X.iloc[train].reset_index(drop=True), panel.y[train], groups=panel.task[train])
    X = panel.X.iloc[test].reset_index(drop=True)
    if panel.kind == "regression":
        return np.asarray(meta.predict(X, groups=panel.task[test]))
    return np.asarray(meta.predict_proba(X, groups=panel.task[test]))[:, 1]


if __name__ == "__main__":
    main()
