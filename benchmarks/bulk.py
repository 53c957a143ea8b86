"""How many rows are adapted to and predicted a second, beside pooled LightGBM on the same rows; does memory stay flat?

    python benchmarks/bulk.py --folder FOLDER --tasks 1e4 1e5 1e6 --learners lightgbm forest forest-whole svm pooled

Tasks of 10 support rows (a store) and 10 query rows (a store), 20 columns. The model is fitted once on 2,000 tasks. Seconds
are those of `predict_files`, from the stores to synced Parquet files; rows a second count query rows. `lightgbm` is the peer:
100 trees of 31 leaves, as LightGBM has them by default, asked by its own predict for the query rows of the mapped store.
`pooled` is our baseline, whose trees the forest's code replays, `forest-whole` the forest with ``ensemble=False``: one model of
all tasks in place of five of four fifths each.
"""

import argparse
import shutil
import tempfile
from pathlib import Path

import lightgbm
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

import upstairs
from packing import measure
from tables import add_quick, show
from upstairs.learners import learner_class
from upstairs.store import TaskStore

PREDICT = """
import sys, upstairs
upstairs.predict_files(sys.argv[1], upstairs.open_store(sys.argv[2]), sys.argv[4], support=sys.argv[3], n_jobs=int(sys.argv[5]))
"""


LIGHTGBM = """
import sys, lightgbm, pyarrow as pa, pyarrow.parquet as pq, upstairs
model, query, support, out, jobs = sys.argv[1:]
booster, X, writer = lightgbm.Booster(model_file=model), upstairs.open_store(query).tasks().X, None
for start in range(0, len(X), 2**18):
    table = pa.table({"prediction": booster.predict(X[start : start + 2**18], num_threads=int(jobs))})
    writer = writer or pq.ParquetWriter(out, table.schema)
    writer.write_table(table)
writer.close()
"""
VARIANTS = {"forest-whole": ("forest", {"ensemble": False})}


def write(path: Path, n_tasks: int, seed: int, target: bool) -> None:
    rng, writer = np.random.default_rng(seed), None
    for start in range(0, n_tasks, 20_000):
        task = np.repeat(np.arange(start, min(start + 20_000, n_tasks)), 10)
        X = rng.normal(size=(len(task), 20))
        columns: dict = {f"x{j}": X[:, j] for j in range(20)} | {"task": task}
        if target:
            level = np.random.default_rng(start).normal(size=20_000)[task - start]
            columns["y"] = X[:, 0] * X[:, 1] + X[:, 2] + level + rng.normal(size=len(task))
        table = pa.table(columns)
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    writer.close()


def main(folder: Path, learners: list[str], sizes: list[int], jobs: list[int]) -> None:
    write(folder / "train.parquet", 2000, 9, True)
    train = upstairs.pack(folder / "train.parquet", folder / "train.tasks", task="task", target="y")
    for n in sizes:
        if not (folder / f"query-{n}.tasks").exists():
            for name, target in (("support", "y"), ("query", None)):
                write(folder / "rows.parquet", n, len(name), target is not None)
                upstairs.pack(folder / "rows.parquet", folder / f"{name}-{n}.tasks", task="task", target=target, like=train)
    rows = []
    for name in learners:
        program = _fit(name, train, folder / "m.upstairs")
        for n in sizes:
            for n_jobs in jobs:
                out = folder / "out"
                shutil.rmtree(out, ignore_errors=True)
                out.unlink(missing_ok=True)
                stores = (folder / f"query-{n}.tasks", folder / f"support-{n}.tasks")
                seconds, anonymous, resident = measure(program, folder / "m.upstairs", *stores, out, n_jobs)
                row = {"learner": name, "tasks": n, "processes": n_jobs, "s": seconds, "query rows/s": int(10 * n / seconds)}
                rows.append(row | {"GB": anonymous, "resident GB": resident})
                print(rows[-1], flush=True)
    show("Adapting and predicting, from stores to files", pd.DataFrame(rows), 2)


def _fit(name: str, train: TaskStore, path: Path) -> str:
    """Save the model of that name; the program that predicts with it."""
    if name == "lightgbm":
        tasks = train.tasks()
        lightgbm.LGBMRegressor(n_jobs=1, verbosity=-1).fit(tasks.X, tasks.y).booster_.save_model(path)
        return LIGHTGBM
    learner, parameters = VARIANTS.get(name, (name, {}))
    meta = learner_class(learner, False)(random_state=0, **parameters).fit(train)
    upstairs.save(meta, path, known_tasks=False)
    return PREDICT


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_quick(parser, tasks=[5000], learners=["lightgbm", "hierarchical-ridge", "pooled"], jobs=[1])
    parser.add_argument("--folder", type=Path, help="default: one that is gone afterwards")
    parser.add_argument("--tasks", nargs="+", type=lambda text: int(float(text)), default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--learners", nargs="+", default=["lightgbm", "forest", "forest-whole", "svm", "pooled"])
    parser.add_argument("--jobs", nargs="+", type=int, default=[1, 2])
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        main(folder, given.learners, given.tasks, given.jobs)
