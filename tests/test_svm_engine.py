"""A machine whose rows are gone through by a cluster: the same meta-model, bit for bit, also when a worker is killed."""

import functools
import os
import pickle
import signal
import threading
import time

import numpy as np
import pandas as pd
import psutil
import pytest

from noted import look_and_note
from test_svm import shops
from upstairs import MetaSVR, UpstairsError, open_store, pack
from upstairs.cli import main
from upstairs.svm import newton
from upstairs.svm import rows as svm_rows
from upstairs.svm.features import feature_matrix


def pack_shops(folder):
    """A store of 24 tasks."""
    X, y, task = shops(False, n_tasks=24)
    pd.DataFrame(X, columns=list("abc")).assign(y=y, task=task).to_parquet(folder / "rows.parquet")
    return pack(folder / "rows.parquet", folder / "rows.tasks", task="task", target="y")


@pytest.fixture
def store(tmp_path, monkeypatch):
    """Of 24 tasks, in five blocks whose features aren't held."""
    monkeypatch.setattr(svm_rows, "MOST_HELD", 0)
    monkeypatch.setattr(newton, "ROWS_A_BLOCK", 60)
    return pack_shops(tmp_path)


def test_a_worker_killed_in_the_middle_of_a_fit(store, tmp_path, monkeypatch):
    distributed = pytest.importorskip("distributed")
    local = MetaSVR(kernel="linear", random_state=0).fit(open_store(store.path))
    notes, killed, listening = tmp_path / "notes", [], set()
    notes.mkdir()

    def kill_one():
        while not (found := sorted(notes.iterdir())) or not (pid := found[0].read_text()):
            time.sleep(0.001)
        for one in [psutil.Process(), *psutil.Process().children(recursive=True)]:
            listening.update(socket.laddr.ip for socket in one.net_connections("inet") if socket.status == psutil.CONN_LISTEN)
        os.kill(int(pid), signal.SIGKILL)
        killed.append(int(pid))

    monkeypatch.setattr(newton, "_look_from_afar", functools.partial(look_and_note, str(notes)))
    killer = threading.Thread(target=kill_one)
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None) as cluster:
        killer.start()
        there = open_store(store.path, engine="dask", address=cluster.scheduler_address)
        spread = MetaSVR(kernel="linear", random_state=0).fit(there)
        killer.join()
    assert killed != [os.getpid()]
    assert listening == {"127.0.0.1"}
    starts = [note.name.rsplit("-", 1)[0] for note in notes.iterdir()]
    assert len(starts) > len(set(starts)) >= 10  # a block was begun anew; there were two looks or more
    assert len({note.read_text() for note in notes.iterdir()}) >= 2
    for mine, theirs in zip(local.state_.heads, spread.state_.heads, strict=True):
        np.testing.assert_array_equal(mine.theta, theirs.theta)
    np.testing.assert_array_equal(local.dual_coef_, spread.dual_coef_)


def test_what_travels_is_where_rows_are(store):
    tasks = store.mapped
    features = MetaSVR(kernel="rbf", random_state=0).fit(store).state_.heads[0].features
    made = svm_rows.Made(functools.partial(feature_matrix, features), tasks.X)
    sent = pickle.dumps(made)
    assert tasks.X[:10].tobytes() not in sent
    there = pickle.loads(sent)
    assert there.source is not tasks.X
    np.testing.assert_array_equal(there[3:9], made[3:9])


def test_mistakes(store, tmp_path, capsys):
    with pytest.raises(UpstairsError, match="engine must be one of local, dask, ray, spark, but is 'desk'"):
        open_store(store.path, engine="desk")
    with pytest.raises(UpstairsError, match="n_jobs must be 1 or more, but is 0"):
        open_store(store.path, n_jobs=0)
    with pytest.raises(SystemExit, match="2"):
        main(["fit", str(store.path), "--engine", "dask", "-o", str(tmp_path / "model.upstairs")])
    assert "--engine is for --learner svm on a store" in capsys.readouterr().err
    for option, value in (("--jobs", "2"), ("--address", "tcp://127.0.0.1:1")):
        with pytest.raises(SystemExit, match="2"):
            main(["fit", str(store.path), "--learner", "svm", option, value, "-o", str(tmp_path / "model.upstairs")])
        assert f"{option} is of a cluster: give --engine dask, ray or spark" in capsys.readouterr().err
    assert not (tmp_path / "model.upstairs").exists()
