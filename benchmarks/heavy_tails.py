"""Do heavy tails explode? Lognormal levels times lognormal noise, scored on the user's own scale.

    python benchmarks/heavy_tails.py --learner forest --seeds 0 1 2 3 4

At each noise σ and number of shots: the learner's squared error over that of the better of pooled + shift and the shrunk task
mean, a geometric mean over seeds (it should stay below 1.1), and the worst seed. Beside it the worst seed of a forecaster who
knows f and both variances: one lucky row of a giant task makes even that one lose to a wrong guess. Errors are on new tasks'
other rows; with ``--truth`` they are about the expected y, so that no noise hides a difference.
"""

import argparse

import numpy as np
import pandas as pd

from learners import add_learner_arguments, label_of, make_learner
from tables import add_quick, show, write
from upstairs.datasets import Data, make_heavy_tails
from upstairs.learners import learner_class

SIGMAS = [0.5, 1.0, 1.5, 2.0, 2.5]
SHOTS = [0, 1, 2, 5, 10, 20]
PEERS = ["pooled-shift", "shrunk-mean"]
N_TRAIN, N_NEW, N_ROWS, N_QUERY = 60, 90, 40, 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_learner_arguments(parser)
    add_quick(parser, seeds=[0, 1], sigmas=[0.5, 1.5])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--sigmas", nargs="+", type=float, default=SIGMAS)
    parser.add_argument("--level-sd", type=float, default=1.5, help="of the tasks' levels, in logs; default: %(default)s")
    parser.add_argument("--truth", action="store_true", help="errors about the expected y instead of y")
    args = parser.parse_args()
    rows = []
    for sigma in args.sigmas:
        for seed in args.seeds:
            data = make_heavy_tails(N_TRAIN + N_NEW, N_ROWS, level_sd=args.level_sd, noise_sd=sigma, random_state=seed)
            top = np.sort(data.y**2)[-len(data.y) // 100 :].sum() / (data.y**2).sum()
            asked = data.truth.mean if args.truth else data.y
            ours = _errors(make_learner(args, "regression", seed), data, asked)
            best = np.minimum(*(_errors(learner_class(peer, False)(random_state=seed), data, asked) for peer in PEERS))
            knowing = _errors_of_one_who_knows(data, args.level_sd**2, sigma**2, asked)
            rows += [
                {"sigma": sigma, "seed": seed, "shots": k, "ratio": ratio, "knowing": least, "top": top}
                for k, ratio, least in zip(SHOTS, ours / best, knowing / best, strict=True)
            ]
    results = pd.DataFrame(rows)
    mean = results.pivot_table(index="sigma", columns="shots", values="ratio", aggfunc=lambda r: np.exp(np.log(r).mean()))
    worst, knowing = (
        results.pivot_table(index="sigma", columns="shots", values=values, aggfunc="max") for values in ("ratio", "knowing")
    )
    mean["top 1 % hold"] = results.groupby("sigma").top.mean()
    show(f"{label_of(args)}: squared error / the better of {' and '.join(PEERS)}, by σ and shots, mean over seeds", mean)
    show("The worst seed", worst)
    show("The worst seed of one who knows f and the variances", knowing)
    write(args, "heavy-tails", mean)


def _errors(meta, data: Data, asked: np.ndarray) -> np.ndarray:
    """Mean squared error about ``asked`` [n] on new tasks at each number of shots."""
    row_of_task = np.tile(np.arange(N_ROWS), N_TRAIN + N_NEW)
    train, query = data.groups < N_TRAIN, (data.groups >= N_TRAIN) & (row_of_task >= N_ROWS - N_QUERY)
    meta.fit(data.X[train], data.y[train], groups=data.groups[train])
    errors = []
    for k in SHOTS:
        support = (data.groups >= N_TRAIN) & (row_of_task < k)
        if k == 0:
            predicted = meta.predict(data.X[query])
        else:
            models = meta.adapt_tasks(data.X[support], data.y[support], groups=data.groups[support])
            predicted = models.predict(data.X[query], groups=data.groups[query])
        errors.append(((predicted - asked[query]) ** 2).mean())
    return np.array(errors)


def _errors_of_one_who_knows(data: Data, b: float, w: float, asked: np.ndarray) -> np.ndarray:
    """Mean squared error of E[y | support] with the true shared part of log y and variances between b and within w."""
    n_tasks, errors = N_TRAIN + N_NEW, []
    r, shared = (x.reshape(n_tasks, N_ROWS)[N_TRAIN:] for x in (np.log(data.y) - data.truth.shared, data.truth.shared))
    asked = asked.reshape(n_tasks, N_ROWS)[N_TRAIN:, -N_QUERY:]
    for k in SHOTS:
        level, variance = b * r[:, :k].sum(axis=1) / (k * b + w), b * w / (k * b + w)
        predicted = np.exp(level[:, None] + shared[:, -N_QUERY:] + (variance + w) / 2)
        errors.append(((predicted - asked) ** 2).mean())
    return np.array(errors)


if __name__ == "__main__":
    main()
