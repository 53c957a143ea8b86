"""Is AutoMeta as good as the best of its learners, which nobody knows beforehand?

    python benchmarks/best_learner.py --seeds 0 1 2     all 18 panels: hours
    python benchmarks/best_learner.py --quick

AutoMeta's error over that of the best single learner of each cell (panel and shots), on the unseen tasks of the battery, in
two ways. *After the fact*: the best is the one with the least error on these very tasks. It had luck, too: of four learners
that are equally good, the least of four errors is below what any of them would reach again. *Crossed*: the best is chosen by
its error on a random half of the unseen tasks, and compared with AutoMeta on the other half; the mean over 100 halves. That is
the choice of somebody who has labels of dozens of unseen tasks, while AutoMeta has seen none.
"""

import argparse

import numpy as np
import pandas as pd

import battery
import panels
from learners import make_named
from tables import add_quick, say, show, write

SINGLE = ["forest", "gradient", "svm", "hierarchical-ridge"]
N_HALVES = 100


def main() -> None:
    args = _arguments()
    rows = []
    for seed in args.seeds:
        for name in args.panels:
            errors = _task_errors(panels.load(name), args, seed)
            for shots, of_task in errors.items():
                after, crossed = _ratios(of_task["auto"], of_task[args.learners].to_numpy())
                rows.append({"panel": name, "seed": seed, "shots": shots, "after the fact": after, "crossed": crossed})
            told = pd.DataFrame(rows[-len(errors) :])[["after the fact", "crossed"]]
            print(f"{name:<14}seed {seed}  {'  '.join(f'{n}: {np.exp(v):.3f}' for n, v in told.mean().items())}", flush=True)
    results = pd.DataFrame(rows)
    by_panel, by_shots = (_mean(results, key) for key in ("panel", "shots"))
    show("Error of AutoMeta over that of the best single learner, by panel", by_panel)
    show("By shots", by_shots)
    if args.panels == panels.PANELS:
        write(argparse.Namespace(learner="auto", quick=args.quick), "best-learner", by_panel)
    whole = np.exp(results[["after the fact", "crossed"]].mean())
    say(f"\nOver all {len(results)} cells: after the fact {whole.iloc[0]:.3f}, crossed {whole.iloc[1]:.3f}.")


def _task_errors(panel: panels.Panel, args: argparse.Namespace, seed: int) -> dict[int, pd.DataFrame]:
    """By number of shots: of each unseen task [T] the sum of losses of each learner."""
    train, _ = panels.split(panel, seed)
    errors: dict[int, dict[str, np.ndarray]] = {shots: {} for shots in args.shots}
    for learner in ("auto", *args.learners):
        parameters = {"learners": tuple(args.learners)} if learner == "auto" else {}
        meta = make_named(learner, panel.kind, seed, **parameters)
        meta.fit(panel.X[train].reset_index(drop=True), panel.y[train], groups=panel.task[train])
        for shots in args.shots:
            draw = battery.gather(panels.episodes(panel, shots, seed))
            losses = _losses(panel, draw, battery.predict_at_once(meta, panel, draw))
            errors[shots][learner] = pd.Series(losses).groupby(draw.query_task).sum()
    return {shots: pd.DataFrame(own) for shots, own in errors.items()}


def _losses(panel: panels.Panel, draw: battery.Draw, answers: dict[str, np.ndarray]) -> np.ndarray:
    y = panel.y[draw.query]
    if panel.kind == "regression":
        return (y - answers["mean"]) ** 2
    return -np.log(answers["proba"][np.arange(len(y)), y])


def _ratios(auto: pd.Series, single: np.ndarray) -> tuple[float, float]:
    """Log of the error of AutoMeta [T] over that of the best of L learners [T, L]: after the fact, and crossed."""
    own, rng, crossed = auto.to_numpy(), np.random.default_rng(0), []
    for _ in range(N_HALVES):
        half = rng.permutation(len(own)) < len(own) // 2
        for chosen_on, judged_on in ((half, ~half), (~half, half)):
            best = single[chosen_on].sum(axis=0).argmin()
            crossed.append(np.log(own[judged_on].sum() / single[judged_on, best].sum()))
    return float(np.log(own.sum() / single.sum(axis=0).min())), float(np.mean(crossed))


def _mean(results: pd.DataFrame, key: str) -> pd.DataFrame:
    return np.exp(results.groupby(key)[["after the fact", "crossed"]].mean())


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_quick(parser, panels=["milk", "headache"], learners=["forest", "hierarchical-ridge"], shots=[0, 5])
    names = panels.PANELS
    parser.add_argument("--panels", nargs="+", choices=names, default=names, metavar="PANEL", help=", ".join(names))
    parser.add_argument("--learners", nargs="+", choices=SINGLE, default=SINGLE, help="default: %(default)s")
    parser.add_argument("--shots", nargs="+", type=int, default=battery.SHOTS, help="default: %(default)s")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    return parser.parse_args()


if __name__ == "__main__":
    main()
