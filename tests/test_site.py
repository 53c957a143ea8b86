"""The documentation site: every page is reached, every public name is in the reference, examples are short, titled and run."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import upstairs

ROOT = Path(__file__).parents[1]
DOCS, EXAMPLES = ROOT / "docs", sorted((ROOT / "examples").glob("*.py"))
CHEAPEST = {"plot_gradient_descent_mended"}
SHORTEST, LONGEST = 60, 130

RUN = """import runpy, sys, warnings
import matplotlib
matplotlib.use("Agg")
import matplotlib.pyplot as plt
warnings.simplefilter("error")
runpy.run_path(sys.argv[1], run_name="__main__")
assert plt.get_fignums() and all(figure.axes for figure in map(plt.figure, plt.get_fignums()))
"""


def toctrees(page):
    """The pages that a page lists, as paths without ending."""
    blocks = re.findall(r"```\{toctree\}\n(.*?)```", page.read_text(), re.DOTALL)
    names = [line for block in blocks for line in block.splitlines() if line and not line.startswith(":")]
    return [(page.parent / name).resolve() for name in names]


def test_every_page_is_reached_from_the_index():
    reached, todo = set(), [DOCS / "index"]
    while todo:
        page = todo.pop()
        if page not in reached and page != DOCS / "gallery" / "index":
            reached.add(page)
            todo += toctrees(page.with_name(page.name + ".md"))
    assert {page.with_suffix("") for page in DOCS.glob("*.md")} <= reached
    assert {ROOT / "CHANGELOG", ROOT / "CONTRIBUTING", ROOT / "benchmarks" / "README"} <= reached


def test_every_public_name_is_in_the_reference():
    reference = set(re.findall(r"[\w.]+", (DOCS / "api.md").read_text()))
    named = {f"upstairs.{name}" for name in upstairs.__all__ if name not in ("displays", "__version__")}
    assert named <= reference
    assert {f"upstairs.displays.{name}" for name in upstairs.displays.__all__} <= reference
    assert {"upstairs.displays", "upstairs.__version__"} <= reference


def test_there_are_nine_examples_at_least():
    assert len(EXAMPLES) >= 9


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_are_stories_with_pictures(path):
    assert path.name.startswith("plot_")  # which is how the gallery knows what to run
    text = path.read_text()
    _, title, line, empty, first = text.splitlines()[:5]
    assert text.startswith('"""\n') and line == "=" * len(title) and not empty and first
    assert SHORTEST <= text.count("\n") <= LONGEST
    assert len(re.findall(r"^# %%\n# \S", text, re.MULTILINE)) >= 3  # words before code
    assert re.search(r"\.plot\(|plt\.", text)


@pytest.mark.parametrize(
    "path",
    [path if path.stem in CHEAPEST else pytest.param(path, marks=pytest.mark.exhaustive) for path in EXAMPLES],
    ids=lambda path: path.stem,
)
def test_examples_run(path):
    run = subprocess.run(
        [sys.executable, "-c", RUN, str(path)], capture_output=True, text=True, env=os.environ | {"COLUMNS": "80"}
    )
    assert run.returncode == 0, run.stderr


def test_the_picture_of_the_house_is_that_of_the_code():
    drawn = runpy.run_path(str(DOCS / "draw_architecture.py"))
    assert drawn["PICTURE"].read_text() == drawn["draw"](), "run python docs/draw_architecture.py"
    rooms = {room.name for storey in drawn["read_storeys"]() for room in storey}
    there = {path.stem for path in drawn["SOURCE"].iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert rooms == there - {"__init__"}


def test_a_link_that_leads_nowhere_is_found(tmp_path):
    broken_links = runpy.run_path(str(DOCS / "check_links.py"))["broken_links"]
    (tmp_path / "a.html").write_text(
        '<p id="here"><a href="#here"><a href="b.html#there"><a href="b.html"><a href="https://c.d/e">'
    )
    (tmp_path / "b.html").write_text('<img src="none.png"><a href="a.html#here"><a href="#nowhere">')
    assert broken_links(tmp_path) == ["a.html: b.html#there", "b.html: none.png", "b.html: #nowhere"]
