"""How fast are files packed, beside DuckDB's own sort-and-write of the same rows, in how much memory; how fast is a store read?

    python benchmarks/packing.py --rows 1e6 5e6 20e6 --folder FOLDER     # a table; needs about 400 bytes of disk a row
    python benchmarks/packing.py --kill 20 --folder FOLDER               # kill -9 at random moments, run again, compare
    python benchmarks/packing.py --tasks --folder FOLDER                 # error and memory by number of tasks learned from

Rows: 20 columns of numbers, one of text, an int64 task of about ten rows, a target; Parquet (zstd), tasks in random order.
Times of one row of the table are of one run, one after the other. Memory is that of the process, sampled every 20 ms: anonymous
(what can't be given back), and resident with mapped pages and the page cache that it touches.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from tables import add_quick, say, show

BLOCK = 500_000
PACK = "import sys, upstairs; upstairs.pack(sys.argv[1], sys.argv[2], task='task', target='y', memory=sys.argv[3])"
BARE = """
import sys, duckdb
connection = duckdb.connect(config={"memory_limit": sys.argv[3], "temp_directory": sys.argv[2] + ".spill"})
connection.execute("SET enable_progress_bar = false")
rows = f"read_parquet('{sys.argv[1]}', file_row_number = true)"
order = "ORDER BY task, file_row_number"
connection.execute(f"COPY (SELECT * EXCLUDE (file_row_number) FROM {rows} {order}) TO '{sys.argv[2]}' (COMPRESSION zstd)")
"""


def write_rows(path: Path, n: int) -> None:
    rng, writer = np.random.default_rng(0), None
    for start in range(0, n, BLOCK):
        k = min(BLOCK, n - start)
        columns = {f"x{j}": rng.normal(size=k) for j in range(20)}
        columns["colour"] = np.array([f"colour {c}" for c in range(8)])[rng.integers(0, 8, k)]
        columns["task"] = rng.integers(0, n // 10, k)
        columns["y"] = columns["x0"] + rng.normal(size=k)
        table = pa.table(columns)
        writer = writer or pq.ParquetWriter(path, table.schema, compression="zstd")
        writer.write_table(table)
    writer.close()


def measure(code: str, *arguments: object) -> tuple[float, float, float]:
    """Seconds, and the most GB, anonymous and resident, of a Python program and its children."""
    begun, anonymous, resident = time.perf_counter(), 0, 0
    process = subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)])
    watched = psutil.Process(process.pid)
    while process.poll() is None:
        try:
            memory = [one.memory_info() for one in [watched, *watched.children(recursive=True)]]
        except psutil.NoSuchProcess:
            break
        resident = max(resident, sum(one.rss for one in memory))
        anonymous = max(anonymous, sum(one.rss - one.shared for one in memory))
        time.sleep(0.02)
    if process.wait():
        raise SystemExit("the program failed")
    return time.perf_counter() - begun, anonymous / 1e9, resident / 1e9


def stream(path: Path) -> tuple[float, float, float, float]:
    """GB/s of `cat`, of all blocks in order and shuffled, each warm; and µs of one random task."""
    from upstairs import open_store

    store = open_store(path)
    size = sum(entry["bytes"] for entry in store.manifest["files"].values()) / 1e9
    files = [str(file) for file in path.glob("rows-*/*")]
    speeds = []
    for act in (lambda: subprocess.run(["cat", *files], stdout=subprocess.DEVNULL, check=True), lambda: touch(store, False),
                lambda: touch(store, True)):  # fmt: skip
        act()
        times = []
        for _ in range(3):
            begun = time.perf_counter()
            act()
            times.append(time.perf_counter() - begun)
        speeds.append(size / min(times))
    which = np.random.default_rng(0).integers(0, store.n_tasks, 3000).tolist()
    times = []
    for i in which * 2:  # the second time they are warm
        begun = time.perf_counter()
        tasks = store.tasks(i)
        tasks.X.sum()
        times.append(time.perf_counter() - begun)
    return (*speeds, float(np.median(times[3000:]) * 1e6))


def touch(store, shuffle: bool) -> float:
    """Reads every byte."""
    total = 0.0
    for block in store.blocks(shuffle=shuffle, rng=np.random.default_rng(0)):
        total += float(block.X.max()) + float(block.y.max())
    return total


def table(rows: list[int], folder: Path, memory: str) -> None:
    measured = []
    for n in rows:
        source, store, bare = folder / f"rows-{n}.parquet", folder / f"rows-{n}.tasks", folder / f"sorted-{n}.parquet"
        if not source.exists():
            write_rows(source, n)
        ours, anonymous, resident = measure(PACK, source, store, memory)
        theirs, _, bare_resident = measure(BARE, source, bare, memory)
        bare.unlink()
        told = stream(store)
        row = {"rows": n, "tasks": n // 10, "pack s": ours, "bare DuckDB s": theirs, "ratio": ours / theirs}
        row |= {"pack GB": anonymous, "pack resident GB": resident, "bare resident GB": bare_resident}
        row |= dict(zip(["cat GB/s", "blocks GB/s", "shuffled GB/s", "one task µs"], told, strict=True))
        measured.append(row)
        print({name: round(value, 2) for name, value in row.items()}, flush=True)
        shutil.rmtree(store)
    show("Packing and reading", pd.DataFrame(measured), 2)
    if len(rows) > 1:
        slope = np.polyfit(np.log(rows), np.log([row["pack s"] for row in measured]), 1)[0]
        say(f"Time grows as rows to the power {slope:.2f}.")


def kill(rounds: int, folder: Path, memory: str, n: int) -> None:
    from upstairs import open_store

    source, whole = folder / f"rows-{n}.parquet", folder / "whole.tasks"
    if not source.exists():
        write_rows(source, n)
    takes, _, _ = measure(PACK, source, whole, memory)
    content = checksums(open_store(whole))
    rng, killed, there = np.random.default_rng(0), 0, 0
    for _ in range(rounds):
        store = folder / "killed.tasks"
        process = subprocess.Popen([sys.executable, "-c", PACK, str(source), str(store), memory])
        time.sleep(takes * rng.random())
        process.kill()
        killed += process.wait() == -9
        if store.exists():
            there += 1
            assert checksums(open_store(store)) == content
            shutil.rmtree(store)
        measure(PACK, source, store, memory)
        assert checksums(open_store(store)) == content
        assert not list(folder.glob(".killed.tasks*"))
        shutil.rmtree(store)
    shutil.rmtree(whole)
    print(f"{killed} of {rounds} packings of {n:,} rows were killed, {there} of them when the store was there; each rerun gave "
          "the same bytes, and no leftovers.")  # fmt: skip


def checksums(store) -> dict[str, str]:
    store.verify()
    return {name: entry["sha256"] for name, entry in store.manifest["files"].items()}


FIT = """
import sys, upstairs
from upstairs.learners import learner_class
store = upstairs.open_store(sys.argv[1], memory=sys.argv[2])
upstairs.save(learner_class(sys.argv[3], False)(random_state=0).fit(store), sys.argv[4])
"""


def write_tasks(path: Path, n_tasks: int, seed: int) -> None:
    """Ten rows a task, whose levels and two slopes vary."""
    rng, task = np.random.default_rng(seed), np.repeat(np.arange(n_tasks), 10)
    X = rng.normal(size=(len(task), 8))
    slopes, level = 0.7 * rng.normal(size=(n_tasks, 2)), rng.normal(size=n_tasks)
    y = X[:, 0] * X[:, 1] + np.sin(2 * X[:, 2]) + level[task] + (slopes[task] * X[:, 3:5]).sum(axis=1)
    columns = {f"x{j}": X[:, j] for j in range(8)} | {"task": task, "y": y + 0.7 * rng.normal(size=len(task))}
    pq.write_table(pa.table(columns), path)


def by_tasks(folder: Path, learners: list[str], sizes: list[int], memory: str) -> None:
    """Error on unseen tasks, time and memory of a fit from a store, by number of tasks in it."""
    import upstairs

    write_tasks(folder / "unseen.parquet", 1000, 1)
    unseen = pq.read_table(folder / "unseen.parquet")
    y, task = unseen["y"].to_numpy(), unseen["task"].to_numpy()
    support, X = np.arange(len(y)) % 10 < 5, unseen.drop_columns(["y", "task"])
    rows = []
    for name in learners:
        for n_tasks in sizes:
            store, model = folder / f"{n_tasks}.tasks", folder / "m.upstairs"
            if not store.exists():
                write_tasks(folder / "tasks.parquet", n_tasks, 0)
                upstairs.pack(folder / "tasks.parquet", store, task="task", target="y")
            seconds, anonymous, resident = measure(FIT, store, memory, name, model)
            meta = upstairs.load(model)
            models = meta.adapt_tasks(X.filter(support), y[support], groups=task[support])
            zero = np.asarray(meta.predict(X.filter(~support)))
            five = np.asarray(models.predict(X.filter(~support), groups=task[~support]))
            errors = [((p - y[~support]) ** 2).mean() / y.var() for p in (zero, five)]
            row = {"learner": name, "rows": 10 * n_tasks, "fit s": seconds, "GB": anonymous, "resident GB": resident}
            rows.append(row | {"nmse, 0 shots": errors[0], "5 shots": errors[1]})
            print(rows[-1], flush=True)
    show("Fits from a store", pd.DataFrame(rows))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_quick(parser, rows=[300_000, 1_000_000])
    parser.add_argument("--rows", nargs="+", type=lambda text: int(float(text)), default=[1_000_000, 5_000_000, 20_000_000])
    parser.add_argument("--memory", default="2GB")
    parser.add_argument("--folder", type=Path, help="default: one that is gone afterwards")
    parser.add_argument("--kill", type=int, default=0)
    parser.add_argument("--tasks", nargs="*", type=lambda text: int(float(text)))
    parser.add_argument("--learners", nargs="+", default=["forest", "svm", "hierarchical-ridge"])
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if given.kill:
            kill(given.kill, folder, given.memory, given.rows[0])
        elif given.tasks is not None:
            by_tasks(folder, given.learners, given.tasks or [1000, 10_000, 100_000], given.memory)
        else:
            table(given.rows, folder, given.memory)
