"""How many tasks of a real panel must be learned from?

    python benchmarks/tasks_learned_from.py --quick
    python benchmarks/tasks_learned_from.py --panels nlswork --learners forest svm pooled-shift

Fitted on 5, 10, 20 or 50 of the meta-train tasks, drawn at random and nested; the unseen tasks are always the same. The panels
are those with 50 meta-train tasks or more. (`few_tasks.py` asks the same of PACOH's sinusoids, whose truth is known.)
"""

import argparse

import numpy as np

import sweep
from panels import Panel, split

PANELS = ["wages", "nlswork", "storms", "baseball", "movielens", "flights", "headache", "verbagg", "likes"]
TASKS = [5, 10, 20, 50]
QUICK = ["wages", "storms", "headache"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sweep.main("tasks-learned-from", "tasks", parser, TASKS, PANELS, QUICK, _case)


def _case(args: argparse.Namespace, panel: Panel, seed: int, n_tasks: int) -> sweep.Case:
    train, _ = split(panel, seed)
    known = np.random.default_rng([seed, 11]).permutation(np.unique(panel.task[train]))
    return sweep.Case(panel, train & np.isin(panel.task, known[:n_tasks]))


if __name__ == "__main__":
    main()
