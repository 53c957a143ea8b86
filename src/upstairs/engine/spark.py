"""A Spark cluster: the one that this program is part of, one that exists, by its master, or else one of this machine alone."""

import contextlib
import functools
import os
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

from upstairs.errors import UpstairsError

__all__ = ["connection", "run"]

AT_ONCE = 3
"""Jobs that run at once, each a shard for every core: the next ones fill the cores that a slow shard leaves idle."""

MOST_TRIES = 20
LOOPBACK = "127.0.0.1"


def run(function: Callable, shards: Sequence, n_jobs: int, address: str | None) -> Iterator[tuple[Any, Any]]:
    """Results of the shards as their batches end. Spark runs again what was lost with a worker."""
    with connection(n_jobs, address) as context, ThreadPoolExecutor(AT_ONCE) as pool:
        width, call, tag = max(n_jobs, context.defaultParallelism), functools.partial(_call, function), secrets.token_hex(8)
        batches = [shards[start : start + width] for start in range(0, len(shards), width)]
        jobs = [pool.submit(_run_batch, context, tag, call, batch) for batch in batches]
        try:
            for job in as_completed(jobs):
                for shard, (ended_well, result) in job.result():
                    if not ended_well:
                        raise result
                    yield shard, result
        finally:
            for job in jobs:
                job.cancel()
            context.cancelJobsWithTag(tag)


@contextlib.contextmanager
def connection(n_jobs: int, address: str | None) -> Iterator[Any]:
    """A context, the one that is there already if this program has one."""
    from pyspark import SparkConf, SparkContext

    if SparkContext._active_spark_context is not None:
        yield SparkContext._active_spark_context
        return
    if shutil.which("java") is None and "JAVA_HOME" not in os.environ:
        raise UpstairsError("Spark needs Java, which isn't on this machine: install it, or set JAVA_HOME.")
    quiet = {"spark.log.level": "ERROR", "spark.ui.showConsoleProgress": "false"}
    settings = {"spark.app.name": "upstairs", "spark.task.maxFailures": MOST_TRIES, **quiet}
    if address is None:
        os.environ.setdefault("SPARK_LOCAL_IP", LOOPBACK)
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
        address = f"local[{n_jobs},{MOST_TRIES}]"
        settings |= {"spark.driver.host": LOOPBACK, "spark.driver.bindAddress": LOOPBACK, "spark.ui.enabled": "false"}
    conf = SparkConf().setMaster(address).setAll([(name, str(value)) for name, value in settings.items()])
    context = SparkContext(conf=conf)
    try:
        yield context
    finally:
        context.stop()


def _run_batch(context: Any, tag: str, call: Callable, batch: Sequence) -> list[tuple[Any, tuple[bool, Any]]]:
    context.addJobTag(tag)
    results = context.parallelize(batch, len(batch)).map(call).collect()
    return list(zip(batch, results, strict=True))


def _call(function: Callable, shard: Any) -> tuple[bool, Any]:
    """An error of ours is an answer: Spark would try again and again, and tell of it in a page of Java."""
    try:
        return True, function(shard)
    except Exception as error:
        return False, error
