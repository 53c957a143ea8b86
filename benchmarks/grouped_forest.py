"""Are new clusters predicted as well as by MERF, on MERF's own simulation? And are the variances right?

    python benchmarks/grouped_forest.py --learner forest --seeds 0 1 2 3 4

Mean squared error on the rows of 100 new clusters after 0, 1, 3, 5, 10 rows of each, in the six settings of Hajjem et al.
(2014); and the variances between and within clusters that the learner estimates (``info_``), beside the truth.
"""

import argparse

import numpy as np
import pandas as pd

from learners import add_learner_arguments, label_of, make_learner
from tables import add_quick, show, write
from upstairs.datasets import GROUPED_FOREST_SETTINGS, make_grouped_forest

SHOTS = [0, 1, 3, 5, 10]
N_KNOWN, N_ROWS = 100, 30
SETTINGS = list(range(1, len(GROUPED_FOREST_SETTINGS) + 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_learner_arguments(parser)
    add_quick(parser, seeds=[0, 1], settings=[1, 3])
    parser.add_argument("--settings", nargs="+", type=int, choices=SETTINGS, default=SETTINGS, help="default: all")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    args = parser.parse_args()
    results = pd.DataFrame([_score(args, setting, seed) for setting in args.settings for seed in args.seeds])
    table = results.groupby("setting").mean().drop(columns="seed")
    truth = pd.DataFrame(GROUPED_FOREST_SETTINGS, index=SETTINGS, columns=["m", "σ_b²"]).loc[args.settings]
    table.insert(len(SHOTS), "σ_b² true", truth["σ_b²"])
    table.insert(0, "m", truth["m"])
    show(f"{label_of(args)}: new-cluster MSE by number of support rows; estimated variances (σ² is 1)", table)
    write(args, "grouped-forest", table)


def _score(args: argparse.Namespace, setting: int, seed: int) -> dict:
    X, y, groups, _ = make_grouped_forest(setting, N_KNOWN, n_new_rows=N_ROWS, random_state=seed)
    train = groups < N_KNOWN
    meta = make_learner(args, "regression", seed).fit(X[train], y[train], groups=groups[train])
    X, y, groups = X[~train], y[~train], groups[~train]
    row_of_task = np.arange(len(y)) % N_ROWS
    query = row_of_task >= max(SHOTS)
    row = {"setting": setting, "seed": seed}
    for k in SHOTS:
        support = row_of_task < k
        if k == 0:
            predicted = meta.predict(X[query])
        else:
            predicted = meta.adapt_tasks(X[support], y[support], groups=groups[support]).predict(X[query], groups=groups[query])
        row[k] = ((predicted - y[query]) ** 2).mean()
    for name, symbol in [("level_variance", "σ_b²"), ("noise_variance", "σ²")]:
        row[f"{symbol} estimated"] = getattr(meta.info_, name, np.nan)
    return row


if __name__ == "__main__":
    main()
