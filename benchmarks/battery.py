"""How good on unseen tasks of real panels, beside what today's methods reach?

    python benchmarks/battery.py --quick                      9 small panels, seed 0, 4 numbers of shots
    python benchmarks/battery.py --seeds 0 1 2 --resume       all 18 panels, what is already in results/ is kept
    python benchmarks/battery.py --within-train --against X   choose between variants by tasks held out within meta-train

nmse = squared error / squares about the meta-train mean, over all query rows of all unseen tasks; log loss per query row. All
numbers come through the public API; every unseen task of a shot count is adapted to in one call of `adapt_tasks`, which equals
one by one by contract (``--one-by-one`` checks it). Results are rows of results/raw/; `report.py` reads them, and what it says
of all panels is kept as results/battery-<label>.txt.
"""

import argparse
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

import report
from learners import add_learner_arguments, can_learn, label_of, make_learner, warm_up
from panels import PANELS, QUICK_PANELS, Panel, episodes, load, split, within_train
from tables import add_quick, show

RAW = Path(__file__).parent / "results" / "raw"
SHOTS = [0, 1, 2, 5, 10, 20]
QUICK_SHOTS = [0, 1, 5, 20]
LEAST_PROBABILITY = 1e-6


class Draw(NamedTuple):
    """Support and query rows of every unseen task at one number of shots, and the task of each."""

    support: np.ndarray
    support_task: np.ndarray
    query: np.ndarray
    query_task: np.ndarray


def main() -> None:
    args = _arguments()
    label = args.label or label_of(args) + (" quick" if args.quick else "")  # the raw rows of a whole run stay as they are
    path = RAW / ("within-train" if args.within_train else "unseen") / f"{label}.csv"
    if not args.show:
        run(args, path)
    if not path.exists():
        raise SystemExit(f"There are no results of {label} on {', '.join(args.panels)} (some peers learn only numbers).")
    results = pd.read_csv(path)
    text = report.text(label, results, args.against, path.parent, args.panels, args.shots, args.seeds)
    print(text)
    if args.quick and args.against is None:
        show(f"{label} on {results.panel.nunique()} panels, by shots", report.ratios(results))
    if args.panels == PANELS and args.against is None:
        (RAW.parent / f"battery-{label}.txt").write_text(text + "\n")


def run(args: argparse.Namespace, path: Path) -> None:
    """Add rows of figures to a file: of each seed, panel and number of shots of ``args`` that it lacks, if those are kept."""
    path.parent.mkdir(parents=True, exist_ok=True)
    done = set()
    if args.resume and path.exists():
        done = {(row.panel, row.seed, row.shots) for row in pd.read_csv(path).itertuples()}
    else:
        path.unlink(missing_ok=True)
    warm = set()
    for seed in args.seeds:
        for name in args.panels:
            missing = [k for k in args.shots if (name, seed, k) not in done]
            if not missing or not can_learn(args.learner, load(name).kind):
                continue
            panel = within_train(load(name), seed) if args.within_train else load(name)
            if panel.kind not in warm:
                warm_up(args, panel.kind)
                warm.add(panel.kind)
            rows = score(
                lambda panel=panel, seed=seed: make_learner(args, panel.kind, seed), panel, missing, seed, args.one_by_one
            )
            pd.DataFrame(rows).to_csv(path, mode="a", header=not path.exists(), index=False)
            print(report.progress(rows), flush=True)


def score(
    make: Callable,
    panel: Panel,
    shots: list[int],
    seed: int,
    one_by_one: bool = False,
    train: np.ndarray | None = None,
    episodes: Callable = episodes,
) -> list[dict]:
    """Fit on the meta-train tasks and score on the unseen ones: a row of figures for each number of shots.

    ``train`` [n] is a mask of other rows to fit, ``episodes`` another way to draw the rows of unseen tasks.
    """
    train = split(panel, seed)[0] if train is None else train
    meta = make()
    start = time.process_time()
    meta.fit(panel.X[train].reset_index(drop=True), panel.y[train], groups=panel.task[train])
    fit_cpu_s = time.process_time() - start
    predict = _predict_one_by_one if one_by_one else predict_at_once
    figures = _regression_figures if panel.kind == "regression" else _class_figures
    rows = []
    for k in shots:
        draw = gather(episodes(panel, k, seed))
        start = time.process_time()
        answers = predict(meta, panel, draw)
        ms = 1e3 * (time.process_time() - start)
        n_tasks = len(np.unique(draw.query_task))
        rows.append(
            {"panel": panel.name, "kind": panel.kind, "shots": k, "seed": seed, "tasks": n_tasks}
            | figures(panel.y[draw.query], draw.query_task, answers, panel.y[train])
            | {"fit_cpu_s": round(fit_cpu_s, 3), "ms_per_task": round(ms / n_tasks, 3)}
        )
    return rows


def gather(drawn: Iterable[tuple[int, np.ndarray, np.ndarray]]) -> Draw:
    """The episodes of all tasks as one."""
    tasks, supports, queries = zip(*drawn, strict=True)
    return Draw(
        np.concatenate(supports),
        np.repeat(tasks, [len(rows) for rows in supports]),
        np.concatenate(queries),
        np.repeat(tasks, [len(rows) for rows in queries]),
    )


def predict_at_once(meta, panel: Panel, draw: Draw) -> dict[str, np.ndarray]:
    """What the public API answers to the query rows of all tasks: ``mean``, ``low`` and ``high``, or ``proba``."""
    X = panel.X.iloc[draw.query].reset_index(drop=True)
    if len(draw.support) == 0:
        return _answers(meta, meta, X, panel.kind)
    support = panel.X.iloc[draw.support].reset_index(drop=True)
    models = meta.adapt_tasks(support, panel.y[draw.support], groups=draw.support_task)
    return _answers(meta, models, X, panel.kind, groups=draw.query_task)


def _predict_one_by_one(meta, panel: Panel, draw: Draw) -> dict[str, np.ndarray]:
    parts = []
    for task in pd.unique(draw.query_task):
        support, query = draw.support[draw.support_task == task], draw.query[draw.query_task == task]
        X = panel.X.iloc[support].reset_index(drop=True)
        model = meta.adapt(X, panel.y[support]) if len(support) else meta
        parts.append(_answers(meta, model, panel.X.iloc[query].reset_index(drop=True), panel.kind))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _answers(meta, model, X: pd.DataFrame, kind: str, **groups) -> dict[str, np.ndarray]:
    if kind == "regression":
        interval = np.asarray(model.predict_interval(X, coverage=0.9, **groups))
        return {"mean": np.asarray(model.predict(X, **groups)), "low": interval[:, 0], "high": interval[:, 1]}
    given = np.asarray(model.predict_proba(X, **groups))
    proba = np.full((len(X), int(max(meta.classes_)) + 1), LEAST_PROBABILITY)
    proba[:, np.asarray(meta.classes_, int)] = np.clip(given, LEAST_PROBABILITY, None)
    return {"proba": proba / proba.sum(axis=1, keepdims=True)}


def _regression_figures(y: np.ndarray, task: np.ndarray, answers: dict, y_train: np.ndarray) -> dict[str, float]:
    inside = np.where(np.isnan(answers["low"]), np.nan, (answers["low"] <= y) & (y <= answers["high"]))
    return {
        "nmse": ((y - answers["mean"]) ** 2).sum() / ((y - y_train.mean()) ** 2).sum(),
        "logloss": np.nan,
        "acc": np.nan,
        "coverage": pd.Series(inside).groupby(task).mean().mean(),  # each task weighs the same
        "coverage_rows": inside.mean(),
        "width": (answers["high"] - answers["low"]).mean() / y_train.std(),
    }


def _class_figures(y: np.ndarray, task: np.ndarray, answers: dict, y_train: np.ndarray) -> dict[str, float]:
    proba = answers["proba"]
    missing = dict.fromkeys(["coverage", "coverage_rows", "width"], np.nan)
    logloss = -np.log(proba[np.arange(len(y)), y]).mean()
    return {"nmse": np.nan, "logloss": logloss, "acc": (proba.argmax(axis=1) == y).mean(), **missing}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_learner_arguments(parser)
    add_quick(parser, panels=QUICK_PANELS, shots=QUICK_SHOTS)
    parser.add_argument("--panels", nargs="+", choices=PANELS, default=PANELS, metavar="PANEL", help=", ".join(PANELS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--shots", nargs="+", type=int, default=SHOTS, help="default: %(default)s")
    parser.add_argument("--resume", action="store_true", help="keep what is already in results/ and add what is missing")
    parser.add_argument("--show", action="store_true", help="only print the report of what is in results/")
    parser.add_argument("--label", help="name of the run in results/ and in tables (default: the learner and its parameters)")
    parser.add_argument("--against", nargs="+", metavar="LABEL", help="labels of earlier runs instead of the reference's peers")
    parser.add_argument("--one-by-one", action="store_true", help="adapt to each task by a call of its own")
    parser.add_argument("--within-train", action="store_true", help="never touch the unseen tasks: split meta-train again")
    args = parser.parse_args()
    if args.within_train and not args.against:
        args.against = []
    return args


if __name__ == "__main__":
    main()
