"""Predictions into a folder: the same as in memory, each row once, whatever was killed on the way."""

import functools
import json
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.base import clone

import upstairs
from every_learner import CLASSIFIERS, REGRESSORS
from upstairs import UpstairsError, bulk, contract, pack, predict_files
from upstairs import store as stores
from upstairs.cli import main


def make(n_tasks, rows, seed, first=0):
    rng = np.random.default_rng(seed)
    task = np.repeat(np.arange(first, first + n_tasks), rows)
    level = np.random.default_rng(9).normal(size=1000)
    frame = pd.DataFrame({"x": rng.normal(size=len(task)), "colour": rng.choice(["red", "blue"], len(task)), "task": task})
    frame["y"] = frame["x"] + level[task] + 0.2 * rng.normal(size=len(task))
    frame["label"] = np.where(frame["y"] > 0, "high", "low")
    return frame


COLUMNS = ["x", "colour"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Meta-train rows of tasks 0 to 39; support of tasks 30 to 69; queries of tasks 20 to 79, out of order."""
    folder = tmp_path_factory.mktemp("bulk")
    make(40, 10, 0).to_parquet(folder / "train.parquet")
    make(40, 5, 1, 30).to_parquet(folder / "support.parquet")
    query = make(60, 20, 2, 20).sample(frac=1, random_state=0).drop(columns=["y", "label"])
    pq.write_table(pa.Table.from_pandas(query, preserve_index=False), folder / "query.parquet", row_group_size=100)
    query.to_csv(folder / "query.csv", index=False)
    for target, learners in (("y", REGRESSORS), ("label", CLASSIFIERS)):
        other = [{"y": "label", "label": "y"}[target]]
        store = pack(folder / "train.parquet", folder / f"{target}.train", task="task", target=target, ignore=other)
        meta = clone(learners["hierarchical-ridge"]).fit(store)
        upstairs.save(meta, folder / f"{target}.upstairs", task_name="task", target_name=target)
        with pytest.warns(upstairs.UpstairsWarning, match="ignored"):
            pack(folder / "support.parquet", folder / f"{target}.support", task="task", target=target, like=meta)
    pack(folder / "query.parquet", folder / "query.tasks", task="task", like=upstairs.load(folder / "y.upstairs"))
    return folder


def in_memory(folder, target, query):
    """The same through tables: tasks with support from it, known ones from the fit, others zero-shot."""
    meta = upstairs.load(folder / f"{target}.upstairs")
    support = pd.read_parquet(folder / "support.parquet")
    models = meta.adapt_tasks(support[COLUMNS], support[target], groups=support["task"])
    has = query["task"].isin(support["task"]).to_numpy()
    ask = "predict_proba" if target == "label" else "predict_interval"
    a, b = (getattr(model, ask)(query[COLUMNS], groups=query["task"]).to_numpy() for model in (models, meta))
    return np.where(has[:, None], a, b)


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    monkeypatch.setattr(bulk, "BATCH", 150)
    for memory in (bulk._store, bulk._meta):
        memory.cache_clear()


predict = functools.partial(predict_files, shard_rows=300)


def read(path):
    return pq.read_table(path).to_pandas()


@pytest.mark.parametrize("target", ["y", "label"])
@pytest.mark.parametrize("source", ["query.parquet", "query.csv"])
def test_files(target, source, folder, tmp_path):
    support = folder / f"{target}.support"
    findings = predict(folder / f"{target}.upstairs", folder / source, tmp_path / "out", support=support)
    answers, query = read(tmp_path / "out"), pd.read_parquet(folder / "query.parquet")
    pd.testing.assert_frame_equal(answers[query.columns], query, check_dtype=False)
    names = ["lower", "upper"] if target == "y" else ["probability_high", "probability_low"]
    np.testing.assert_allclose(answers[names], in_memory(folder, target, query), rtol=1e-9)
    assert findings["rows"] == 1200
    assert findings["shards"] == findings["shards_done_now"] == (4 if source == "query.parquet" else 1)
    assert findings["rows_by_source"] == {
        "from the support rows of their task": 800,
        "from what the fit learned of their task": 200,
        "by their columns alone": 200,
    }


def test_a_store_gives_the_same_answers(folder, tmp_path):
    predict(folder / "y.upstairs", upstairs.open_store(folder / "query.tasks"), tmp_path / "out", support=folder / "y.support")
    answers, query = read(tmp_path / "out"), pd.read_parquet(folder / "query.parquet")
    query = query.iloc[answers["row"]].reset_index(drop=True)
    assert answers["task"].tolist() == query["task"].tolist() == sorted(query["task"])
    np.testing.assert_allclose(answers[["lower", "upper"]], in_memory(folder, "y", query), rtol=1e-9)
    assert len(list((tmp_path / "out").glob("part-*.parquet"))) == 4


def test_a_model_in_memory_and_two_processes(folder, tmp_path):
    given = {"support": folder / "y.support"}
    predict(folder / "y.upstairs", folder / "query.parquet", tmp_path / "one", **given)
    meta = upstairs.load(folder / "y.upstairs")
    predict(meta, folder / "query.parquet", tmp_path / "two", n_jobs=2, **given)
    pd.testing.assert_frame_equal(read(tmp_path / "two"), read(tmp_path / "one"))


def test_a_rerun_does_what_is_missing(folder, tmp_path):
    given = (folder / "y.upstairs", folder / "query.parquet", tmp_path / "out")
    predict(*given)
    whole = read(tmp_path / "out")
    assert predict(*given)["shards_done_now"] == 0
    (tmp_path / "out" / "part-00002.parquet").unlink()
    (tmp_path / "out" / ".part-00002.parquet.12345678.tmp").write_bytes(b"half")
    findings = predict(*given)
    assert (findings["shards_done_now"], findings["rows"]) == (1, 1200)
    pd.testing.assert_frame_equal(read(tmp_path / "out"), whole)
    assert not list((tmp_path / "out").glob(".*.tmp"))
    assert json.loads((tmp_path / "out" / "_manifest.json").read_text())["rows"] == 1200


PREDICT = """
import sys, time
from upstairs import bulk
bulk.BATCH = 150
plain = bulk.answer_columns
def slow(*given):
    time.sleep(0.15)
    return plain(*given)
bulk.answer_columns = slow
print("go", flush=True)
bulk.predict_files(sys.argv[1] + "/y.upstairs", sys.argv[1] + "/query.parquet", sys.argv[2], shard_rows=300)
"""


def test_killed_and_run_again(folder, tmp_path):
    process = subprocess.Popen([sys.executable, "-c", PREDICT, str(folder), str(tmp_path / "out")], stdout=subprocess.PIPE)
    while not list((tmp_path / "out").glob("part-*.parquet")) or not list((tmp_path / "out").glob(".part*.tmp")):
        time.sleep(0.005)  # until one is done and another begun
        assert process.poll() is None
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    there = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("part-*.parquet")}
    assert 0 < len(there) < 4
    assert predict(folder / "y.upstairs", folder / "query.parquet", tmp_path / "out")["shards_done_now"] == 4 - len(there)
    after = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("part-*.parquet")}
    assert len(after) == 4 and there.items() <= after.items()  # what was there wasn't done again
    predict(folder / "y.upstairs", folder / "query.parquet", tmp_path / "whole")
    pd.testing.assert_frame_equal(read(tmp_path / "out"), read(tmp_path / "whole"))


def test_adapt_tasks_from_a_store(folder):
    meta = upstairs.load(folder / "y.upstairs")
    models = meta.adapt_tasks(upstairs.open_store(folder / "y.support"))
    support, query = pd.read_parquet(folder / "support.parquet"), make(60, 3, 5, 20)
    plain = meta.adapt_tasks(support[COLUMNS], support["y"], groups=support["task"])
    np.testing.assert_allclose(
        models.predict(query[COLUMNS], groups=query["task"]), plain.predict(query[COLUMNS], groups=query["task"]), rtol=1e-9
    )
    np.testing.assert_allclose(models[35].predict(query[COLUMNS]), plain[35].predict(query[COLUMNS]), rtol=1e-9)
    assert list(models) == list(plain) and len(models) == 40 and 35 in models and 3 not in models
    with pytest.raises(KeyError):
        models[3]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"source": "nowhere.parquet"}, "doesn't exist"),
        ({"source": "label.upstairs"}, "ends in .upstairs"),
        ({"model": "nowhere.upstairs"}, "can't be read: there is no such file"),
        ({"support": "y.train"}, None),
        ({"support": "query.tasks"}, "holds no target, not numbers"),
        ({"support": "label.support"}, "holds classes, not numbers"),
        ({"task": "tusk"}, "has no column 'tusk'"),
        ({"interval": 2}, "interval must lie between"),
        ({"folder": "."}, "is there and holds no predictions"),
    ],
)
def test_mistakes(change, message, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder)
    given = {"model": "y.upstairs", "source": "query.parquet", "folder": tmp_path / "out"} | change
    if message is None:
        assert predict(given.pop("model"), given.pop("source"), given.pop("folder"), **given)["rows"] == 1200
        return
    with pytest.raises(UpstairsError, match=message):
        predict(given.pop("model"), given.pop("source"), given.pop("folder"), **given)
    assert not (tmp_path / "out").exists()


def test_a_folder_of_other_predictions_is_left_alone(folder, tmp_path):
    predict(folder / "y.upstairs", folder / "query.parquet", tmp_path / "out")
    with pytest.raises(UpstairsError, match=r"holds predictions with another interval\. Give another folder"):
        predict(folder / "y.upstairs", folder / "query.parquet", tmp_path / "out", interval=0.5)
    with pytest.raises(UpstairsError, match="another model"):
        predict(folder / "label.upstairs", folder / "query.parquet", tmp_path / "out")
    lock = upstairs.archive.lock_folder(tmp_path / "out")
    with pytest.raises(UpstairsError, match="Another run is writing"):
        predict(folder / "y.upstairs", folder / "query.parquet", tmp_path / "out")
    lock.close()


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    return stop.value.code, capsys.readouterr()


def test_the_command_line(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    train = ["--task", "task", "--target", "y", "--ignore", "label"]
    code, told = run(capsys, "pack", folder / "train.parquet", "-o", "rows.tasks", *train)
    assert code == 0 and "Packed rows.tasks: 40 tasks, 400 rows, 2 columns" in told.out
    code, told = run(capsys, "info", "rows.tasks", "--verify", "--json")
    assert code == 0 and json.loads(told.out) | {"tasks": 40, "rows": 400, "verified": True} == json.loads(told.out)
    code, told = run(capsys, "fit", "rows.tasks", "-o", "m.upstairs", "--learner", "auto", "--time-budget", "0.01")
    assert code == 0 and "forest is left out: it wasn't ready within the time budget." in told.out
    monkeypatch.setattr(stores, "LEAST_LEARNED", 100)
    fit = ("fit", "rows.tasks", "-o", "m.upstairs", "--learner", "hierarchical-ridge")
    code, told = run(capsys, *fit, "--memory", "1")
    assert code == 0 and "Learned y across 40 tasks (400 rows; 2 columns)" in told.out
    assert "Of these, 100 rows of 10 tasks were learned from, drawn at random" in " ".join(told.out.split())
    monkeypatch.setattr(contract, "MOST_KNOWN_ROWS", 5)  # what is known afterwards isn't what was learned from
    code, told = run(capsys, *fit)
    assert code == 0 and "learned from" not in told.out
    code, told = run(
        capsys, "pack", folder / "support.parquet", "-o", "s.tasks", "--task", "task", "--target", "y", "--like", "m.upstairs"
    )
    assert code == 0
    arguments = ["predict", "m.upstairs", folder / "query.parquet", "-o", "out", "--support"]
    code, told = run(capsys, *arguments, "s.tasks")
    assert code == 0 and "Wrote out: 1,200 rows in 1 file" in told.out
    assert read("out")["prediction"].notna().all()
    code, told = run(capsys, *arguments, folder / "support.parquet")
    assert code == 2 and "is no task store" in told.err
    code, told = run(capsys, "fit", folder / "train.parquet", "-o", "m.upstairs")
    assert code == 2 and "needs --task and --target" in told.err
