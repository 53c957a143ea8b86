"""Every engine gives the same results, also when a process is killed in the middle of a shard."""

import functools
import importlib.machinery
import os
import pathlib
import pickle
import shutil
import signal
import subprocess
import sys
import threading
import time
import types

import psutil
import pytest

from test_svm_engine import pack_shops
from upstairs import UpstairsError
from upstairs.engine import local
from upstairs.engine.shards import connection, map_shards


def square(shard):
    return shard * shard


def slow_square(folder, shard, takes=0.3):
    """Leaves a note of each start, then takes a while."""
    note = pathlib.Path(folder) / f"{shard}-{os.getpid()}-{time.monotonic_ns()}"
    note.write_text(str(os.getpid()))
    time.sleep(takes)
    return shard * shard


@pytest.mark.parametrize(("engine", "n_jobs"), [("local", 1), ("local", 2)])
def test_engines_give_the_same(engine, n_jobs):
    done = {3, 4}
    results = dict(map_shards(square, range(12), engine=engine, n_jobs=n_jobs, is_done=done.__contains__))
    assert results == {shard: shard**2 for shard in range(12) if shard not in done}


@pytest.mark.parametrize("engine", ["local", "dask"])
def test_a_worker_killed_in_the_middle_of_a_shard(engine, tmp_path):
    if engine != "local":
        pytest.importorskip("distributed")
    killed, listening = [], set()

    def kill_one():
        while not (notes := list(tmp_path.iterdir())) or not (pid := notes[0].read_text()):
            time.sleep(0.01)
        assert int(pid) != os.getpid()
        assert psutil.Process(os.getpid()).pid in [parent.pid for parent in psutil.Process(int(pid)).parents()]
        for one in [psutil.Process(), *psutil.Process().children(recursive=True)]:
            listening.update(socket.laddr.ip for socket in one.net_connections("inet") if socket.status == psutil.CONN_LISTEN)
        os.kill(int(pid), signal.SIGKILL)  # while its shard sleeps
        killed.append(notes[0].name)

    killer = threading.Thread(target=kill_one)
    killer.start()
    function = functools.partial(slow_square, str(tmp_path), takes=1.5)
    results = dict(map_shards(function, range(4), engine=engine, n_jobs=2))
    killer.join()
    assert killed
    assert len(list(tmp_path.iterdir())) > 4  # starts: more than there are shards
    assert results == {shard: shard**2 for shard in range(4)}
    assert listening == (set() if engine == "local" else {"127.0.0.1"})


def who(shard):
    time.sleep(0.05)
    return os.getpid()


def test_one_cluster_for_several_calls():
    pytest.importorskip("distributed")
    with connection("dask", 2) as client:
        pids = set(client.run(os.getpid).values())
        for _ in range(2):
            assert set(dict(map_shards(who, range(8), engine="dask", n_jobs=2)).values()) == pids
        with pytest.raises(UpstairsError, match=r"^shard \d is odd$"):
            list(map_shards(refuse, range(3), engine="dask"))


RAY = """
import functools, os, pathlib, signal, sys, threading, time
import psutil
from test_engine import slow_square
from upstairs.engine.ray import run

notes, listening = pathlib.Path(sys.argv[1]), set()

def kill_one():
    while not (started := list(notes.iterdir())) or not (pid := started[0].read_text()):
        time.sleep(0.01)
    for one in [psutil.Process(), *psutil.Process().children(recursive=True)]:
        listening.update(socket.laddr.ip for socket in one.net_connections("inet") if socket.status == psutil.CONN_LISTEN)
    os.kill(int(pid), signal.SIGKILL)

killer = threading.Thread(target=kill_one)
killer.start()
results = dict(run(functools.partial(slow_square, sys.argv[1], takes=2.0), range(12), 2, None))
killer.join()
assert results == {shard: shard**2 for shard in range(12)}, results
assert {ip.removeprefix("::ffff:") for ip in listening} == {"127.0.0.1"}, listening
assert len(list(notes.iterdir())) > 12
"""


NODE = """
import functools, pathlib, sys, threading, time
import psutil
from ray.cluster_utils import Cluster
from test_engine import slow_square
from upstairs.engine.ray import run

notes, listening, gone = pathlib.Path(sys.argv[1]), set(), []
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
raylets = [node.all_processes["raylet"][0].process.pid for node in nodes]

def remove_one():
    while not gone:
        pids = {int(pid) for note in notes.iterdir() if (pid := note.read_text())}
        for node, raylet in zip(nodes, raylets):
            busy = pids & {child.pid for child in psutil.Process(raylet).children(recursive=True)}
            if busy and not gone:
                for one in [psutil.Process(), *psutil.Process().children(recursive=True)]:
                    listening.update(s.laddr.ip for s in one.net_connections("inet") if s.status == psutil.CONN_LISTEN)
                cluster.remove_node(node, allow_graceful=False)
                gone.append(busy)
        time.sleep(0.01)

remover = threading.Thread(target=remove_one)
remover.start()
results = dict(run(functools.partial(slow_square, sys.argv[1], takes=2.0), range(12), 1, cluster.address))
remover.join()
assert results == {shard: shard**2 for shard in range(12)}, results
assert {ip.removeprefix("::ffff:") for ip in listening} == {"127.0.0.1"}, listening
assert len(list(notes.iterdir())) > 12
cluster.shutdown()
"""
FIT = """
import sys
from upstairs import MetaSVR, open_store
from upstairs.svm import newton, rows

rows.MOST_HELD, newton.ROWS_A_BLOCK = 0, 60
path, engine = sys.argv[1:]
looks, look = [], newton._look_elsewhere
newton._look_elsewhere = lambda *given: looks.append(len(given[3])) or look(*given)
local = MetaSVR(kernel="linear", random_state=0).fit(open_store(path))
assert not looks
spread = MetaSVR(kernel="linear", random_state=0).fit(open_store(path, engine=engine, n_jobs=2))
assert len(looks) >= 2 and min(looks) == 5, looks
for mine, theirs in zip(local.state_.heads, spread.state_.heads, strict=True):
    assert mine.theta.tobytes() == theirs.theta.tobytes()
"""


def run_program(program):
    ended = subprocess.run(program, capture_output=True, text=True, cwd=pathlib.Path(__file__).parent)
    assert ended.returncode == 0, ended.stderr[-3000:]


@pytest.fixture
def alone():
    """What a command line begins with that has a network of its own, without any address but 127.0.0.1."""
    pytest.importorskip("ray")
    begins = ["unshare", "-n", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
    if shutil.which("unshare") is None or subprocess.run([*begins, "true"], capture_output=True).returncode:
        pytest.skip("no network namespace can be made here, and Ray listens on addresses of the machine otherwise")
    return begins


@pytest.mark.exhaustive
@pytest.mark.parametrize("program", [RAY, NODE], ids=["worker", "node"])
def test_ray_loses_a(program, alone, tmp_path):
    run_program([*alone, sys.executable, "-c", program, str(tmp_path)])


@pytest.mark.exhaustive
def test_a_fit_on_ray(alone, tmp_path):
    run_program([*alone, sys.executable, "-c", FIT, str(pack_shops(tmp_path).path), "ray"])


SPARK = RAY.replace("upstairs.engine.ray", "upstairs.engine.spark")


@pytest.mark.exhaustive
def test_spark_loses_a_worker(tmp_path):
    pytest.importorskip("pyspark")
    run_program([sys.executable, "-c", SPARK, str(tmp_path)])


@pytest.mark.exhaustive
def test_a_fit_on_spark(tmp_path):
    pytest.importorskip("pyspark")
    run_program([sys.executable, "-c", FIT, str(pack_shops(tmp_path).path), "spark"])


class Spark:
    """As much of a SparkContext as the engine asks of it."""

    _active_spark_context = None
    defaultParallelism = 2

    def __init__(self):
        self.batches, self.cancelled, self.tags = [], set(), set()

    def addJobTag(self, tag):
        self.tags.add(tag)

    def cancelJobsWithTag(self, tag):
        self.cancelled.add(tag)

    def parallelize(self, batch, n_slices):
        assert n_slices == len(batch)  # an engine that puts two shards together has one of them wait
        self.batches.append(list(batch))
        return Rows(batch)


class Rows(list):
    def map(self, function):
        return Rows(map(pickle.loads(pickle.dumps(function)), self))

    def collect(self):
        return list(self)


def refuse(shard):
    raise UpstairsError(f"shard {shard} is odd")


@pytest.fixture
def spark(monkeypatch):
    module = types.ModuleType("pyspark")
    module.__spec__ = importlib.machinery.ModuleSpec("pyspark", None)
    module.SparkConf, module.SparkContext = None, Spark
    monkeypatch.setitem(sys.modules, "pyspark", module)
    monkeypatch.setattr(Spark, "_active_spark_context", Spark())
    return Spark._active_spark_context


def test_spark_is_given_ids_in_batches(spark):
    assert dict(map_shards(square, range(7), engine="spark")) == {shard: shard**2 for shard in range(7)}
    assert sorted(map(len, spark.batches)) == [1, 2, 2, 2]
    assert spark.cancelled == spark.tags and len(spark.tags) == 1


def test_spark_stops_when_nobody_listens_or_a_shard_is_odd(spark):
    results = map_shards(square, range(7), engine="spark")
    next(results)
    results.close()
    assert len(spark.cancelled) == 1
    with pytest.raises(UpstairsError, match=r"^shard \d is odd$"):
        list(map_shards(refuse, range(3), engine="spark"))
    assert len(spark.cancelled) == 2


def test_spark_without_java(spark, monkeypatch):
    monkeypatch.setattr(Spark, "_active_spark_context", None)
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(UpstairsError, match="Spark needs Java"):
        list(map_shards(square, range(3), engine="spark"))


def always_dies(shard):
    os.kill(os.getpid(), signal.SIGKILL)


def test_workers_that_always_die(monkeypatch):
    monkeypatch.setattr(local, "MOST_DEATHS", 2)
    with pytest.raises(UpstairsError, match="killed 2 times in a row, with 2 shards left"):
        list(map_shards(always_dies, range(2), n_jobs=2))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"engine": "sparkle"}, "engine must be one of local, dask, ray, spark, but is 'sparkle'"),
        ({"n_jobs": 0}, "n_jobs must be 1 or more"),
        ({"address": "tcp://127.0.0.1:1"}, "local engine has no address"),
    ],
)
def test_odd_arguments(arguments, message):
    with pytest.raises(UpstairsError, match=message):
        list(map_shards(square, range(2), **arguments))
