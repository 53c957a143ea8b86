"""The Python of each page in docs/ runs as it stands, from top to bottom, and links lead somewhere."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
BLOCKS = {path.name: re.findall(r"```python\n(.*?)```", path.read_text(), re.DOTALL) for path in sorted(DOCS.glob("*.md"))}


@pytest.mark.parametrize("page", [page for page, blocks in BLOCKS.items() if blocks])
def test_python_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "page"}
    for block in BLOCKS[page]:
        exec(compile(block, page, "exec"), names)


def test_there_is_python():
    assert BLOCKS["own-network.md"]


@pytest.mark.parametrize("page", [*sorted(DOCS.glob("*.md")), DOCS.parent / "README.md"], ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target
