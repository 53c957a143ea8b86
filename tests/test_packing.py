"""Files become a store: the same numbers as in memory, whatever the order, and one sentence where something is wrong."""

import datetime
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

import upstairs
from upstairs import UpstairsError, UpstairsWarning, open_store, pack
from upstairs.packing import progress, sorting
from upstairs.store import parse_memory
from upstairs.table import Columns


def make_rows(n=2000, n_tasks=100, seed=0, task=int):
    rng = np.random.default_rng(seed)
    x = rng.normal(3, 2, n)
    x[rng.random(n) < 0.05] = np.nan
    ids = rng.integers(0, n_tasks, n)
    day = np.datetime64("2024-01-01T00:00:00") + rng.integers(0, 10**7, n).astype("m8[s]")
    colour = np.array(["red", "green", "blue", None], object)[rng.integers(0, 4, n)]
    names = {int: ids, str: np.array([f"é{i}" for i in ids.tolist()], object)}
    return pd.DataFrame(
        {"x": x, "k": rng.integers(0, 9, n), "colour": colour, "day": day, "task": names[task], "y": rng.normal(size=n)}
    )


def in_memory(frame, target="y"):
    """X, y and ids as a fit on the table would have them."""
    X = frame.drop(columns=["task", target])
    order = np.argsort(frame["task"].to_numpy(), kind="stable")
    columns = Columns.learn(X)
    return columns, columns.encode(X)[order], frame[target].to_numpy()[order], np.unique(frame["task"].to_numpy())


def assert_holds(store, frame):
    columns, X, y, ids = in_memory(frame)
    tasks = store.tasks()
    assert store.columns == columns
    np.testing.assert_array_equal(tasks.X, X)
    np.testing.assert_array_equal(tasks.y, y)
    assert tasks.ids.tolist() == ids.tolist()
    assert tasks.sizes.tolist() == np.unique(frame["task"], return_counts=True)[1].tolist()
    assert tasks.X.dtype == np.float32 and tasks.X.flags.c_contiguous


@pytest.mark.parametrize("task", [int, str])
@pytest.mark.parametrize("kind", ["parquet", "csv", "feather"])
def test_a_store_holds_what_a_table_in_memory_would(kind, task, tmp_path):
    frame, file = make_rows(task=task), tmp_path / f"rows.{kind}"
    if kind == "parquet":
        pq.write_table(pa.Table.from_pandas(frame), file, row_group_size=300)
    elif kind == "csv":
        frame.to_csv(file, index=False)
    else:
        pyarrow.feather.write_feather(frame, file)
    store = pack(file, tmp_path / "rows.tasks", task="task", target="y")
    assert_holds(store, frame)
    store.verify()
    assert sorted(path.name for path in tmp_path.iterdir()) == [file.name, "rows.tasks"]


def test_more_rows_than_are_learned_at_once(tmp_path):
    frame = make_rows(150_000, 20_000)
    for i, start in enumerate((0, 1000, 70_000, 149_999)):
        stop = [1000, 70_000, 149_999, 150_000][i]
        pq.write_table(pa.Table.from_pandas(frame[start:stop], preserve_index=False), tmp_path / f"part-{i}.parquet")
    assert_holds(pack(str(tmp_path / "part-*.parquet"), tmp_path / "rows.tasks", task="task", target="y"), frame)


def test_a_partitioned_folder(tmp_path):
    frame = make_rows()
    for task, rows in frame.groupby("task"):
        folder = tmp_path / "rows" / f"task={task}"
        folder.mkdir(parents=True)
        rows.drop(columns="task").to_parquet(folder / "part-0.parquet", index=False)
    store = pack(tmp_path / "rows", tmp_path / "rows.tasks", task="task", target="y")
    assert store.ids.tolist() == list(range(100))
    last = store.tasks(99)
    assert last.y.tolist() == frame["y"][frame["task"] == 99].tolist()


def test_classes(tmp_path):
    frame = make_rows().assign(y=lambda rows: np.where(rows["y"] > 0, "pass", "fail"))
    frame.to_parquet(tmp_path / "rows.parquet")
    store = pack(tmp_path / "rows.parquet", tmp_path / "rows.tasks", task="task", target="y")
    assert store.classes.tolist() == ["fail", "pass"]
    order = np.argsort(frame["task"].to_numpy(), kind="stable")
    assert (store.classes[store.tasks().y.astype(int)] == frame["y"].to_numpy()[order]).all()
    whole = frame.assign(y=np.arange(len(frame)) % 3)
    whole.to_parquet(tmp_path / "whole.parquet")
    assert pack(tmp_path / "whole.parquet", tmp_path / "w.tasks", task="task", target="y").classes is None
    store = pack(tmp_path / "whole.parquet", tmp_path / "w.tasks", task="task", target="y", classify=True)
    assert store.classes.tolist() == [0, 1, 2]


def test_rows_to_be_predicted_keep_their_number(tmp_path):
    frame = make_rows().drop(columns="y")
    frame.to_parquet(tmp_path / "rows.parquet")
    store = pack(tmp_path / "rows.parquet", tmp_path / "rows.tasks", task="task")
    assert store.target_name is None
    assert store.tasks().y.tolist() == np.argsort(frame["task"].to_numpy(), kind="stable").tolist()


@pytest.mark.parametrize("task", [int, str])
def test_append_adds_rows_and_tasks(task, tmp_path):
    frame, more = make_rows(task=task), make_rows(500, 150, seed=1, task=task)
    frame.to_parquet(tmp_path / "rows.parquet")
    more.to_parquet(tmp_path / "more.parquet")
    old = pack(tmp_path / "rows.parquet", tmp_path / "rows.tasks", task="task", target="y")
    store = pack(tmp_path / "more.parquet", tmp_path / "rows.tasks", append=True)
    store.verify()
    both = pd.concat([frame, more])
    order = np.argsort(both["task"].to_numpy(), kind="stable")
    np.testing.assert_array_equal(store.tasks().X, old.columns.encode(both.drop(columns=["task", "y"]))[order])
    np.testing.assert_array_equal(store.tasks().y, both["y"].to_numpy()[order])
    assert store.ids.tolist() == sorted(set(both["task"]))
    assert len(list((tmp_path / "rows.tasks").iterdir())) == 2


def test_a_store_is_replaced_only_by_a_whole_one(tmp_path):
    frame = make_rows()
    frame.to_parquet(tmp_path / "rows.parquet")
    frame.assign(task=np.where(frame.index == 1999, np.nan, frame["task"])).to_parquet(tmp_path / "bad.parquet")
    store = pack(tmp_path / "rows.parquet", tmp_path / "rows.tasks", task="task", target="y")
    with pytest.raises(UpstairsError):
        pack(tmp_path / "bad.parquet", tmp_path / "rows.tasks", task="task", target="y")
    open_store(tmp_path / "rows.tasks").verify()
    frame[:1000].to_parquet(tmp_path / "rows.parquet")
    assert pack(tmp_path / "rows.parquet", tmp_path / "rows.tasks", task="task", target="y").n_rows == 1000
    assert store.tasks(3).y.size  # the older one, still mapped
    assert len(list((tmp_path / "rows.tasks").iterdir())) == 2


def test_a_large_task_among_small_ones(tmp_path):
    n = 110_000
    frame = pd.DataFrame(
        {"x": np.arange(n) * 1.0, "task": np.where(np.arange(n) % 11, -1, np.arange(n) // 110), "y": np.arange(n) * 0.5}
    )
    frame.to_parquet(tmp_path / "rows.parquet")
    store = pack(tmp_path / "rows.parquet", tmp_path / "rows.tasks", task="task", target="y")
    assert store.tasks(0).sizes.tolist() == [100_000]
    assert set(store.tasks(slice(1, None)).sizes.tolist()) == {10}
    assert (np.diff(store.tasks(0).X[:, 0]) > 0).all()


def test_spilling_changes_nothing(tmp_path, monkeypatch):
    frame = make_rows(150_000, 5000)
    frame.to_parquet(tmp_path / "rows.parquet")
    monkeypatch.setattr(
        sorting, "_settings", lambda memory, spill: {"memory_limit": "25MB", "temp_directory": str(spill), "threads": 1}
    )
    monkeypatch.setattr(sorting, "BYTES_OUT", 2**16)
    assert_holds(pack(tmp_path / "rows.parquet", tmp_path / "rows.tasks", task="task", target="y"), frame)


def test_like_a_model_or_a_store(tmp_path):
    frame = make_rows()
    frame.to_parquet(tmp_path / "rows.parquet")
    frame[:500].assign(more=1).to_parquet(tmp_path / "few.parquet")
    store = pack(tmp_path / "rows.parquet", tmp_path / "rows.tasks", task="task", target="y")
    with pytest.warns(UpstairsWarning, match="'more'"):
        few = pack(tmp_path / "few.parquet", tmp_path / "few.tasks", task="task", target="y", like=store)
    assert few.columns == store.columns


def write(folder, frames):
    for i, frame in enumerate(frames):
        frame.to_parquet(folder / f"part-{i}.parquet", index=False)


def mistakes():
    frame = make_rows(50, 5)
    parts = [frame.copy() for _ in range(8)]

    def seventh(other):
        return [*parts[:6], other, parts[7]]

    return {
        "changed": (
            seventh(frame.assign(k=[f"a{i}" for i in frame["k"]])),
            r"'k' holds numbers in .*part-0.* but text in .*part-6\.parquet",
        ),
        "missing": (
            seventh(frame.drop(columns="colour")),
            r"part-6\.parquet: it has no column 'colour', which .*part-0\.parquet has",
        ),
        "more": (seventh(frame.assign(extra=1)), r"part-6\.parquet has a column 'extra' that .*part-0\.parquet lacks"),
        "mixed ids": (
            seventh(frame.assign(task="a")),
            r"'task' holds whole numbers in .*part-0.* but text in .*part-6\.parquet",
        ),
        "null ids": (
            seventh(frame.assign(task=pd.array([None, *range(49)], "Int64"))),
            r"no task in column 'task' in row 0 of .*part-6\.parquet",
        ),
        "null target": (
            seventh(frame.assign(y=[*range(49), np.nan])),
            r"target 'y' has no value in row 49 of .*part-6\.parquet.*drop_missing_target",
        ),
        "infinity": (
            seventh(frame.assign(x=[*range(49), np.inf])),
            r"Column 'x' holds infinity in row 49 of .*part-6\.parquet",
        ),
        "lists": (seventh(frame.assign(x=[[1]] * 50)), r"part-6\.parquet: Column 'x' holds values of the type list"),
        "floats as ids": ([frame.assign(task=0.5)], r"task column 'task' holds double"),
        "labels and numbers": (seventh(frame.assign(y="a")), r"'y' holds numbers in .*part-0.* but text in .*part-6\.parquet"),
    }


@pytest.mark.parametrize("name", mistakes())
def test_mistakes_are_one_sentence_and_leave_nothing(name, tmp_path):
    frames, message = mistakes()[name]
    folder = tmp_path / "rows"
    folder.mkdir()
    write(folder, frames)
    with pytest.raises(UpstairsError, match=message):
        pack(folder, tmp_path / "rows.tasks", task="task", target="y")
    assert [path.name for path in tmp_path.iterdir()] == ["rows"]


@pytest.mark.parametrize("lacking, column", [("target", "y"), ("task", "task")])
def test_rows_that_lack_target_or_task_may_be_left_out(lacking, column, tmp_path):
    frame = make_rows(task=str)
    frame[column] = frame[column].where(np.arange(len(frame)) % 7 > 0)
    frame.to_parquet(tmp_path / "rows.parquet")
    told = {"task": "task", "target": "y"}
    with pytest.raises(UpstairsError, match=f"drop_missing_{lacking}"):
        pack(tmp_path / "rows.parquet", tmp_path / "rows.tasks", **told)
    store = pack(tmp_path / "rows.parquet", tmp_path / "rows.tasks", **told, **{f"drop_missing_{lacking}": True})
    assert_holds(store, frame[frame[column].notna()])


def test_a_truncated_file(tmp_path):
    make_rows().to_parquet(tmp_path / "rows.parquet")
    content = (tmp_path / "rows.parquet").read_bytes()
    (tmp_path / "rows.parquet").write_bytes(content[: len(content) // 2])
    with pytest.raises(UpstairsError, match=r"rows\.parquet is no valid parquet file"):
        pack(tmp_path / "rows.parquet", tmp_path / "rows.tasks", task="task", target="y")


def test_damage_inside_a_file(tmp_path):
    make_rows().to_parquet(tmp_path / "rows.parquet")
    content = bytearray((tmp_path / "rows.parquet").read_bytes())
    content[4:4000] = bytes(3996)
    (tmp_path / "rows.parquet").write_bytes(content)
    with pytest.raises(UpstairsError, match=r"rows\.parquet is no valid parquet file"):
        pack(tmp_path / "rows.parquet", tmp_path / "rows.tasks", task="task", target="y")
    assert [path.name for path in tmp_path.iterdir()] == ["rows.parquet"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"source": "nowhere.parquet"}, "nowhere.parquet doesn't exist"),
        ({"source": "*.parquet"}, "No file is named like"),
        ({"source": "rows.txt"}, r"rows\.txt ends in \.txt, but files of rows end in"),
        ({"source": 3}, "source is a int"),
        ({"task": "tusk"}, r"no column 'tusk'.*Did you mean 'task'"),
        ({"target": "task"}, "given as task and as target"),
        ({"task": None}, "pack needs task"),
        ({"memory": "much"}, "memory must be a size"),
        ({"memory": "1MB"}, "at least 400MB"),
        ({"ignore": ["z"]}, "no column 'z'"),
        ({"like": 3}, "like must be a fitted meta-model or a task store"),
        ({"path": "rows.txt"}, r"rows\.txt is there and is no task store"),
        ({"path": "no/where.tasks"}, "can't be written: there is no such file or folder"),
        ({"append": True}, "is no task store"),
    ],
)
def test_odd_arguments(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_rows(50, 5).to_csv("rows.csv")
    (tmp_path / "rows.txt").write_text("")
    given = {"source": "rows.csv", "path": "rows.tasks", "task": "task", "target": "y"} | arguments
    with pytest.raises(UpstairsError, match=message):
        pack(given.pop("source"), given.pop("path"), **given)
    assert sorted(os.listdir()) == ["rows.csv", "rows.txt"]


def test_sizes():
    assert [parse_memory(size) for size in ("2GB", "500 mb", "1GiB", 10**9)] == [2 * 10**9, 5 * 10**8, 2**30, 10**9]


PACK = """
import resource, signal, sys, upstairs
from upstairs.packing import progress, sorting
limit = int(sys.argv[2])
sorting._settings = lambda memory, spill: {"memory_limit": "60MB", "temp_directory": str(spill), "threads": 1}
if limit:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
print("go", flush=True)
try:
    upstairs.pack(sys.argv[1] + "/rows.parquet", sys.argv[1] + "/rows.tasks", task="task", target="y")
except upstairs.UpstairsError as error:
    print(error)
"""


def start(folder, limit=0):
    return subprocess.Popen([sys.executable, "-c", PACK, str(folder), str(limit)], stdout=subprocess.PIPE, text=True)


def small_memory(memory, spill):
    return {"memory_limit": "60MB", "temp_directory": str(spill), "threads": 1}


def content_of(path):
    store = open_store(path)
    store.verify()
    return {name: entry["sha256"] for name, entry in store.manifest["files"].items()}


def test_killed_at_any_moment_and_run_again(tmp_path, monkeypatch):
    monkeypatch.setattr(sorting, "_settings", small_memory)
    make_rows(200_000, 20_000).to_parquet(tmp_path / "rows.parquet", row_group_size=10_000)
    begun = time.monotonic()
    pack(tmp_path / "rows.parquet", tmp_path / "whole.tasks", task="task", target="y")
    takes, whole = time.monotonic() - begun, content_of(tmp_path / "whole.tasks")
    killed = 0
    for moment in np.random.default_rng(0).random(2) * takes:
        process = start(tmp_path)
        process.stdout.readline()
        time.sleep(moment)
        process.kill()
        process.communicate()
        if process.returncode == -signal.SIGKILL:
            killed += 1
            there = (tmp_path / "rows.tasks").exists()
            assert not there or content_of(tmp_path / "rows.tasks") == whole  # there and whole, or not there
        pack(tmp_path / "rows.parquet", tmp_path / "rows.tasks", task="task", target="y")
        assert content_of(tmp_path / "rows.tasks") == whole
        shutil.rmtree(tmp_path / "rows.tasks")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["rows.parquet", "whole.tasks"]
    assert killed


def test_a_full_disk(tmp_path):
    make_rows(100_000, 1000).to_parquet(tmp_path / "rows.parquet")
    process = start(tmp_path, 10**6)
    told = process.communicate()[0].splitlines()
    assert process.returncode == 0
    assert re.search(r"can't be written: file too large|disk of .* is full|Sorting the rows failed", told[1])
    assert [path.name for path in tmp_path.iterdir()] == ["rows.parquet"]


def test_dates_as_tasks(tmp_path):
    frame = make_rows(60, 5)
    frame["task"] = [datetime.date(2024, 1, 1 + i) for i in frame["task"]]
    frame.to_parquet(tmp_path / "rows.parquet")
    store = pack(tmp_path / "rows.parquet", tmp_path / "rows.tasks", task="task", target="y")
    assert store.ids.dtype.kind == "M" and store.n_tasks == 5
    assert upstairs.open_store(tmp_path / "rows.tasks").locate(store.ids[2:3]).tolist() == [2]


def test_nothing_is_printed(tmp_path, capfd):
    make_rows(100, 10).to_csv(tmp_path / "rows.csv", index=False)
    pack(tmp_path / "rows.csv", tmp_path / "rows.tasks", task="task", target="y")
    assert capfd.readouterr() == ("", "")


def test_progress_is_shown_when_it_takes_long(tmp_path, monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)
    make_rows(100, 10).to_csv(tmp_path / "rows.csv", index=False)
    pack(tmp_path / "rows.csv", tmp_path / "rows.tasks", task="task", target="y")
    assert terminal.getvalue() == ""
    monkeypatch.setattr(progress, "PATIENCE", 0)
    pack(tmp_path / "rows.csv", tmp_path / "rows.tasks", task="task", target="y")
    assert "Writing: 100 rows" in re.sub(r"\x1b\[[0-9;]*m", "", terminal.getvalue())


def test_what_only_the_second_pass_sees(tmp_path):
    frame = make_rows(500, 50)
    frame.to_parquet(tmp_path / "rows.parquet")
    store = pack(tmp_path / "rows.parquet", tmp_path / "rows.tasks", task="task", target="y")
    (tmp_path / "more").mkdir()
    write(tmp_path / "more", [frame[:60], frame[60:100].assign(x=[*range(39), np.inf])])
    with pytest.raises(UpstairsError, match=r"'x' holds infinity in row 39 of .*part-1\.parquet"):
        pack(tmp_path / "more", tmp_path / "more.tasks", task="task", target="y", like=store)
    frame[:10].assign(task=np.array([2**64 - 1] * 10, np.uint64)).to_parquet(tmp_path / "large.parquet")
    with pytest.raises(UpstairsError, match="too large for 64 bits: 18446744073709551615"):
        pack(tmp_path / "large.parquet", tmp_path / "large.tasks", task="task", target="y", like=store)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["large.parquet", "more", "rows.parquet", "rows.tasks"]
