"""What docs/serve.md offers to copy: the container and the unit start the server with options that it has, and without root."""

import json
import re
import shlex
from pathlib import Path

import pytest

from shop import run

DOCS = Path(__file__).parents[1] / "docs"


def commands():
    docker = (DOCS / "Dockerfile").read_text()
    entry, more = (
        json.loads(re.search(rf"^{word} (\[.*\])$", docker, re.MULTILINE).group(1)) for word in ("ENTRYPOINT", "CMD")
    )
    unit = re.search(r"^ExecStart=(.*)$", (DOCS / "upstairs.service").read_text(), re.MULTILINE).group(1)
    return [entry + more, shlex.split(unit)]


@pytest.mark.parametrize("command", commands(), ids=["Dockerfile", "upstairs.service"])
def test_the_server_is_started_with_options_that_it_has(command):
    program, name, *arguments = command
    assert (Path(program).name, name) == ("upstairs", "serve")
    code, _, err = run("serve", "nowhere", *arguments[1:])
    assert code == 2
    assert "There is no model file or folder 'nowhere'" in err


def test_the_container_and_the_unit_run_without_root():
    docker = (DOCS / "Dockerfile").read_text()
    assert re.findall(r"^USER (\d+)$", docker, re.MULTILINE)[-1] != "0"
    assert docker.rindex("USER") > docker.rindex("RUN")
    assert "DynamicUser=yes" in (DOCS / "upstairs.service").read_text()
