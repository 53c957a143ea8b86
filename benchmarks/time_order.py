"""Does it hold when the support comes before the query in time?

    python benchmarks/time_order.py --quick
    python benchmarks/time_order.py --panels txhousing --learners forest gradient --seeds 0 1 2

In service a task's first rows are its oldest, and what is asked lies in the future. So the rows of each unseen task are put in
time; the later half is asked, at most 200 rows of it, and the support is the rows right before. Beside it the same panels with
rows in random order, where the support is spread over the query's own time. The panels are those with a column that is a time.
"""

import argparse
from collections.abc import Iterator

import numpy as np

import sweep
from panels import MOST_QUERY, Panel, split

TIMES = {
    "milk": ["Time"],
    "wages": ["exper"],
    "egsingle": ["year"],
    "nlswork": ["year"],
    "txhousing": ["year", "month"],
    "baseball": ["year"],
    "movielens": ["when"],
    "birthdays": ["year", "month", "day"],
    "headache": ["time"],
}
ORDERS = ["random", "time"]
QUICK = ["milk", "wages", "egsingle", "txhousing"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sweep.main("time-order", "order", parser, ORDERS, list(TIMES), QUICK, _case)


def _case(args: argparse.Namespace, panel: Panel, seed: int, order: str) -> sweep.Case:
    return sweep.Case(panel) if order == "random" else sweep.Case(panel, episodes=_in_time)


def _in_time(panel: Panel, shots: int, seed: int) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Task, support and query as `panels.episodes` gives them; rows of the same time are in random order."""
    _, unseen = split(panel, seed)
    chance = np.random.default_rng([seed, 7]).random(len(panel.task))
    order = np.lexsort((chance, *(panel.X[name] for name in reversed(TIMES[panel.name])), panel.task))
    starts = np.searchsorted(panel.task[order], np.arange(panel.task.max() + 2))
    for task in unseen.tolist():
        rows = order[starts[task] : starts[task + 1]]
        half = len(rows) // 2
        yield task, rows[max(0, half - shots) : half], rows[half:][:MOST_QUERY]


if __name__ == "__main__":
    main()
