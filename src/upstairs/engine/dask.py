"""A Dask cluster: the one that this program is a client of, one that exists, by its address, or else one of this machine that
nobody else can reach."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

__all__ = ["connection", "run"]

AT_ONCE = 4
"""Shards that wait at each worker: so many that it is never idle, and so few that a slow one keeps none from the others."""


def run(function: Callable, shards: Sequence, n_jobs: int, address: str | None) -> Iterator[tuple[Any, Any]]:
    """Results of the shards as they end. Dask runs again what was lost with a worker."""
    from distributed import as_completed

    with connection(n_jobs, address) as client:
        # a task, not scattered data, which would be lost with the worker that holds it
        shared = client.submit(_itself, function, pure=False)
        waiting = iter(shards)
        most = AT_ONCE * max(n_jobs, sum(client.nthreads().values()))
        running: dict[Any, Any] = {}
        ended = as_completed(loop=client.loop)
        for shard in _take(waiting, most):
            _submit(client, ended, running, shared, shard)
        for future in ended:
            shard = running.pop(future.key)
            result = future.result()
            future.release()
            for another in _take(waiting, 1):
                _submit(client, ended, running, shared, another)
            yield shard, result


@contextlib.contextmanager
def connection(n_jobs: int, address: str | None) -> Iterator[Any]:
    """A client, the one that is there already if it is of that cluster."""
    import dask
    from distributed import Client, LocalCluster

    try:
        current = Client.current()
    except ValueError:
        current = None
    if current is not None and address in (None, current.scheduler.address):
        yield current
        return
    with dask.config.set({"distributed.scheduler.allowed-failures": 20}):
        if address is not None:
            with Client(address) as client:
                yield client
            return
        with (
            LocalCluster(n_workers=n_jobs, threads_per_worker=1, host="127.0.0.1", dashboard_address=None) as cluster,
            Client(cluster) as client,
        ):
            yield client


def _submit(client: Any, ended: Any, running: dict, shared: Any, shard: Any) -> None:
    future = client.submit(_call, shared, shard, pure=False)
    running[future.key] = shard
    ended.add(future)


def _itself(function: Callable) -> Callable:
    return function


def _call(function: Callable, shard: Any) -> Any:
    return function(shard)


def _take(shards: Iterator, n: int) -> Iterator:
    for _ in range(n):
        try:
            yield next(shards)
        except StopIteration:
            return
