"""The same learners on panels that are changed step by step: what the files that ask such a question share.

A file says how a panel is changed, and calls `main`. Its tables: each learner's error (nmse, log loss) over that of the best
other one at the same level, its error over its own at the first level, both as geometric means over panels and seeds, and the
cells (panel × level × shots) in which the first learner loses most.
"""

import argparse
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

import battery
import panels
from learners import CONTENDERS, can_learn, make_named
from tables import add_quick, say, show, write

__all__ = ["Case", "main"]

LEARNERS = ["forest", "svm", "pooled-shift", "hierarchical-ridge", "lgbm-taskid"]
QUICK_LEARNERS = ["forest", "pooled-shift", "hierarchical-ridge", "lgbm-taskid"]
CELL = ["panel", "seed", "level", "shots"]


class Case(NamedTuple):
    """A panel, the rows to fit (a mask; None: those of meta-train) and how rows of unseen tasks are drawn."""

    panel: panels.Panel
    train: np.ndarray | None = None
    episodes: Callable = panels.episodes


def main(name: str, what: str, parser: argparse.ArgumentParser, levels: list, names: list, quick: list, vary: Callable) -> None:
    """Read the command line, score all, print the tables.

    ``name`` is that of the file in results/, ``what`` says what the levels are, ``names`` are the panels that can be asked, and
    ``quick`` those of the quick form; ``vary(args, panel, seed, level)`` gives the case of a level.
    """
    args = _arguments(parser, what, levels, names, quick)
    path = battery.RAW / "sweeps" / f"{name}{' quick' if args.quick else ''}.csv"
    _run(args, path, vary)
    results = _read(path, args).pivot_table("error", CELL, "learner").reindex(columns=args.learners)
    own = _mean(_over_own(results, args.levels[0]), args.levels[1:], args.learners, what)
    if len(args.learners) > 1:
        best = _mean(_over_best_other(results), args.levels, args.learners, what)
        show(f"Error over that of the best other one, by {what} and shots", best)
        if (args.panels, args.levels, args.learners) == (names, levels, LEARNERS):
            write(argparse.Namespace(learner="all", quick=args.quick), name, best)
    if len(args.levels) > 1:
        show(f"Error over its own at {what} {args.levels[0]}", own)
    if len(args.learners) > 1:
        say(_losses(results, args.learners[0], what))


def _run(args: argparse.Namespace, path: Path, vary: Callable) -> None:
    """Add errors to a file: those of the cases and learners that are asked for and that it lacks, if the others are kept."""
    path.parent.mkdir(parents=True, exist_ok=True)
    done = set()
    if args.resume and path.exists():
        done = {(row.panel, row.seed, row.level, row.learner) for row in _read(path, args).itertuples()}
    else:
        path.unlink(missing_ok=True)
    for panel, seed, level in itertools.product(args.panels, args.seeds, args.levels):
        missing = [learner for learner in args.learners if (panel, seed, level, learner) not in done]
        case = vary(args, panels.load(panel), seed, level) if missing else None
        for learner in missing:
            if can_learn(learner, case.panel.kind):
                rows = pd.DataFrame(_score(learner, case, seed, level, args.shots))
                rows.to_csv(path, mode="a", header=not path.exists(), index=False)


def _read(path: Path, args: argparse.Namespace) -> pd.DataFrame:
    """What is kept of the panels, seeds, levels, learners and numbers of shots that are asked for."""
    rows = pd.read_csv(path)
    for column in (*CELL, "learner"):
        rows = rows[rows[column].isin(getattr(args, column if column == "shots" else f"{column}s"))]
    return rows


def _score(learner: str, case: Case, seed: int, level: object, shots: list[int]) -> list[dict]:
    scored = battery.score(
        lambda: make_named(learner, case.panel.kind, seed), case.panel, shots, seed, train=case.train, episodes=case.episodes
    )
    rows = [
        {key: row[key] for key in ("panel", "seed", "shots")}
        | {"level": level, "learner": learner, "error": row["nmse"] if case.panel.kind == "regression" else row["logloss"]}
        for row in scored
    ]
    told = "  ".join(f"{row['shots']}: {row['error']:.4f}" for row in rows)
    print(f"{case.panel.name:<14}seed {seed}  {level!s:<10}{learner:<20}{told}", flush=True)
    return rows


def _over_best_other(results: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({one: results[one] / results.drop(columns=one).min(axis=1) for one in results})


def _over_own(results: pd.DataFrame, first: object) -> pd.DataFrame:
    return results / results.xs(first, level="level").reindex(results.index.droplevel("level")).to_numpy()


def _mean(ratios: pd.DataFrame, levels: list, learners: list[str], what: str) -> pd.DataFrame:
    """Geometric mean over panels and seeds: a row for each level and learner, a column for each number of shots."""
    means = np.exp(np.log(ratios).groupby(["level", "shots"]).mean()).stack().unstack("shots")
    rows = pd.MultiIndex.from_product([levels, learners], names=[what, "learner"])
    return means.reindex(rows).rename(columns="{} shots".format)


def _losses(results: pd.DataFrame, ours: str, what: str) -> str:
    """How often the first learner is best, and where it loses most."""
    others = results.drop(columns=ours)
    ratio = (results[ours] / others.min(axis=1)).dropna().sort_values(ascending=False)
    told = f"\n{ours} is the best of them in {(ratio < 1).sum()} of {len(ratio)} cells"
    worst = [
        f"- {panel}, {what} {level}, {shots} shots: {value:.3f} × {others.loc[panel, seed, level, shots].idxmin()}"
        for (panel, seed, level, shots), value in ratio[ratio > 1].head(5).items()
    ]
    return "\n".join([f"{told}; where it loses most:\n", *worst] if worst else [f"{told}."])


def _arguments(parser: argparse.ArgumentParser, what: str, levels: list, names: list, quick: list) -> argparse.Namespace:
    add_quick(parser, panels=quick, learners=QUICK_LEARNERS, levels=[levels[0], levels[-1]], shots=[0, 5])
    kind = type(levels[0])
    parser.add_argument("--panels", nargs="+", choices=names, default=names, metavar="PANEL", help=", ".join(names))
    parser.add_argument(
        "--learners", nargs="+", choices=CONTENDERS, default=LEARNERS, metavar="NAME", help="default: %(default)s"
    )
    parser.add_argument("--levels", nargs="+", type=kind, default=levels, metavar="LEVEL", help=f"{what}; default: %(default)s")
    parser.add_argument("--shots", nargs="+", type=int, default=[0, 1, 5, 20], help="default: %(default)s")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--resume", action="store_true", help="keep what is already in results/ and add what is missing")
    return parser.parse_args()
