"""Is it worth asking which rows to label next, rather than labelling any?

    python benchmarks/suggest_rows.py                                          # minutes
    python benchmarks/suggest_rows.py --panels exam,milk --learner hierarchical-ridge --within-train

Of each unseen task half of the rows are query, at most 40 of the others are candidates. ``meta.suggest_rows`` names 1, 2, 5
and 10 candidates, beginning with nothing; others are drawn at random, five times over. Both are labelled and adapted to. Two
things are shown, suggested over random rows: the error on the query rows (mean squared error; log loss for classes), most of
which is noise that no row takes away; and what is yet to be learned, the mean squared distance from the predictions after all
candidates. Geometric means over seeds and panels; the standard error is that of the mean logarithm over panels. With
``--within-train`` the unseen tasks stay unseen: the meta-train tasks are split again.
"""

import argparse

import numpy as np
import pandas as pd

import panels
from learners import add_learner_arguments, label_of, make_learner
from tables import add_quick, show, write

SHOTS = (1, 2, 5, 10)
PANELS = ("exam", "hsb82", "egsingle", "milk", "wages", "txhousing", "contraception", "headache")
N_RANDOM = 5
MOST_CANDIDATES, MOST_TASKS = 40, 40


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_learner_arguments(parser)
    add_quick(parser, panels="exam,milk", seeds=1)
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
            records += [{"panel": name, "shots": s, "error": e, "to learn": d} for s, (e, d) in ratios.items()]
            print(name, seed, {s: ratio.round(3).tolist() for s, ratio in ratios.items()}, flush=True)
    summary = summarise(pd.DataFrame(records))
    show(f"{label_of(args)}: suggested rows over random ones", summary)
    if not args.within_train:
        write(args, "suggest-rows", summary)


def compare(args: argparse.Namespace, panel: panels.Panel, seed: int) -> dict[int, np.ndarray]:
    """Error, and what is yet to be learned, of suggested rows over that of random ones, by number of rows: each [2]."""
    train, unseen = panels.split(panel, seed)
    meta = make_learner(args, panel.kind, seed).fit(panel.X[train], panel.y[train], groups=panel.task[train])
    total = {s: np.zeros((2, 2)) for s in SHOTS}
    for task, candidates, query in panels.episodes(panel, MOST_CANDIDATES, seed):
        if task in unseen[:MOST_TASKS].tolist() and len(candidates) >= 2:
            suggested = candidates[meta.suggest_rows(panel.X.iloc[candidates], n=min(SHOTS[-1], len(candidates) - 1))]
            rng = np.random.default_rng([seed, task])
            drawn = [rng.permutation(candidates)[: len(suggested)] for _ in range(N_RANDOM)]
            goal = answers(meta, panel, [candidates], query)[0]
            for s in SHOTS:
                given = answers(meta, panel, [rows[:s] for rows in [suggested, *drawn]], query)
                errors = [error(answer, panel, query) for answer in given]
                distances = ((given - goal) ** 2).mean(axis=tuple(range(1, given.ndim)))
                total[s] += [[errors[0], np.mean(errors[1:])], [distances[0], distances[1:].mean()]]
    return {s: sums[:, 0] / sums[:, 1] for s, sums in total.items()}


def answers(meta, panel: panels.Panel, supports: list[np.ndarray], query: np.ndarray) -> np.ndarray:
    """Predictions [k, n], or probabilities [k, n, C], for the query rows of one task after each of k supports."""
    rows, copy = np.concatenate(supports), np.repeat(np.arange(len(supports)), [len(support) for support in supports])
    models = meta.adapt_tasks(panel.X.iloc[rows], panel.y[rows], groups=copy)
    X, asked = panel.X.iloc[np.tile(query, len(supports))], np.repeat(np.arange(len(supports)), len(query))
    given = models.predict_proba(X, groups=asked) if panel.kind == "classification" else models.predict(X, groups=asked)
    return np.asarray(given).reshape(len(supports), len(query), *np.shape(given)[1:])


def error(answer: np.ndarray, panel: panels.Panel, query: np.ndarray) -> float:
    y = panel.y[query]
    if panel.kind == "classification":
        return float(-np.log(answer[np.arange(len(y)), y]).mean())
    return float(((answer - y) ** 2).mean())


def summarise(records: pd.DataFrame) -> pd.DataFrame:
    """Both ratios of each panel by shots, then of all of them with the standard error over panels of the logarithm."""
    values = records.pivot_table(["error", "to learn"], "panel", "shots", aggfunc=lambda ratios: np.log(ratios).mean())
    table = np.exp(values)
    table.loc["geometric mean"] = np.exp(values.mean())
    table.loc["standard error"] = values.sem()
    return table


if __name__ == "__main__":
    main()
