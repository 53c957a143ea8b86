"""This process, or a few of this machine."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from upstairs.errors import UpstairsError

__all__ = ["connection", "run"]

MOST_DEATHS = 3
"""Of worker processes, without a shard finished in between, before the work is given up."""


def run(function: Callable, shards: Sequence, n_jobs: int, address: str | None) -> Iterator[tuple[Any, Any]]:
    """Results of the shards as they end. Where a process is killed, others go on with what is left."""
    if address is not None:
        raise UpstairsError("The local engine has no address; leave it out.")
    if n_jobs == 1:
        yield from ((shard, function(shard)) for shard in shards)
        return
    from joblib import Parallel, delayed

    left, deaths = list(shards), 0
    while left:
        work = Parallel(n_jobs=n_jobs, backend="loky", return_as="generator_unordered", batch_size=1)
        try:
            for shard, result in work(delayed(_named)(function, shard) for shard in list(left)):
                left.remove(shard)
                deaths = 0
                yield shard, result
        except BrokenProcessPool:
            deaths += 1
            if deaths == MOST_DEATHS:
                raise UpstairsError(
                    f"Worker processes were killed {deaths} times in a row, with {len(left):,} shards left: is there too "
                    "little memory? Take fewer processes."
                ) from None


def connection(n_jobs: int, address: str | None) -> contextlib.AbstractContextManager:
    """Nothing: processes of joblib stay by themselves."""
    return contextlib.nullcontext()


def _named(function: Callable, shard: Any) -> tuple[Any, Any]:
    return shard, function(shard)
