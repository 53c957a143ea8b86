"""What do wrong labels cost?

    python benchmarks/label_noise.py --quick
    python benchmarks/label_noise.py --where support --levels 0 0.2

A share of 0, 0.05 or 0.2 of the rows has the target of another row of the table, or for classes the other class: all rows but
the queries', so meta-train and supports alike, unless ``--where`` says that only one of both is spoiled.
"""

import argparse

import numpy as np

import sweep
from panels import PANELS, Panel, episodes, split

SHARES = [0.0, 0.05, 0.2]
QUICK = ["exam", "milk", "contraception"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--where", choices=["both", "train", "support"], default="both", help="default: %(default)s")
    sweep.main("label-noise", "share", parser, SHARES, PANELS, QUICK, _case)


def _case(args: argparse.Namespace, panel: Panel, seed: int, share: float) -> sweep.Case:
    train, _ = split(panel, seed)
    queries = np.concatenate([query for _, _, query in episodes(panel, 0, seed)])
    spoiled = np.random.default_rng([seed, 17]).random(len(panel.y)) < share
    spoiled[queries] = False
    if args.where != "both":
        spoiled &= train if args.where == "train" else ~train
    others = np.random.default_rng([seed, 19]).permutation(panel.y)
    wrong = others if panel.kind == "regression" else 1 - panel.y
    return sweep.Case(panel._replace(y=np.where(spoiled, wrong, panel.y)))


if __name__ == "__main__":
    main()
