"""Many pieces of work, each named by an id: done here, by processes of this machine, or by a cluster that is there already.

Ids travel, never rows: a worker opens the files itself, and mapped files are shared by the processes of a machine. Wherever it
runs, a shard may run more than once (a worker dies, and another takes over), so the function must leave the same result
however often it is called: it writes under a temporary name and renames.
"""

import importlib
import importlib.util
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

from upstairs.errors import UpstairsError

__all__ = ["ENGINES", "check_engine", "connection", "map_shards"]

ENGINES = {"local": "joblib", "dask": "distributed", "ray": "ray", "spark": "pyspark"}
"""Engines, and the package that each needs; each is the file of its name beside this one."""


def map_shards(
    function: Callable[[Any], Any],
    shard_ids: Sequence[Any],
    *,
    engine: str = "local",
    n_jobs: int = 1,
    address: str | None = None,
    is_done: Callable[[Any], bool] = lambda shard: False,
) -> Iterator[tuple[Any, Any]]:
    """Call a function for every shard that isn't done.

    Parameters
    ----------
    function : callable
        Takes a shard's id, returns something small, and can be called again: see above. It must be picklable.
    shard_ids : sequence
        Hashable.
    engine : {"local", "dask", "ray", "spark"}, default="local"
    n_jobs : int, default=1
        Processes of the local engine, or workers of a cluster that is started here.
    address : str, optional
        Of a cluster that exists, as its own client takes it; without it one is started on this machine.
    is_done : callable, optional
        Which shards to skip.

    Yields
    ------
    shard id, result
        In the order in which shards end.
    """
    check_engine(engine, n_jobs)
    todo = [shard for shard in shard_ids if not is_done(shard)]
    yield from _room(engine).run(function, todo, n_jobs, address)


def connection(engine: str = "local", n_jobs: int = 1, address: str | None = None) -> AbstractContextManager:
    """The cluster for several calls of `map_shards`, each of which else connects to it, or starts one, by itself."""
    check_engine(engine, n_jobs)
    return _room(engine).connection(n_jobs, address)


def check_engine(engine: str, n_jobs: int) -> None:
    """An UpstairsError where there is no such engine here."""
    if engine not in ENGINES:
        raise UpstairsError(f"engine must be one of {', '.join(ENGINES)}, but is {engine!r}.")
    if n_jobs < 1:
        raise UpstairsError(f"n_jobs must be 1 or more, but is {n_jobs}.")
    if importlib.util.find_spec(ENGINES[engine]) is None:
        raise UpstairsError(f"The engine {engine!r} needs a package: pip install 'upstairs[{engine}]'.")


def _room(engine: str) -> Any:
    return importlib.import_module(f"upstairs.engine.{engine}")
