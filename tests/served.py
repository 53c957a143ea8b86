"""Servers for tests: one inside the test's process, one as a process of its own that can be killed, and a real PostgreSQL."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest
import uvicorn

import upstairs
from shop import sales
from upstairs.learners import learner_class
from upstairs.serve.app import create
from upstairs.serve.connections import Http
from upstairs.serve.memory import migrate
from upstairs.serve.server import listen
from upstairs.serve.settings import VARIABLE, Limits, Settings

__all__ = ["TOKENS", "Server", "answering", "bearer", "fit_models", "inside", "refused"]

TOKENS = {"read": "r" * 20, "write": "w" * 20, "admin": "a" * 20}


def fit_models(folder: Path) -> Path:
    """A folder with a model of numbers, `stores`, and one of three classes, `sizes`."""
    table = sales()
    X, store = table.select(["price", "kind"]), table["store"]
    meta = learner_class("hierarchical-ridge", False)(random_state=0).fit(X, table["sales"], groups=store)
    upstairs.save(meta, folder / "stores.upstairs", task_name="store", target_name="sales")
    labels = ["small" if y < 30 else "large" if y > 38 else "middle" for y in table["sales"].to_pylist()]
    meta = learner_class("pooled-shift", True)(random_state=0).fit(X, labels, groups=store)
    upstairs.save(meta, folder / "sizes.upstairs", task_name="store", target_name="size")
    return folder


@contextlib.contextmanager
def inside(
    *models: Path, database: str, tokens: bool = False, reload_seconds: float = 60.0, shared: str | None = None, **limits
):
    """A client of a server in a thread of this process; ``client.app`` is the application."""
    migrate(database)
    places = tuple(map(str, models))
    settings = Settings(models=places, database=database, reload_seconds=reload_seconds, shared=shared, limits=Limits(**limits))
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("UPSTAIRS_TOKENS", raising=False)
        if tokens:
            patch.setenv("UPSTAIRS_TOKENS", "\n".join(f"{scope}er {scope} {token}" for scope, token in TOKENS.items()))
        app, bound = create(settings), listen("127.0.0.1", 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, "")
        settings.to_environment()
        server = uvicorn.Server(uvicorn.Config(app, http=Http, ws="none", log_config=None))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
        thread.start()
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        try:
            answering(url, thread.is_alive, "/v2/health/live")
            with httpx.Client(base_url=url, timeout=60) as client:
                client.app = app
                yield client
        finally:
            server.should_exit = True
            thread.join(30)
            bound.close()


def bearer(scope: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {TOKENS[scope]}"}


class Server:
    """`upstairs serve` as a process of its own; the block of `with` begins when it is ready."""

    def __init__(self, *arguments, port: int = 0, log: Path, environment: dict | None = None, limits: str = ""):
        self.port, self.log = port or free_port(), log
        unused = "import sys; sys.modules['pandas'] = sys.modules['polars'] = None"  # they would take a second to load
        program = f"{unused}\n{limits}\nfrom upstairs.cli import main; main()"
        self.command = [sys.executable, "-c", program, "serve", *map(str, arguments), "--port", str(self.port)]
        self.environment = {**os.environ, **(environment or {})}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> "Server":
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log, env=self.environment, start_new_session=True)
        answering(self.url, lambda: self.process.poll() is None)
        return self

    def __exit__(self, *_) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(60)


def answering(url: str, alive=lambda: True, path: str = "/v2/health/ready", seconds: float = 60.0) -> httpx.Response:
    """Wait for a server to be ready."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and alive():
        with contextlib.suppress(httpx.TransportError):
            if (answer := httpx.get(url + path)).status_code == 200:
                return answer
        time.sleep(0.05)
    raise AssertionError(f"{url} didn't get ready")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def refused(answer, status, words):
    """A problem as RFC 9457 has it, with a sentence."""
    assert answer.headers["Content-Type"] == "application/problem+json"
    told = answer.json()
    assert (answer.status_code, told["status"]) == (status, status), told
    assert words in told["detail"]
    assert told["detail"][-1] in ".'"
    assert "\n" not in told["detail"]
