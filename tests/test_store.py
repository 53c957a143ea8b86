"""A store opened: its tasks one by one, in blocks and all at once, and what is said of one that is damaged."""

import functools
import json
import operator
import pickle
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from every_learner import CLASSIFIERS, REGRESSORS
from upstairs import UpstairsError, open_store, pack, tasks
from upstairs import store as stores
from upstairs.baselines.shrunk_mean import ShrunkMeanRegressor
from upstairs.gradient import outer as gradient_outer
from upstairs.store import TaskStore
from upstairs.svm import newton
from upstairs.svm import rows as svm_rows
from upstairs.tasks import Tasks, few_rows, offsets_of


@pytest.fixture(scope="module", params=[int, str])
def store(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("store")
    rng = np.random.default_rng(0)
    task = rng.integers(0, 50, 1000) * 3
    frame = pd.DataFrame({"x": rng.normal(size=1000), "y": rng.normal(size=1000), "task": task.astype(request.param)})
    frame.to_parquet(folder / "rows.parquet")
    return pack(folder / "rows.parquet", folder / "rows.tasks", task="task", target="y")


def test_one_task_some_tasks_and_all(store):
    every = store.tasks()
    assert (every.n_tasks, len(every.y)) == (store.n_tasks, store.n_rows) == (50, 1000)
    for i in (0, 7, 49, -1):
        one, rows = store.tasks(i), slice(*every.offsets[[i % 50, i % 50 + 1]])
        assert one.ids.tolist() == [every.ids[i]]
        np.testing.assert_array_equal(one.X, every.X[rows])
    some = store.tasks(np.array([8, 3]))
    assert some.ids.tolist() == [every.ids[8], every.ids[3]]
    np.testing.assert_array_equal(some.y, np.concatenate([store.tasks(8).y, store.tasks(3).y]))
    with pytest.raises(IndexError):
        store.tasks(50)


def test_tasks_are_mapped(store):
    base = store.tasks(slice(3, 9)).X
    while base.base is not None and not isinstance(base, np.memmap):
        base = base.base
    assert isinstance(base, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        store.tasks().X[0] = 0


def test_blocks_stream_every_task_once(store):
    blocks = list(store.blocks(8))
    assert [block.n_tasks for block in blocks] == [8] * 6 + [2]
    np.testing.assert_array_equal(np.concatenate([block.X for block in blocks]), store.tasks().X)
    shuffled = [block.ids.tolist() for block in store.blocks(8, shuffle=True, rng=np.random.default_rng(1))]
    assert shuffled != [block.ids.tolist() for block in blocks]
    assert sorted(functools.reduce(operator.iadd, shuffled, [])) == store.ids.tolist()


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="only Linux tells what of a file is in memory")
def test_what_was_read_is_let_go(store):
    def resident():
        told = Path("/proc/self/smaps").read_text().split(str(store.path))[1:]
        return sum(int(re.search(r"Rss: +([0-9]+)", one)[1]) for one in told if one.split()[0].endswith("X.npy"))

    content = store.tasks().X.copy()
    assert resident() > 0
    store.let_go()
    assert resident() == 0
    np.testing.assert_array_equal(store.tasks().X, content)


def test_tasks_are_found_by_their_ids(store):
    ids = store.ids.tolist()
    unknown = 1 if isinstance(ids[0], int) else "1"
    assert store.locate([ids[4], unknown, ids[0], ids[4]]).tolist() == [4, -1, 0, 4]
    assert store.locate([]).tolist() == []
    assert store.locate(np.array([str(ids[7]), "x"], object)).tolist() == [7, -1]
    assert store.locate(np.array([int(ids[7])])).tolist() == [7]
    assert store.locate(np.array(["a"], object)).tolist() == [-1]


def test_pickled_it_is_its_path(store):
    again = pickle.loads(pickle.dumps(store))
    assert len(pickle.dumps(store)) < 1000
    np.testing.assert_array_equal(again.tasks().X, store.tasks().X)


def copy_of(store, tmp_path):
    return shutil.copytree(store.path, tmp_path / "copy.tasks")


def test_verify_finds_a_changed_byte(store, tmp_path):
    path = copy_of(store, tmp_path)
    file = next(path.glob("rows-*/X.npy"))
    content = bytearray(file.read_bytes())
    content[500] ^= 1
    file.write_bytes(content)
    with pytest.raises(UpstairsError, match=r"X\.npy isn't what was packed"):
        open_store(path).verify()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: next(path.glob("rows-*/y.npy")).write_bytes(b"x"), r"y\.npy has 1 bytes instead of"),
        (lambda path: next(path.glob("rows-*/ids.npy")).unlink(), r"ids\.npy has 0 bytes instead of"),
        (lambda path: (path / "manifest.json").write_text("{"), r"manifest\.json is damaged"),
        (lambda path: (path / "manifest.json").unlink(), "is no task store"),
        (lambda path: change(path, format=99), "packed by a newer upstairs.*format 99"),
        (lambda path: change(path, data="../../elsewhere"), "leads elsewhere"),
    ],
)
def test_damage_is_one_sentence(store, damage, message, tmp_path):
    path = copy_of(store, tmp_path)
    damage(path)
    with pytest.raises(UpstairsError, match=message):
        open_store(path)


def change(path, **entries):
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps(manifest | entries))


def test_what_is_no_store(tmp_path):
    with pytest.raises(UpstairsError, match=r"is no task store[.] There is no such folder"):
        open_store(tmp_path / "nothing")
    with pytest.raises(UpstairsError, match=r"is no task store[.] pack makes one"):
        TaskStore(tmp_path)


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    rng = np.random.default_rng(0)
    task = rng.permutation(np.repeat(np.arange(60), 8) * 7)
    level = rng.normal(size=500)[task]
    frame = pd.DataFrame({"x": rng.normal(size=480), "colour": rng.choice(["red", "blue"], 480), "task": task})
    frame["y"] = frame["x"] + level + 0.2 * rng.normal(size=480)
    frame["label"] = np.where(frame["y"] > 0, "high", "low")
    folder = tmp_path_factory.mktemp("rows")
    frame.to_parquet(folder / "rows.parquet")
    for target, other in (("y", "label"), ("label", "y")):
        pack(folder / "rows.parquet", folder / target, task="task", target=target, ignore=[other])
    return frame, folder


@pytest.mark.parametrize(
    ("name", "target"),
    [("forest", "y"), ("svm", "label"), ("gradient", "label"), ("hierarchical-ridge", "y"), ("hierarchical-ridge", "label")],
)
def test_a_fit_from_a_store_is_the_fit_from_a_table(name, target, rows):
    frame, folder = rows
    learner = (REGRESSORS if target == "y" else CLASSIFIERS)[name]
    X = frame[["x", "colour"]]
    from_table = clone(learner).fit(X, frame[target], groups=frame["task"])
    from_store = clone(learner).fit(open_store(folder / target))
    for groups in (None, frame["task"]):
        np.testing.assert_array_equal(ask(from_store, X, groups), ask(from_table, X, groups))
    support = frame[:5]
    a, b = (meta.adapt(support[["x", "colour"]], support[target]) for meta in (from_store, from_table))
    np.testing.assert_array_equal(ask(a, X), ask(b, X))


def ask(model, X, groups=None):
    return model.predict_proba(X, groups=groups) if hasattr(model, "predict_proba") else model.predict(X, groups=groups)


def test_of_a_store_larger_than_memory_some_tasks_are_learned(rows, monkeypatch):
    frame, folder = rows
    store = open_store(folder / "y", memory=1)
    seen, learner = [], ShrunkMeanRegressor.learner
    watched = learner._replace(learn=lambda *given: seen.append(given[0]) or learner.learn(*given))
    monkeypatch.setattr(ShrunkMeanRegressor, "learner", watched)
    monkeypatch.setattr(stores, "LEAST_LEARNED", 200)
    meta = ShrunkMeanRegressor(random_state=0).fit(store)
    assert 190 < len(seen[0].y) <= 200
    assert meta.known_.n_tasks == seen[0].n_tasks == len(meta.state_.fold)
    assert set(meta.known_.ids.tolist()) < set(frame["task"])
    assert np.isfinite(meta.predict(frame[["x", "colour"]], groups=frame["task"])).all()


@pytest.mark.parametrize("name", ["gradient", "svm"])
def test_a_learner_that_streams_learns_from_all_tasks_and_then_knows_a_sample(name, rows, monkeypatch):
    frame, folder = rows
    X, task = frame[["x", "colour"]], frame["task"]
    monkeypatch.setattr(stores, "LEAST_LEARNED", 200)
    monkeypatch.setattr(gradient_outer, "MOST_FIRST_ROWS", 150)
    monkeypatch.setattr(svm_rows, "MOST_HELD", 0)
    monkeypatch.setattr(newton, "ROWS_A_BLOCK", 50)
    streamed = clone(REGRESSORS[name]).fit(open_store(folder / "y", memory=1))
    from_table = clone(REGRESSORS[name]).fit(X, frame["y"], groups=task)
    assert (streamed.info_.n_tasks, streamed.info_.n_rows) == (60, 480)
    assert len(streamed.known_.y) <= 200 and len(streamed.state_.fold) == streamed.known_.n_tasks < 60
    np.testing.assert_array_equal(streamed.predict(X), from_table.predict(X))
    known = task.isin(streamed.known_.ids)
    np.testing.assert_array_equal(streamed.predict(X, groups=task)[known], from_table.predict(X, groups=task)[known])
    np.testing.assert_array_equal(streamed.predict(X, groups=task)[~known], from_table.predict(X)[~known])


def test_stores_and_learners_that_dont_fit(rows):
    frame, folder = rows
    with pytest.raises(UpstairsError, match="holds classes, not numbers: take a classifier"):
        ShrunkMeanRegressor().fit(open_store(folder / "label"))
    with pytest.raises(UpstairsError, match="holds numbers, not classes: take a regressor, or pack it with classify=True"):
        CLASSIFIERS["shrunk-mean"].fit(open_store(folder / "y"))
    with pytest.raises(UpstairsError, match="without y and groups"):
        ShrunkMeanRegressor().fit(open_store(folder / "y"), frame["y"])


def test_thinning_reads_what_it_keeps_and_draws_the_same(monkeypatch):
    rng = np.random.default_rng(0)
    sizes = rng.integers(0, 40, 300)
    n = sizes.sum()
    whole = Tasks(rng.normal(size=(n, 2)), np.arange(n, dtype=float), offsets_of(sizes), np.arange(300), np.zeros(2, np.int32))
    thinned = whole.thin(5, np.random.default_rng(1))
    monkeypatch.setattr(tasks, "PORTION", 100)
    again = whole.thin(5, np.random.default_rng(1))
    np.testing.assert_array_equal(again.y, thinned.y)
    assert again.sizes.tolist() == np.minimum(sizes, 5).tolist()


def test_few_rows_come_from_all_tasks_or_enough_of_some():
    whole = Tasks(np.zeros((1000, 1)), np.arange(1000.0), np.arange(0, 1001, 10), np.arange(100), np.zeros(1, np.int32))
    few, which = few_rows(whole, 500, np.random.default_rng(0), least=5)
    assert (few.n_tasks, len(few.y), len(which)) == (100, 500, 100)
    few, which = few_rows(whole, 200, np.random.default_rng(0), least=5)
    assert (few.n_tasks, len(few.y)) == (40, 200)
    assert few.ids.tolist() == which.tolist() == sorted(set(which.tolist()))
    assert (few.y // 10 == np.repeat(which, 5)).all()
