"""How long does a cluster take for all shards, when machines are slow or lost? A simulation of the rule of `map_shards`.

    python benchmarks/scheduler.py --nodes 100 --cores 16 --rows 1e9 --rate 20000

Nothing is run: events are drawn and played. The driver keeps so many shards on their way (``AT_ONCE`` for each core) and hands
one over in ``--hand-over`` seconds. Two rules: shards are "taken" by whichever core is free (the local engine, Ray, Spark), or
"assigned" to the core with the fewest waiting at the moment of submission, and never stolen from it (the worst that Dask may
do). A node that is lost returns its shards, half-done ones too, and another takes its place a minute later. No shard is run
twice to be faster. Ideal is all rows over the speed of all cores: a table tells how many times as long it took.
"""

import argparse
import heapq
import itertools
from collections import deque
from typing import NamedTuple

import numpy as np
import pandas as pd

from tables import add_quick, show


class Cluster(NamedTuple):
    """``slow`` of the nodes take ``factor`` times as long; each is lost once in ``mtbf`` seconds on average."""

    nodes: int
    cores: int
    slow: float = 0.0
    factor: float = 3.0
    mtbf: float = np.inf
    restart: float = 60.0
    hand_over: float = 0.0


class Core:
    """What waits at one core, what it does, and whether it is there."""

    def __init__(self, pace: float):
        self.pace, self.waiting, self.doing, self.there, self.life = pace, deque(), None, True, 0


class Play:
    """One simulated run.

    Parameters
    ----------
    seconds : float64 [S]
        Of each shard on a core of ordinary speed.
    at_once : int
        Shards on their way for each core.
    assigned : bool
        To a core when submitted, rather than taken by the first that is free.
    """

    def __init__(self, seconds: np.ndarray, cluster: Cluster, at_once: int, assigned: bool, rng: np.random.Generator):
        self.seconds, self.cluster, self.assigned, self.rng = seconds, cluster, assigned, rng
        slow = rng.permutation(cluster.nodes) < round(cluster.slow * cluster.nodes)
        self.cores = [Core(cluster.factor if slow[i // cluster.cores] else 1.0) for i in range(cluster.nodes * cluster.cores)]
        self.load, self.idle = np.zeros(len(self.cores)), set(range(len(self.cores)))
        self.todo, self.central = deque(range(len(seconds))), deque()
        self.events: list[tuple] = []
        self.order, self.left, self.driver, self.starts = itertools.count(), len(seconds), 0.0, 0
        for node in range(cluster.nodes if np.isfinite(cluster.mtbf) else 0):
            self.say(rng.exponential(cluster.mtbf), "lose", node)
        for _ in range(min(len(seconds), at_once * len(self.cores))):
            self.submit(0.0)

    def run(self) -> tuple[float, int]:
        """Seconds until every shard is done, and starts of shards, those that were lost among them."""
        now = 0.0
        while self.left:
            now, _, what, *about = heapq.heappop(self.events)
            getattr(self, what)(now, *about)
        return now, self.starts

    def say(self, when: float, what: str, *about: int) -> None:
        heapq.heappush(self.events, (when, next(self.order), what, *about))

    def submit(self, now: float) -> None:
        """The driver hands over the next shard, one after the other."""
        self.driver = max(self.driver, now) + self.cluster.hand_over
        self.say(self.driver, "arrive", self.todo.popleft())

    def arrive(self, now: float, shard: int) -> None:
        if self.assigned:
            i = int(self.load.argmin())
            self.load[i] += 1
            self.cores[i].waiting.append(shard)
            self.begin(now, i)
        else:
            self.central.append(shard)
            if self.idle:
                self.begin(now, self.idle.pop())

    def begin(self, now: float, i: int) -> None:
        """If there is a shard for this core, and it is free."""
        core = self.cores[i]
        queue = core.waiting or self.central
        if core.there and core.doing is None and queue:
            core.doing = queue.popleft()
            self.starts += 1
            self.say(now + self.seconds[core.doing] * core.pace, "end", i, core.life)
        elif core.there and core.doing is None:
            self.idle.add(i)

    def end(self, now: float, i: int, life: int) -> None:
        if self.cores[i].life != life:  # it was lost before
            return
        self.cores[i].doing = None
        self.load[i] -= self.assigned
        self.left -= 1
        if self.todo:
            self.submit(now)
        self.begin(now, i)

    def lose(self, now: float, node: int) -> None:
        for i in range(node * self.cluster.cores, (node + 1) * self.cluster.cores):
            core = self.cores[i]
            returned = [*core.waiting, *([] if core.doing is None else [core.doing])]
            self.todo.extendleft(returned)
            for _ in returned:
                self.submit(now)
            core.waiting.clear()
            core.doing, core.there, core.life, self.load[i] = None, False, core.life + 1, np.inf
            self.idle.discard(i)
            self.say(now + self.cluster.restart, "back", i)
        self.say(now + self.cluster.restart + self.rng.exponential(self.cluster.mtbf), "lose", node)

    def back(self, now: float, i: int) -> None:
        self.cores[i].there, self.load[i] = True, 0
        self.begin(now, i)


def main(given: argparse.Namespace) -> None:
    plain = Cluster(given.nodes, given.cores, hand_over=given.hand_over)
    clusters = {
        "all alike": plain,
        "1 node in 20 three times slower": plain._replace(slow=0.05),
        "each node lost once in 10 minutes": plain._replace(mtbf=600),
        "both": plain._replace(slow=0.05, mtbf=600),
    }
    rows = []
    for shard_rows, (name, cluster) in itertools.product(given.shard_rows, clusters.items()):
        n_shards = -(-given.rows // shard_rows)
        ideal = given.rows / given.rate / (plain.nodes * plain.cores * (1 - cluster.slow * (1 - 1 / cluster.factor)))
        row = {"shard rows": shard_rows, "shards": n_shards, "cluster": name, "ideal s": round(ideal)}
        for rule in ("taken", "assigned"):
            told = []
            for seed in range(given.rounds):
                rng = np.random.default_rng(seed)
                seconds = shard_rows / given.rate * rng.lognormal(-0.5 * given.spread**2, given.spread, n_shards)
                makespan, starts = Play(seconds, cluster, given.at_once, rule == "assigned", rng).run()
                told.append((makespan / ideal, starts - n_shards))
            longer, again = np.median(told, axis=0)
            row |= {rule: longer, f"{rule}, again": int(again)}
        rows.append(row)
    show("Time over the ideal, and shards that had to be run again", pd.DataFrame(rows).set_index("shard rows"), 2)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=100)
    parser.add_argument("--cores", type=int, default=16)
    parser.add_argument("--rows", type=lambda text: int(float(text)), default=10**9)
    parser.add_argument("--rate", type=float, default=20_000, help="rows a second of one core, measured by bulk.py")
    parser.add_argument("--hand-over", type=float, default=0.008, help="seconds of the driver for each shard")
    parser.add_argument("--shard-rows", type=int, nargs="+", default=[2**19, 2**18, 2**17, 2**15])
    parser.add_argument("--at-once", type=int, default=4)
    parser.add_argument("--spread", type=float, default=0.2, help="of a shard's time, standard deviation of its logarithm")
    parser.add_argument("--rounds", type=int, default=3)
    add_quick(parser, nodes=20, rounds=1)
    main(parser.parse_args())
