"""The Python in README.md runs as it stands, and its commands exist."""

import re
from pathlib import Path

import pytest

from upstairs.cli import app

ROOT = Path(__file__).parents[1]
README, CHINESE = ((ROOT / name).read_text() for name in ("README.md", "README.zh-CN.md"))
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
COMMANDS = {command.callback.__name__ for command in app.registered_commands}


def test_there_is_python():
    assert BLOCKS


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.splitlines()[0][:40])
def test_python_runs(block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(compile(block, "README.md", "exec"), names)
    assert (tmp_path / "stores.upstairs").exists()
    error = names["model"].predict(names["later"][names["columns"]]) - names["later"]["sales"]
    assert (error**2).mean() ** 0.5 < 5  # the noise has a standard deviation of 2, the stores' levels one of 10


@pytest.mark.parametrize("page", ["README.md", "docs/first-hour.md"])
def test_commands_and_options_exist(page, capsys):
    calls = re.findall(r"^upstairs (\w+)(.*?)(?:#.*)?$", (ROOT / page).read_text(), re.MULTILINE)
    assert calls
    for command, rest in calls:
        assert command in COMMANDS
        with pytest.raises(SystemExit):
            app([command, "--help"])
        shown = capsys.readouterr().out
        assert all(option in shown for option in re.findall(r"--?[a-z][a-z-]*", rest.partition("#")[0]) if len(option) > 2)


def test_the_chinese_readme_says_as_much():
    def parts(text):
        code = [re.sub(r" *#.*", "", block) for block in re.findall(r"```\w+\n(.*?)```", text, re.DOTALL)]
        links = set(re.findall(r"\]\(([\w/.-]+)\)", text)) - {"README.md", "README.zh-CN.md"}
        return code, links, re.findall(r"\d\.\d+", text), text.count("\n## "), text.count("\n| ")

    assert parts(CHINESE) == parts(README)
