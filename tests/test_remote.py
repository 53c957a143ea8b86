"""Object stores: the same rows, stores and predictions as from a disk, and one sentence where something is wrong."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request

import fsspec
import numpy as np
import pandas as pd
import psutil
import pyarrow as pa
import pyarrow.feather
import pyarrow.fs
import pyarrow.parquet as pq
import pytest

import upstairs
from shop import run
from upstairs import UpstairsError, bulk, pack, predict_files, remote
from upstairs.baselines.hierarchical_ridge import HierarchicalRidgeRegressor
from upstairs.files import read_table
from upstairs.remote import Remote, local_copy, place

KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_EC2_METADATA_DISABLED": "true"}


@pytest.fixture(scope="module")
def server():
    """The address of an S3 of this machine, that nobody else can reach."""
    from moto.server import ThreadedMotoServer

    def listening():
        return {one.laddr for one in psutil.Process().net_connections("inet") if one.status == psutil.CONN_LISTEN}

    before = listening()
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    new = listening() - before
    assert new and {address.ip for address in new} == {"127.0.0.1"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**KEYS, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.get_host_and_port()[1]}"}.items():
            patch.setenv(name, value)
        yield os.environ["AWS_ENDPOINT_URL"]
        remote._file_system.cache_clear()
    server.stop()


@pytest.fixture(params=["memory", "s3"])
def bucket(request):
    """An empty bucket."""
    remote._file_system.cache_clear()
    if request.param == "memory":
        fsspec.filesystem("memory").store.clear()
        yield "memory://bucket"
        fsspec.filesystem("memory").store.clear()
        return
    server = request.getfixturevalue("server")
    files = pa.fs.S3FileSystem(endpoint_override=server, allow_bucket_creation=True, allow_bucket_deletion=True)
    files.create_dir("bucket")
    yield "s3://bucket"
    files.delete_dir("bucket")


def make(n_tasks, rows, seed, first=0):
    rng = np.random.default_rng(seed)
    task = np.repeat(np.arange(first, first + n_tasks), rows)
    frame = pd.DataFrame({"x": rng.normal(size=len(task)), "colour": rng.choice(["red", "blue"], len(task)), "task": task})
    return frame.assign(y=frame["x"] + np.random.default_rng(9).normal(size=200)[task])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Rows of 40 tasks, a model of 30 of them, and the rows to ask about in four row groups."""
    folder = tmp_path_factory.mktemp("remote")
    make(30, 10, 0).to_parquet(folder / "train.parquet")
    store = pack(folder / "train.parquet", folder / "train.tasks", task="task", target="y")
    meta = HierarchicalRidgeRegressor(random_state=0).fit(store)
    upstairs.save(meta, folder / "m.upstairs", task_name="task", target_name="y")
    query = make(40, 10, 1).drop(columns="y")
    pq.write_table(pa.Table.from_pandas(query, preserve_index=False), folder / "query.parquet", row_group_size=100)
    return folder


def put(uri, file):
    Remote(uri).write_bytes(file.read_bytes())


def content_of(store):
    store.verify()
    return {name: entry["sha256"] for name, entry in store.manifest["files"].items()}


@pytest.mark.parametrize("kind", ["parquet", "csv", "feather"])
def test_files_are_packed_from_where_they_are(kind, bucket, tmp_path):
    frame = make(20, 10, 0)
    for i in range(3):
        part, file = frame[i::3], tmp_path / f"part-{i}.{kind}"
        part.to_csv(file, index=False) if kind == "csv" else getattr(part.reset_index(drop=True), f"to_{kind}")(file)
        put(f"{bucket}/a/b c/part-{i}.{kind}", file)
    put(f"{bucket}/a/notes.{kind}", file)
    whole = content_of(pack(str(tmp_path / f"part-*.{kind}"), tmp_path / "here.tasks", task="task", target="y"))
    sources = [f"{bucket}/a/b c/part-*.{kind}", f"{bucket}/**/part-?.{kind}", f"{bucket}/a/b c", f"{bucket}/*/b c/part*"]
    for source in sources if kind == "parquet" else sources[:1]:
        store = pack(source, tmp_path / "there.tasks", task="task", target="y")
        assert content_of(store) == whole
    found = [str(path) for path in Remote(f"{bucket}/a/*.{kind}").matching()]
    assert found == [f"{bucket}/a/notes.{kind}"]


def test_partitions_are_named_by_folders(bucket, tmp_path):
    frame = make(4, 10, 0)
    for task, rows in frame.groupby("task"):
        rows.drop(columns="task").to_parquet(tmp_path / "rows.parquet", index=False)
        put(f"{bucket}/rows/task={task}/part-0.parquet", tmp_path / "rows.parquet")
    store = pack(f"{bucket}/rows", tmp_path / "rows.tasks", task="task", target="y")
    assert store.ids.tolist() == [0, 1, 2, 3]
    assert store.tasks(3).y.tolist() == frame["y"][frame["task"] == 3].tolist()


def read(folder, name="part-*.parquet"):
    """The rows of all parts of a folder, here or there."""
    where = place(f"{folder}/{name}")
    paths = where.matching() if isinstance(where, Remote) else sorted(where.parent.glob(where.name))
    tables = []
    for path in paths:
        with local_copy(path) as file:
            tables.append(pq.read_table(file))
    return len(paths), pa.concat_tables(tables).to_pandas()


def names(folder):
    return sorted(path.name for path in Remote(folder).iterdir())


def test_predictions_into_an_object_store(bucket, folder, tmp_path):
    put(f"{bucket}/in/query.parquet", folder / "query.parquet")
    given = (folder / "m.upstairs", f"{bucket}/in/*.parquet", f"{bucket}/out")
    predict_files(folder / "m.upstairs", folder / "query.parquet", tmp_path / "out", shard_rows=100)
    found = predict_files(*given, shard_rows=100)
    assert (found["rows"], found["shards"], found["shards_done_now"]) == (400, 4, 4)
    n_parts, answers = read(given[2])
    assert n_parts == 4
    pd.testing.assert_frame_equal(answers, read(tmp_path / "out")[1])
    assert names(given[2]) == ["_manifest.json", *(f"part-0000{i}.parquet" for i in range(4))]
    assert json.loads(Remote(f"{given[2]}/_manifest.json").read_bytes())["rows"] == 400
    assert predict_files(*given, shard_rows=100)["shards_done_now"] == 0
    Remote(f"{given[2]}/part-00002.parquet").unlink()
    assert predict_files(*given, shard_rows=100)["shards_done_now"] == 1
    pd.testing.assert_frame_equal(read(given[2])[1], answers)
    with pytest.raises(UpstairsError, match="holds predictions with another interval"):
        predict_files(*given, shard_rows=100, interval=0.5)
    with pytest.raises(UpstairsError, match="in is there and holds no predictions"):
        predict_files(*given[:2], f"{bucket}/in")
    meta = upstairs.load(folder / "m.upstairs")
    assert predict_files(meta, given[1], f"{bucket}/again")["rows"] == 400
    assert "_model.upstairs" in names(f"{bucket}/again")


def test_what_fails_half_way_leaves_no_part(bucket, folder, monkeypatch):
    plain, calls = bulk.answer_columns, []

    def breaks(*given):
        calls.append(given)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return plain(*given)

    monkeypatch.setattr(bulk, "BATCH", 50)
    monkeypatch.setattr(bulk, "answer_columns", breaks)
    with pytest.raises(KeyboardInterrupt):
        predict_files(folder / "m.upstairs", folder / "query.parquet", f"{bucket}/out", shard_rows=100)
    assert names(f"{bucket}/out") == ["_manifest.json", "part-00000.parquet"]
    assert "rows" not in json.loads(Remote(f"{bucket}/out/_manifest.json").read_bytes())
    assert predict_files(folder / "m.upstairs", folder / "query.parquet", f"{bucket}/out", shard_rows=100)["rows"] == 400


PREDICT = """
import sys, time
from upstairs import bulk
plain = bulk.answer_columns
def slow(*given):
    time.sleep(0.4)
    return plain(*given)
bulk.answer_columns = slow
bulk.predict_files(sys.argv[1] + "/m.upstairs", sys.argv[1] + "/query.parquet", sys.argv[2], shard_rows=100)
"""


@pytest.mark.exhaustive
@pytest.mark.parametrize("bucket", ["s3"], indirect=True)
def test_killed_and_run_again(bucket, folder, tmp_path):
    out = f"{bucket}/out"
    process = subprocess.Popen([sys.executable, "-c", PREDICT, str(folder), out])
    while not Remote(f"{out}/part-*").matching():
        time.sleep(0.02)
        assert process.poll() is None
    process.kill()
    process.wait()
    assert process.returncode == -signal.SIGKILL
    there = {path.name: path.stat() for path in Remote(f"{out}/part-*").matching()}
    assert 0 < len(there) < 4
    given = (folder / "m.upstairs", folder / "query.parquet")
    assert predict_files(*given, out, shard_rows=100, n_jobs=2)["shards_done_now"] == 4 - len(there)
    assert there.items() <= {path.name: path.stat() for path in Remote(f"{out}/part-*").matching()}.items()
    predict_files(*given, tmp_path / "whole", shard_rows=100)
    pd.testing.assert_frame_equal(read(out)[1], read(tmp_path / "whole")[1])


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_the_command_line(ending, bucket, folder, tmp_path):
    frame, query = make(30, 10, 0), pd.read_parquet(folder / "query.parquet")
    for name, rows in (("train", frame), ("query", query)):
        file = tmp_path / f"{name}.{ending}"
        rows.to_csv(file, index=False) if ending == "csv" else rows.to_parquet(file, index=False)
        put(f"{bucket}/{name}.{ending}", file)
    model = tmp_path / "m.upstairs"
    learn = ["--task=task", "--target=y", "--learner=hierarchical-ridge", "-o", model]
    code, _, err = run("fit", f"{bucket}/train.{ending}", *learn)
    assert code == 0, err
    code, out, err = run("predict", model, f"{bucket}/query.{ending}", "-o", f"{bucket}/out.{ending}")
    assert code == 0 and f"Wrote {bucket}/out.{ending}: 400 rows" in out, err
    run("predict", model, tmp_path / f"query.{ending}", "-o", tmp_path / f"out.{ending}")
    assert read_table(f"{bucket}/out.{ending}").equals(read_table(tmp_path / f"out.{ending}"))
    code, out, err = run("predict", model, f"{bucket}/q*.{ending}", "-o", f"{bucket}/out")
    assert code == 0 and f"Wrote {bucket}/out: 400 rows in 1 file" in out, err
    code, _, err = run("predict", model, f"{bucket}/query.{ending}", "-o", f"{bucket}/query.{ending}")
    assert code == 2 and "is an input, and would be overwritten" in err
    code, _, err = run("pack", f"{bucket}/train.{ending}", "-o", f"{bucket}/rows.tasks", "--task=task", "--target=y")
    assert code == 2 and f"{bucket}/rows.tasks can't be a store: stores are mapped into memory" in err


def test_what_is_not_there(bucket, folder, tmp_path):
    put(f"{bucket}/rows.parquet", folder / "query.parquet")
    with pytest.raises(UpstairsError, match=rf"^{bucket}/row\.parquet doesn't exist \(is it {bucket}/rows\.parquet\?\)\.$"):
        pack(f"{bucket}/row.parquet", tmp_path / "rows.tasks", task="task")
    with pytest.raises(UpstairsError, match="No file is named like"):
        pack(f"{bucket}/q*.parquet", tmp_path / "rows.tasks", task="task")
    with pytest.raises(UpstairsError, match=rf"^{bucket}/nothing\.csv doesn't exist\.$"):
        read_table(f"{bucket}/nothing.csv")
    Remote(f"{bucket}/half.parquet").write_bytes((folder / "query.parquet").read_bytes()[:3000])
    with pytest.raises(UpstairsError, match=rf"^{bucket}/half\.parquet is no valid parquet file"):
        pack(f"{bucket}/half.parquet", tmp_path / "rows.tasks", task="task")
    assert not (tmp_path / "rows.tasks").exists()


@pytest.mark.parametrize("source", ["s3://nobody/rows.parquet", "s3://nobody/*.parquet", "s3://nobody/rows"])
def test_a_missing_bucket(source, server, folder, tmp_path):
    with pytest.raises(UpstairsError, match=r"^s3://nobody\S* can't be \w+: there is no bucket 'nobody'\.$"):
        pack(source, tmp_path / "rows.tasks", task="task")
    code, _, err = run("predict", folder / "m.upstairs", folder / "query.parquet", "-o", "s3://nobody/out")
    assert code == 2 and "s3://nobody/out can't be reached: there is no bucket 'nobody'." in err
    code, _, err = run("predict", folder / "m.upstairs", folder / "query.parquet", "-o", "s3://nobody/out.csv")
    assert code == 2 and "there is no bucket 'nobody'." in err


def test_without_a_connection(server, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    remote._file_system.cache_clear()
    with pytest.raises(UpstairsError, match=r"^s3://bucket/rows\.parquet can't be read: there is no connection \(.+\)\.$"):
        pack("s3://bucket/rows.parquet", tmp_path / "rows.tasks", task="task")


@pytest.mark.parametrize("bucket", ["s3"], indirect=True)
def test_with_credentials_that_nobody_knows(bucket, server, folder, tmp_path):
    put(f"{bucket}/rows.parquet", folder / "query.parquet")

    def allow(n):  # requests that are served before credentials are asked for
        plain = {"Content-Type": "text/plain"}
        urllib.request.urlopen(urllib.request.Request(f"{server}/moto-api/reset-auth", str(n).encode(), plain))

    allow(0)
    try:
        for source in (f"{bucket}/rows.parquet", f"{bucket}/*.parquet"):
            with pytest.raises(UpstairsError, match=r"^s3://bucket\S* can't be read: access was denied; are there credentials"):
                pack(source, tmp_path / "rows.tasks", task="task")
    finally:
        allow(10**9)


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("odd://bucket/rows.parquet", r"^odd://bucket/rows\.parquet can't be reached: .*[Pp]rotocol not known: odd\.$"),
        ("abc.parquet://", "names no bucket"),
        ("dropbox://bucket/rows.parquet", r"can't be reached: a package is missing \(.*dropbox"),
    ],
)
def test_odd_addresses(uri, message, tmp_path):
    with pytest.raises(UpstairsError, match=message):
        pack(uri, tmp_path / "rows.tasks", task="task")


def test_without_fsspec(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "fsspec", None)
    remote._file_system.cache_clear()
    with pytest.raises(UpstairsError, match=r"a package is missing \(pip install 'upstairs\[scale\]'"):
        pack("memory://bucket/rows.parquet", tmp_path / "rows.tasks", task="task")


def test_addresses_of_this_machine(tmp_path):
    make(3, 5, 0).to_csv(tmp_path / "a b.csv", index=False)
    assert place(f"file://{tmp_path}/a%20b.csv") == tmp_path / "a b.csv"
    assert pack(f"file://{tmp_path}/a%20b.csv", tmp_path / "rows.tasks", task="task").n_rows == 15
