"""Is it worth asking which rows to label next, rather than labelling any?

    python benchmarks/suggest_rows.py                                          # minutes
    python benchmarks/suggest_rows.py --panels exam,milk --learner hierarchical-ridge --within-train

Of each unseen task of a panel half of the rows are query, at most 40 of the others are candidates. ``meta.suggest_rows`` names
1, 2, 5 and 10 candidates, beginning with nothing; others are drawn at random, five times over. Both are labelled and adapted
to. Shown is the error over that of random rows (mean squared error, or log loss for classes), a geometric mean over panels and
seeds, and the standard error of its logarithm over panels. With ``--within-train`` the unseen tasks stay unseen: the
meta-train tasks are split again.
"""

import argparse

import numpy as np
import pandas as pd

import panels
from learners import add_learner_arguments, label_of, make_learner
from tables import show, write

SHOTS = (1, 2, 5, 10)
PANELS = ("exam", "hsb82", "egsingle", "milk", "wages", "txhousing", "contraception", "headache")
N_RANDOM = 5
MOST_CANDIDATES, MOST_TASKS = 40, 40


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_learner_arguments(parser)
    parser.add_argument("--panels", default=",".join(PANELS))
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--within-train", action="store_true")
    args = parser.parse_args()
    records = []
    for name in args.panels.split(","):
        for seed in range(args.seeds):
            panel = panels.load(name)
            panel = panels.within_train(panel, seed) if args.within_train else panel
            ratios = compare(args, panel, seed)
            records += [{"panel": name, "seed": seed, "shots": s, "log": np.log(ratio)} for s, ratio in ratios.items()]
            print(name, seed, {s: round(ratio, 3) for s, ratio in ratios.items()}, flush=True)
    summary = summarise(pd.DataFrame(records))
    show(f"{label_of(args)}: error of suggested rows over that of random ones", summary)
    if not args.within_train:
        write(args, "suggest-rows", summary)


def compare(args: argparse.Namespace, panel: panels.Panel, seed: int) -> dict[int, float]:
    """Error of suggested rows over that of random ones, by number of rows."""
    train, unseen = panels.split(panel, seed)
    classify = panel.kind == "classification"
    meta = make_learner(args, panel.kind, seed).fit(panel.X[train], panel.y[train], groups=panel.task[train])
    total = {s: np.zeros(2) for s in SHOTS}
    for task, candidates, query in panels.episodes(panel, MOST_CANDIDATES, seed):
        if task in unseen[:MOST_TASKS].tolist() and len(candidates) >= 2:
            suggested = candidates[meta.suggest_rows(panel.X.iloc[candidates], n=min(SHOTS[-1], len(candidates)))]
            rng = np.random.default_rng([seed, task])
            drawn = [rng.permutation(candidates) for _ in range(N_RANDOM)]
            for s in SHOTS:
                errors = [error(meta, panel, rows[:s], query, classify) for rows in [suggested, *drawn]]
                total[s] += errors[0], np.mean(errors[1:])
    return {s: float(sums[0] / sums[1]) for s, sums in total.items()}


def error(meta, panel: panels.Panel, support: np.ndarray, query: np.ndarray, classify: bool) -> float:
    """Mean over the query rows of one task."""
    model, X, y = meta.adapt(panel.X.iloc[support], panel.y[support]), panel.X.iloc[query], panel.y[query]
    if classify:
        at = np.searchsorted(meta.classes_, y)
        return float(-np.log(np.asarray(model.predict_proba(X))[np.arange(len(y)), at]).mean())
    return float(((np.asarray(model.predict(X)) - y) ** 2).mean())


def summarise(records: pd.DataFrame) -> pd.DataFrame:
    """Each panel by shots, then all of them with the standard error over panels of the logarithm."""
    logs = records.pivot_table("log", "panel", "shots")
    table = np.exp(logs)
    table.loc["geometric mean"] = np.exp(logs.mean())
    table.loc["standard error"] = logs.sem()
    return table


if __name__ == "__main__":
    main()
