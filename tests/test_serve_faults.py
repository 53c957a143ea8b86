"""upstairs serve when things go wrong: killed, stopped, the database gone or full, model files replaced by rubbish."""

import contextlib
import hashlib
import json
import os
import re
import shutil
import sqlite3
import sys
import threading
import time
from pathlib import Path

import httpx
import numpy as np
import pytest

import upstairs
from postgres import Postgres
from served import Server, answering, inside
from shop import sales

ROW = {"price": 2.0, "kind": "mall", "sales": 30.0}
TASKS = "/v1/models/stores/tasks"
QUICK = {"OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def postgres():
    database = Postgres().start()
    yield database
    database.remove()


# Killed.


class Writer(threading.Thread):
    """Appends numbered rows, one a request with its own key, from the first that isn't acknowledged on, until told to stop."""

    def __init__(self, url, task, key="row"):
        super().__init__()
        self.url, self.task, self.key = f"{url}{TASKS}/{task}/rows", task, key
        self.acknowledged, self.in_flight, self.most = 0, False, 10**9

    def run(self):
        with contextlib.suppress(httpx.TransportError), httpx.Client(timeout=30) as client:
            while self.acknowledged < self.most:
                self.in_flight = True
                n = self.acknowledged
                answer = client.post(
                    self.url, json={"rows": [{**ROW, "price": float(n)}]}, headers={"Idempotency-Key": f"{self.key}-{n}"}
                )
                self.in_flight = False
                if answer.status_code == 503:
                    time.sleep(0.05)
                    continue
                assert answer.status_code == 200, answer.text
                self.acknowledged += 1


def rows_kept(path):
    """The prices of each task's rows, as the database has them."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        found = connection.execute(
            "SELECT task, content FROM tasks JOIN appends ON task_id = id ORDER BY task, position"
        ).fetchall()
    kept = {}
    for task, content in found:
        kept.setdefault(task, []).extend(json.loads(content)["price"])
    return kept


def kill_rounds(models, folder, rounds, workers, rng):
    database = folder / "tasks.db"
    server = Server(models, f"--database=sqlite:///{database}", f"--workers={workers}", log=folder / "log", environment=QUICK)
    acknowledged, interrupted = {"a": 0, "b": 0}, 0
    for _ in range(rounds):
        with server:
            writers = [Writer(server.url, task) for task in acknowledged]
            for writer in writers:
                writer.acknowledged = acknowledged[writer.task]
                writer.start()
            enough = sum(acknowledged.values()) + rng.integers(2, 12)
            while sum(writer.acknowledged for writer in writers) < enough or not any(writer.in_flight for writer in writers):
                time.sleep(rng.uniform(0, 0.002))
            interrupted += any(writer.in_flight for writer in writers)
            server.kill()
            for writer in writers:
                writer.join()
        kept = rows_kept(database)
        for writer in writers:
            rows = kept.get(writer.task, [])
            assert rows == list(map(float, range(len(rows)))), "nothing is lost in the middle, and nothing is there twice"
            assert writer.acknowledged <= len(rows) <= writer.acknowledged + 1
            acknowledged[writer.task] = writer.acknowledged  # the last one is sent again, with its key
    assert interrupted == rounds
    return acknowledged


def test_killed_in_the_middle_of_appends(models, tmp_path):
    done = kill_rounds(models, tmp_path, 2, 1, np.random.default_rng(0))
    assert sum(done.values()) >= 4


@pytest.mark.exhaustive
def test_killed_twenty_times(models, tmp_path):
    done = kill_rounds(models, tmp_path, 20, 1, np.random.default_rng(1))
    assert sum(done.values()) >= 40


def mapped_by_workers(server):
    """The files of arrays that each worker maps."""
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
    maps = [Path(f"/proc/{child}/maps").read_text() for child in children]
    found = [{Path(name) for name in re.findall(r"(/\S+/models/\S+\.safetensors)$", text, re.M)} for text in maps]
    return [files for files in found if files]  # one child only cleans up


def test_workers_share_everything_and_stopping_finishes_what_was_begun(models, tmp_path):
    database = tmp_path / "tasks.db"
    arguments = (models, f"--database=sqlite:///{database}", "--workers=2", "--json")
    with Server(*arguments, log=tmp_path / "log", environment=QUICK) as server:
        assert json.loads((tmp_path / "log").read_text().splitlines()[0])["url"] == server.url
        first, second = until(lambda: mapped_by_workers(server), lambda mapped: [len(files) for files in mapped] == [2, 2])
        assert first == second == set(next(iter(first)).parent.iterdir())
        expected, table = upstairs.load(models / "stores.upstairs"), sales(1, 6, seed=3)
        X, y = table.select(["price", "kind"]), table["sales"]
        for row in range(6):  # every request is a connection of its own, and goes to any worker
            rows = [{**X.slice(row, 1).to_pylist()[0], "sales": y[row].as_py()}]
            assert httpx.post(f"{server.url}{TASKS}/t/rows", json={"rows": rows}).json()["rows"] == row + 1
            for _ in range(3):
                got = httpx.post(f"{server.url}{TASKS}/t/predict", json={"query": X.to_pylist()}).json()
                adapted = expected.adapt(X.slice(0, row + 1), y.slice(0, row + 1))
                np.testing.assert_allclose(got["prediction"], adapted.predict(X).to_numpy(), rtol=1e-9)
        text = httpx.get(f"{server.url}/metrics").text
        assert 'upstairs_requests_total{operation="predictTask",status="200"} 18.0' in text
        writers = [Writer(server.url, f"t{k}") for k in range(4)]
        for writer in writers:
            writer.start()
        while min(writer.acknowledged for writer in writers) < 3 or not any(writer.in_flight for writer in writers):
            time.sleep(0.001)
        assert server.stop() == 0
        assert not next(iter(first)).parent.parent.exists()
        for writer in writers:
            writer.join()
    kept = rows_kept(database)
    for writer in writers:
        assert len(kept[writer.task]) == writer.acknowledged, "what was committed was acknowledged"
    assert "Traceback" not in (tmp_path / "log").read_text()


# The database.


def test_a_database_that_is_gone_and_comes_back(models, postgres):
    with inside(models, database=postgres.url) as web:
        headers = {"Idempotency-Key": "one"}
        assert web.post(f"{TASKS}/t/rows", json={"rows": [ROW]}, headers=headers).json()["rows"] == 1
        postgres.stop()
        try:
            answer = web.post(f"{TASKS}/t/rows", json={"rows": [ROW]}, headers={"Idempotency-Key": "two"})
            assert (answer.status_code, answer.json()["type"]) == (503, "urn:upstairs:problem:no-database")
            assert "send it again with the same Idempotency-Key" in answer.json()["detail"]
            assert answer.headers["Retry-After"]
            assert web.post(f"{TASKS}/t/predict", json={"query": [ROW]}).status_code == 503
            assert web.get("/v2/health/ready").status_code == 503
            assert web.get("/v2/health/live").status_code == 200
            assert web.post("/v1/models/stores/predict", json={"query": [ROW]}).status_code == 200
        finally:
            postgres.start()
        answering(str(web.base_url))
        for key, rows, replayed in (("two", 2, False), ("one", 2, True)):
            answer = web.post(f"{TASKS}/t/rows", json={"rows": [ROW]}, headers={"Idempotency-Key": key}).json()
            assert (answer["rows"], answer["replayed"]) == (rows, replayed)


def test_several_servers_share_a_postgres(models, postgres):
    """Two servers append to one task at once: each row counts once, and both predict from all of them."""
    with inside(models, database=postgres.url) as one, inside(models, database=postgres.url) as other:
        writers = [Writer(str(web.base_url), "shared", key=f"server-{k}") for k, web in enumerate((one, other))]
        for writer in writers:
            writer.most = 15
            writer.start()
        for writer in writers:
            writer.join()
        assert [writer.acknowledged for writer in writers] == [15, 15]
        assert one.get(f"{TASKS}/shared").json()["rows"] == 30
        answers = [web.post(f"{TASKS}/shared/predict", json={"query": [ROW]}).json() for web in (one, other)]
        assert answers[0]["shots"] == answers[1]["shots"] == 30
        assert answers[0]["prediction"] == pytest.approx(answers[1]["prediction"])
        assert one.delete(f"{TASKS}/shared").status_code == 204
        assert other.post(f"{TASKS}/shared/predict", json={"query": [ROW]}).json()["shots"] == 0
        odd = f"{TASKS}/o'brien; DROP TABLE tasks"
        assert one.post(f"{odd}/rows", json={"rows": [{**ROW, "kind": "\x00"}]}).json()["rows"] == 1
        assert other.get(odd).json()["task"] == "o'brien; DROP TABLE tasks"


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's limit on the size of files")
def test_a_full_disk_refuses_and_forgets_nothing(models, tmp_path):
    """No file may grow past 300 kB, as on a full disk: appends are refused in a sentence, and what was kept stays."""
    database = tmp_path / "tasks.db"
    limits = (
        "import resource, signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))"
    )
    with Server(models, f"--database=sqlite:///{database}", log=tmp_path / "log", environment=QUICK, limits=limits) as server:
        acknowledged, rows = 0, [{**ROW, "kind": "x" * 1000, "price": float(k)} for k in range(20)]
        for n in range(60):
            answer = httpx.post(f"{server.url}{TASKS}/t/rows", json={"rows": rows}, headers={"Idempotency-Key": f"k{n}"})
            if answer.status_code != 200:
                break
            acknowledged += 1
        assert (answer.status_code, answer.json()["type"]) == (503, "urn:upstairs:problem:no-database"), answer.text
        assert acknowledged > 2
        assert httpx.get(f"{server.url}/v2/health/live").status_code == 200
        assert httpx.post(f"{server.url}{TASKS}/t/predict", json={"query": [ROW]}).json()["shots"] == 20 * acknowledged
        server.kill()
    assert len(rows_kept(database)["t"]) == 20 * acknowledged


def test_a_database_that_may_not_be_written(models, tmp_path, monkeypatch):
    database = tmp_path / "tasks.db"
    with inside(models, database=f"sqlite:///{database}") as web:
        assert web.post(f"{TASKS}/t/rows", json={"rows": [ROW]}).status_code == 200
    url = f"sqlite:///file:{database}?mode=ro&uri=true"  # root may write what nobody may
    monkeypatch.setattr("served.migrate", lambda url: None)
    with inside(models, database=url) as web:
        answer = web.post(f"{TASKS}/t/rows", json={"rows": [ROW]})
        assert (answer.status_code, answer.json()["type"]) == (503, "urn:upstairs:problem:no-database")
        assert web.post(f"{TASKS}/t/predict", json={"query": [ROW]}).json()["shots"] == 1


# Model files.


def test_models_are_loaded_again_without_a_request_noticing(models, tmp_path, capsys):
    folder = tmp_path / "models"
    shutil.copytree(models, folder)
    path, other = folder / "stores.upstairs", upstairs.load(models / "stores.upstairs")
    other.known_ = other.known_.take(np.array([], int))
    upstairs.save(other, tmp_path / "other", known_tasks=False)
    (shared := tmp_path / "shared").mkdir()
    with inside(folder, database=f"sqlite:///{tmp_path}/t.db", reload_seconds=0.02, shared=str(shared)) as web:
        statuses, stop = [], threading.Event()

        def ask():
            with contextlib.suppress(httpx.TransportError), httpx.Client(base_url=web.base_url) as client:
                while not stop.is_set():
                    statuses.append(client.post("/v1/models/stores/predict", json={"query": [ROW]}).status_code)

        asking = threading.Thread(target=ask)
        asking.start()
        for content in ((tmp_path / "other").read_bytes(), (models / "stores.upstairs").read_bytes()) * 3:
            (tmp_path / "next").write_bytes(content)
            os.replace(tmp_path / "next", path)
            version = hashlib.sha256(content).hexdigest()[:12]
            until(lambda: web.get("/v1/models/stores").json()["version"], version.__eq__)
            assert [path.name for path in shared.glob("stores-*")] == [f"stores-{version}.safetensors"]
            enough = len(statuses) + 4
            until(lambda: len(statuses), enough.__le__)
        path.write_bytes(b"rubbish")
        told = until(lambda: web.get("/v1/models/stores").json(), lambda told: told["note"])
        assert told["version"] == version
        assert "is damaged, or was not saved by upstairs" in told["note"]
        ready = web.get("/v2/health/ready")
        assert (ready.status_code, list(ready.json()["notes"])) == (200, ["stores"])
        (folder / "new.upstairs").write_bytes(b"")
        assert until(lambda: web.get("/v1/models").json()["refused"], bool).keys() == {"new"}
        (folder / "sizes.upstairs").unlink()
        until(lambda: web.get("/v1/models/sizes").status_code, lambda status: status == 404)
        stop.set()
        asking.join()
        assert set(statuses) == {200}
        metrics = web.get("/metrics").text
        assert 'upstairs_model_loads_total{model="stores",outcome="refused"}' in metrics
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    refused = [line for line in lines if line["event"] == "model refused"]
    assert {(line["model"], line["served"]) for line in refused} == {("stores", True), ("new", False)}
    assert any(line["event"] == "model withdrawn" and line["model"] == "sizes" for line in lines)


def test_no_model_is_not_ready(tmp_path):
    (tmp_path / "models").mkdir()
    with inside(tmp_path / "models", database=f"sqlite:///{tmp_path}/t.db") as web:
        answer = web.get("/v2/health/ready")
        assert (answer.status_code, answer.json()["detail"]) == (503, "No model is loaded.")


def test_rows_that_a_new_version_cannot_use(models, tmp_path):
    folder = tmp_path / "models"
    folder.mkdir()
    shutil.copy(models / "stores.upstairs", folder)
    with inside(folder, database=f"sqlite:///{tmp_path}/t.db", reload_seconds=0.02) as web:
        assert web.post(f"{TASKS}/t/rows", json={"rows": [ROW]}).status_code == 200
        first = web.get("/v1/models/stores").json()["version"]
        table = sales()
        meta = type(upstairs.load(models / "stores.upstairs"))(random_state=0)
        meta.fit(table.select(["price"]).append_column("size", table["price"]), table["sales"], groups=table["store"])
        upstairs.save(meta, folder / "stores.upstairs", target_name="sales")
        until(lambda: web.get("/v1/models/stores").json()["version"], lambda version: version != first)
        answer = web.post(f"{TASKS}/t/predict", json={"query": [{"price": 1.0, "size": 1.0}]})
        assert (answer.status_code, answer.json()["type"]) == (409, "urn:upstairs:problem:outgrown")
        assert "'size'" in answer.json()["detail"]


def until(ask, good, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if good(found := ask()):
            return found
        time.sleep(0.01)
    raise AssertionError(found)
