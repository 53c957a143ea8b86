"""Run the server: check what was asked for, prepare the database, and let uvicorn look after workers and signals.

Before anything listens, everything that can be wrong is found: models, tokens, database, port. On SIGTERM or Ctrl-C no more
connections are taken, what was begun is finished, and the process ends.
"""

import contextlib
import ipaddress
import os
import socket
import tempfile
from typing import Any

import msgspec
import uvicorn
from uvicorn.supervisors import Multiprocess

from upstairs.errors import UpstairsError
from upstairs.serve import metrics
from upstairs.serve.connections import Http
from upstairs.serve.logs import log, route_to_stderr
from upstairs.serve.memory import migrate
from upstairs.serve.models import check_places
from upstairs.serve.settings import Settings
from upstairs.serve.tokens import Tokens

__all__ = ["check", "is_loopback", "listen", "run"]

GRACE_SECONDS = 30
"""That a worker may take to finish what it began."""


def check(settings: Settings, host: str, open_to_all: bool) -> None:
    """An UpstairsError for whatever would keep the server from answering, or from being safe."""
    check_places(settings.models)
    if not Tokens.find(settings.tokens) and not is_loopback(host) and not open_to_all:
        raise UpstairsError(
            f"{host} can be reached from other machines, and there are no tokens. Give --tokens FILE, or --no-tokens where "
            "something before the server checks who asks."
        )
    migrate(settings.database)


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens, or an UpstairsError that says why there is none."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        with contextlib.ExitStack() as stack:
            bound = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind((host, port))
            bound.listen(1024)
            bound.set_inheritable(True)
            stack.pop_all()  # it stays open
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UpstairsError(f"{host}, port {port}: {reason}. Choose others with --host and --port.") from None
    return bound


def run(settings: Settings, bound: socket.socket, workers: int) -> None:
    """Serve until a signal says stop."""
    route_to_stderr()
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(variable, "1")  # requests are what runs side by side, not the sums in one of them
    options: dict[str, Any] = {
        "factory": True,
        "workers": workers,
        "http": Http,
        "ws": "none",
        "log_config": None,
        "access_log": False,
        "server_header": False,
        "timeout_graceful_shutdown": GRACE_SECONDS,
        "timeout_keep_alive": 60,
    }
    config = uvicorn.Config("upstairs.serve.app:from_environment", **options)
    log("serving", address=_address(bound), workers=workers)
    if workers == 1:
        settings.to_environment()
        uvicorn.Server(config).run(sockets=[bound])
        return
    with tempfile.TemporaryDirectory(prefix="upstairs-workers-") as folder:
        for part in (counted := os.path.join(folder, "metrics"), mapped := os.path.join(folder, "models")):
            os.mkdir(part)
        os.environ[metrics.FOLDER] = counted
        msgspec.structs.replace(settings, shared=mapped).to_environment()
        Multiprocess(config, sockets=[bound]).run()


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the host."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _address(bound: socket.socket) -> str:
    host, port = bound.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
