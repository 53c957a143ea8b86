"""upstairs serve: how much at once and for how long, clients that dawdle, and mistakes on its command line."""

import os
import socket
import threading
import time

import pytest

import upstairs
from served import bearer, inside, refused
from shop import run
from upstairs.serve import server

PREDICT = "/v1/models/stores/predict"
ROW = {"price": 2.0, "kind": "mall"}

# How much at once, and for how long.


@pytest.fixture
def slow(models, monkeypatch, tmp_path):
    """A server whose predictions wait until they are let go, and how many there are."""
    let_go, begun = threading.Event(), []

    def wait(*arguments, **options):
        begun.append(1)
        let_go.wait(20)
        return plainly(*arguments, **options)

    cls = type(upstairs.load(models / "stores.upstairs"))
    plainly = cls.predict_all
    limits = {"at_once": 3, "at_once_per_client": 2, "seconds": 0.5}
    with inside(models, database=f"sqlite:///{tmp_path}/t.db", tokens=True, **limits) as web:
        monkeypatch.setattr(cls, "predict_all", wait)
        web.begun, web.let_go = begun, let_go
        yield web
        let_go.set()


def test_requests_beyond_the_places_are_turned_away(slow):
    def ask(scope, answers):
        answers.append(slow.post(PREDICT, json={"query": [ROW]}, headers=bearer(scope)))

    threads, answers = [], []
    for scope in ("read", "read", "write"):
        threads.append(threading.Thread(target=ask, args=(scope, answers)))
        threads[-1].start()
        time.sleep(0.05)
    turned_away = slow.post(PREDICT, json={"query": [ROW]}, headers=bearer("read"))
    refused(turned_away, 429, "2 requests under way, as many as a client may")
    full = slow.post(PREDICT, json={"query": [ROW]}, headers=bearer("admin"))
    refused(full, 503, "3 requests are under way")
    assert (turned_away.headers["Retry-After"], full.headers["Retry-After"]) == ("1", "1")
    assert slow.get("/v2/health/live").status_code == 200
    assert len(slow.begun) == 1, "predictions wait for each other"
    for thread in threads:
        thread.join()
    for answer in answers:
        refused(answer, 503, "takes longer than 0.5 s")
    full = slow.post(PREDICT, json={"query": [ROW]}, headers=bearer("admin"))
    refused(full, 503, "")  # the threads are still at it, and so are the places
    slow.let_go.set()
    end = time.monotonic() + 10
    while (answer := slow.post(PREDICT, json={"query": [ROW]}, headers=bearer("admin"))).status_code != 200:
        assert time.monotonic() < end, answer.text
    assert len(slow.begun) == 2, "what had waited in vain wasn't computed"


def test_clients_that_dawdle(models, tmp_path):
    with inside(models, database=f"sqlite:///{tmp_path}/t.db", header_seconds=0.4, body_seconds=0.4) as web:
        address = (web.base_url.host, web.base_url.port)
        with socket.create_connection(address) as silent, socket.create_connection(address) as drip:
            drip.sendall(b"GET /v1/models HTTP/1.1\r\nHost: x\r\n")
            for connection in (silent, drip):
                connection.settimeout(10)
                assert connection.recv(100) == b"", "no answer, and the connection is closed"
        with socket.create_connection(address) as slow:
            slow.sendall(f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{{".encode())
            slow.settimeout(10)
            assert slow.recv(1000).startswith(b"HTTP/1.1 408")
        with socket.create_connection(address) as gone:
            gone.sendall(f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{{".encode())
        assert web.post(PREDICT, json={"query": [ROW]}).status_code == 200
        places = web.app.state.door.places
        end = time.monotonic() + 10
        while places.taken and time.monotonic() < end:
            time.sleep(0.01)
        assert places.taken == 0


def test_a_connection_that_waits_between_requests_is_not_hung_up_on(models, tmp_path):
    with (
        inside(models, database=f"sqlite:///{tmp_path}/t.db", header_seconds=0.2) as web,
        socket.create_connection((web.base_url.host, web.base_url.port)) as connection,
    ):
        for _ in range(2):
            connection.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n")
            connection.settimeout(10)
            assert connection.recv(2000).startswith(b"HTTP/1.1 200")
            time.sleep(0.4)


# The command.


def test_mistakes_on_the_command_line(models, tmp_path, monkeypatch):
    monkeypatch.setattr(server, "run", lambda *arguments: pytest.fail("this is served"))
    database = f"--database=sqlite:///{tmp_path}/t.db"
    (tmp_path / "rubbish.upstairs").write_bytes(b"PK\x03\x04" + os.urandom(500))
    (tmp_path / "stores.upstairs").write_bytes((models / "stores.upstairs").read_bytes())
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        for arguments, words in (
            (["nowhere"], "There is no model file or folder 'nowhere'"),
            ([tmp_path / "rubbish.upstairs"], "is damaged, or was not saved by upstairs"),
            ([models, tmp_path / "stores.upstairs"], "are both called 'stores'"),
            ([models, "--host=0.0.0.0"], "there are no tokens"),
            ([models, f"--tokens={tmp_path}/none"], "can't be read"),
            ([models, f"--port={taken.getsockname()[1]}"], "Choose others with --host and --port"),
            ([models, "--host=no.such.host.invalid", "--no-tokens"], "Choose others with --host and --port"),
        ):
            code, _, err = run("serve", *arguments, database)
            assert (code, err.count("\n")) == (2, 1), err
            assert words in err
    for url, words in (
        ("mysql://x/y", "neither"),
        ("no url", "can't be used"),
        (f"sqlite:///{tmp_path}/no/t.db", "can't be opened"),
    ):
        code, _, err = run("serve", models, f"--database={url}")
        assert code == 2
        assert words in err
