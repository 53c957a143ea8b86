"""A Ray cluster: the one that this program is part of, one that exists, by its address, or else one of this machine."""

import contextlib
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

__all__ = ["connection", "run"]

AT_ONCE = 4
"""Shards that wait for each processor: so many that it is never idle, and so few that a slow one keeps none from the others."""

MOST_TRIES = 20


def run(function: Callable, shards: Sequence, n_jobs: int, address: str | None) -> Iterator[tuple[Any, Any]]:
    """Results of the shards as they end. Ray runs again what was lost with a worker or a node."""
    import ray

    with connection(n_jobs, address):
        call = ray.remote(max_retries=MOST_TRIES, num_cpus=1)(_call)
        shared, waiting = ray.put(function), iter(shards)
        most = AT_ONCE * max(n_jobs, int(ray.cluster_resources().get("CPU", 1)))
        running = {call.remote(shared, shard): shard for _, shard in zip(range(most), waiting, strict=False)}
        while running:
            (ended,), _ = ray.wait(list(running), num_returns=1)
            shard = running.pop(ended)
            result = ray.get(ended)
            for another in waiting:
                running[call.remote(shared, another)] = another
                break
            yield shard, result


@contextlib.contextmanager
def connection(n_jobs: int, address: str | None) -> Iterator[None]:
    """Part of the cluster, until this ends or as long as the program was before."""
    import ray

    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anyone
    options: dict[str, Any] = (
        {"address": address} if address else {"num_cpus": n_jobs, "include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    )
    ray.init(**options, log_to_driver=False, logging_level=logging.ERROR)
    try:
        yield
    finally:
        ray.shutdown()


def _call(function: Callable, shard: Any) -> Any:
    return function(shard)
