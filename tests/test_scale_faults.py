"""Kills, full and read-only disks, broken files and one huge task, in pack, fit and predict: nothing is ever half there."""

import contextlib
import re
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import upstairs
from shop import run
from upstairs import UpstairsError, bulk, pack, predict_files
from upstairs.baselines.hierarchical_ridge import HierarchicalRidgeRegressor


def make(n_tasks, rows, seed=0):
    rng, task = np.random.default_rng(seed), np.repeat(np.arange(n_tasks), rows)
    frame = pd.DataFrame({"x": rng.normal(size=len(task)), "colour": rng.choice(["red", "blue"], len(task)), "task": task})
    return frame.assign(y=frame["x"] + np.random.default_rng(9).normal(size=n_tasks)[task] + 0.2 * rng.normal(size=len(task)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faults")
    make(30, 10).to_parquet(folder / "rows.parquet", index=False)
    store = pack(folder / "rows.parquet", folder / "rows.tasks", task="task", target="y")
    meta = HierarchicalRidgeRegressor(random_state=0).fit(store)
    upstairs.save(meta, folder / "m.upstairs", task_name="task", target_name="y")
    return folder


FIT = """
import os, sys, time
from upstairs.baselines.hierarchical_ridge import HierarchicalRidgeRegressor
from upstairs.cli import main

def say_and_stay(act):
    def stay(*given):
        print("here", flush=True)
        while True:
            act(*given)
    return stay

if sys.argv[3] == "learning":
    learner = HierarchicalRidgeRegressor.learner
    HierarchicalRidgeRegressor.learner = learner._replace(learn=say_and_stay(learner.learn))
else:
    os.fsync = say_and_stay(os.fsync)
main(["fit", sys.argv[1], "-o", sys.argv[2], "--learner", "hierarchical-ridge"])
"""


@pytest.mark.parametrize("doing", ["learning", "saving"])
def test_a_fit_killed_in_the_middle_and_run_again(doing, folder, tmp_path):
    model, whole = tmp_path / "m.upstairs", tmp_path / "whole.upstairs"
    process = subprocess.Popen(
        [sys.executable, "-c", FIT, str(folder / "rows.tasks"), str(model), doing], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "here\n"
    assert (doing == "saving") == bool(list(tmp_path.glob(".m.upstairs.*.tmp")))
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not model.exists()
    for path in (model, whole):
        assert run("fit", folder / "rows.tasks", "-o", path, "--learner", "hierarchical-ridge")[0] == 0
    assert model.read_bytes() == whole.read_bytes()


@contextlib.contextmanager
def disk_of(n_bytes):
    """No file may grow beyond so many bytes: what a full disk does, without a disk of one's own."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def commands(folder, out):
    """What writes: the command, and the name that the complaint gives."""
    return {
        "pack": (["pack", folder / "rows.parquet", "-o", out / "a.tasks", "--task=task", "--target=y"], "a.tasks"),
        "fit": (["fit", folder / "rows.tasks", "-o", out / "a.upstairs", "--learner=shrunk-mean"], "a.upstairs"),
        "predict a folder": (["predict", folder / "m.upstairs", folder / "rows.parquet", "-o", out / "answers"], "answers"),
        "predict a table": (["predict", folder / "m.upstairs", folder / "rows.parquet", "-o", out / "a.csv"], "a.csv"),
    }


@pytest.mark.parametrize("name", commands(Path(), Path()))
def test_a_full_disk(name, folder, tmp_path):
    command, told = commands(folder, tmp_path)[name]
    with disk_of(100):
        code, _, err = run(*command)
    assert code == 2 and re.search(rf"/{told}(/\S+)? can't be written: file too large\.\n$", err)
    assert [path.name for path in tmp_path.iterdir() if path.name != "answers"] == []
    assert not list(tmp_path.glob("answers/part*")) and not list(tmp_path.glob("answers/.*.tmp"))
    assert run(*command)[0] == 0


@pytest.mark.skipif(sys.platform != "linux", reason="/sys, where not even root may make files, is Linux's")
@pytest.mark.parametrize("name", commands(Path(), Path()))
def test_a_read_only_folder(name, folder):
    command, told = commands(folder, Path("/sys"))[name]
    code, _, err = run(*command)
    assert code == 2 and f"/sys/{told} can't be written: " in err
    assert err.count("\n") == 1


def predicted(folder, source, tmp_path):
    return predict_files(folder / "m.upstairs", source, tmp_path / "out", shard_rows=100)


def mistakes():
    plain = make(5, 4).drop(columns="y")
    ids = plain["task"]
    return {
        "missing": (plain.drop(columns="colour"), r"part-6\.parquet: it has no column 'colour'"),
        "changed": (plain.assign(x="a"), r"'x' holds numbers in .*part-0\.parquet but text in .*part-6\.parquet"),
        "null ids": (
            plain.assign(task=ids.astype("Int64").where(ids > 0)),
            r"part-6\.parquet has no value of 'task' in 4 of its 20 rows",
        ),
        "mixed ids": (plain.assign(task="a"), r"tasks of this model are whole numbers, but .*part-6\.parquet names one 'a'"),
    }


@pytest.mark.parametrize("name", mistakes())
def test_one_odd_file_of_many_to_predict(name, folder, tmp_path):
    odd, message = mistakes()[name]
    (tmp_path / "rows").mkdir()
    for i in range(8):
        (odd if i == 6 else make(5, 4, i).drop(columns="y")).to_parquet(tmp_path / "rows" / f"part-{i}.parquet", index=False)
    with pytest.raises(UpstairsError, match=message):
        predicted(folder, tmp_path / "rows", tmp_path)
    assert not list(tmp_path.glob("out/part-00006*")) and not list(tmp_path.glob("out/.*.tmp"))


def test_a_truncated_file_to_predict(folder, tmp_path):
    (tmp_path / "rows.parquet").write_bytes((folder / "rows.parquet").read_bytes()[:2000])
    with pytest.raises(UpstairsError, match=r"rows\.parquet is no valid parquet file"):
        predicted(folder, tmp_path / "rows.parquet", tmp_path)
    assert not (tmp_path / "out").exists()


def test_a_column_missing_in_one_partition(tmp_path):
    for task, rows in make(6, 10).groupby("task"):
        (tmp_path / "rows" / f"task={task}").mkdir(parents=True)
        rows = rows.drop(columns=["task", "colour"] if task == 4 else ["task"])
        rows.to_parquet(tmp_path / "rows" / f"task={task}" / "part-0.parquet", index=False)
    with pytest.raises(
        UpstairsError, match=r"task=4/part-0\.parquet: it has no column 'colour', which .*task=0/part-0\.parquet"
    ):
        pack(tmp_path / "rows", tmp_path / "rows.tasks", task="task", target="y")
    assert [path.name for path in tmp_path.iterdir()] == ["rows"]


def test_one_huge_task_among_many_small_ones(tmp_path, monkeypatch):
    """Of 100,000 rows among 200 of 10: it is learned from as any other, and predicted a batch at a time."""
    frame = make(201, np.array([100_000, *[10] * 200]))
    frame.sample(frac=1, random_state=0).to_parquet(tmp_path / "rows.parquet", index=False)
    store = pack(tmp_path / "rows.parquet", tmp_path / "rows.tasks", task="task", target="y")
    meta = HierarchicalRidgeRegressor(random_state=0).fit(upstairs.open_store(tmp_path / "rows.tasks", memory=1))
    assert meta.known_.n_tasks == 201 and meta.known_.sizes.max() == 150
    monkeypatch.setattr(bulk, "BATCH", 4096)
    batches, plain = [], bulk.answer_columns

    def counted(meta, models, X, *given):
        batches.append(len(X))
        return plain(meta, models, X, *given)

    monkeypatch.setattr(bulk, "answer_columns", counted)
    support = pack(tmp_path / "rows.parquet", tmp_path / "s.tasks", task="task", target="y", like=meta)
    assert predict_files(meta, store, tmp_path / "out", support=support)["rows"] == 102_000
    assert max(batches) == 4096 and sum(batches) == 102_000
    answers = pq.read_table(tmp_path / "out").to_pandas()
    error = (answers["prediction"] - answers["y"]).groupby(answers["task"]).std()
    assert error[0] == pytest.approx(0.2, rel=0.1) and error[1:].median() < 0.3
