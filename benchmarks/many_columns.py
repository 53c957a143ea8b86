"""What do columns that mean nothing cost?

    python benchmarks/many_columns.py --quick
    python benchmarks/many_columns.py --panels exam --levels 0 20 100 --learners forest gradient

0, 20 or 100 columns of standard normal numbers are added to real panels. Every other one has one value a task, as a town's
altitude has: those are the dangerous ones, for with few tasks they tell them apart as well as what matters does.
"""

import argparse

import numpy as np
import pandas as pd

import sweep
from panels import PANELS, Panel

COLUMNS = [0, 20, 100]
QUICK = ["exam", "milk", "headache"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sweep.main("many-columns", "columns", parser, COLUMNS, PANELS, QUICK, _case)


def _case(args: argparse.Namespace, panel: Panel, seed: int, n_columns: int) -> sweep.Case:
    rng = np.random.default_rng([seed, 13])
    of_row = rng.normal(size=(len(panel.y), n_columns // 2))
    of_task = rng.normal(size=(panel.task.max() + 1, n_columns - n_columns // 2))[panel.task]
    added = pd.DataFrame(np.hstack([of_row, of_task])).add_prefix("nothing_")
    return sweep.Case(panel._replace(X=pd.concat([panel.X, added], axis=1)))


if __name__ == "__main__":
    main()
