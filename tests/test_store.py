"""A store opened: its tasks one by one, in blocks and all at once, and what is said of one that is damaged."""

import functools
import json
import operator
import pickle
import shutil

import numpy as np
import pandas as pd
import pytest

from upstairs import TaskStore, UpstairsError, open_store, pack


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


def test_tasks_are_found_by_their_ids(store):
    ids = store.ids.tolist()
    unknown = 1 if isinstance(ids[0], int) else "1"
    assert store.locate([ids[4], unknown, ids[0], ids[4]]).tolist() == [4, -1, 0, 4]
    assert store.locate([]).tolist() == []
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
    with pytest.raises(UpstairsError, match="is no task store[.] There is no such folder"):
        open_store(tmp_path / "nothing")
    with pytest.raises(UpstairsError, match="is no task store[.] pack makes one"):
        TaskStore(tmp_path)
