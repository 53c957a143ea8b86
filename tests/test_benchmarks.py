"""The benchmarks can be run again: peers keep the contract, every file says how to call it, and `make bench` asks them all."""

import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import battery
import panels
import peers
import run_all
import tables
from learners import can_learn, make_named

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
README = (BENCHMARKS / "README.md").read_text()
FILES = sorted(path.name for path in BENCHMARKS.glob("*.py"))
NEED_NO_MORE = ["lmm", "lgbm-taskid", "task-lgbm", "task-gp"]
"""Peers that need no package beyond the tests' own."""


def small_panel(kind: str) -> panels.Panel:
    """Ten tasks of 24 rows with levels and a slope of their own."""
    rng = np.random.default_rng(0)
    task = np.repeat(np.arange(10), 24)
    X = pd.DataFrame({"a": rng.normal(size=240), "b": rng.normal(size=240), "c": pd.Categorical(rng.choice(["x", "y"], 240))})
    y = 2 * rng.normal(size=10)[task] + X["a"] * (1 + 0.5 * rng.normal(size=10)[task]) + 0.3 * rng.normal(size=240)
    y = y.to_numpy()
    return panels.Panel("small", X, y if kind == "regression" else (y > 0).astype(int), task, kind)


@pytest.mark.parametrize("kind", ["regression", "classification"])
@pytest.mark.parametrize("name", NEED_NO_MORE)
def test_a_peer_keeps_the_contract_and_learns(name, kind):
    if not can_learn(name, kind):
        assert kind not in peers.PEERS[name].kinds
        return
    panel = small_panel(kind)
    few, many = battery.score(lambda: make_named(name, kind, 0), panel, [0, 10], seed=0)
    error = "nmse" if kind == "regression" else "logloss"
    assert many[error] < 0.9 * few[error]  # ten rows of a task say what its level is
    assert (kind == "regression" and name in ("lmm", "task-gp")) == (many["coverage"] > 0.5)  # NaN where there are none


def test_one_task_is_many_of_which_there_is_one():
    panel = small_panel("regression")
    meta = make_named("lmm", "regression").fit(panel.X[:192], panel.y[:192], groups=panel.task[:192])
    alone = meta.adapt(panel.X[192:200], panel.y[192:200])
    among = meta.adapt_tasks(panel.X[192:200], panel.y[192:200], groups=panel.task[192:200])
    np.testing.assert_allclose(alone.predict(panel.X[200:216]), among.predict(panel.X[200:216], groups=panel.task[200:216]))
    np.testing.assert_allclose(meta.predict(panel.X[200:]), among.predict(panel.X[200:], groups=np.full(40, 99)), atol=0.3)
    assert meta.own_task == peers.UNKNOWN  # adapting leaves the peer as it was


def test_an_absent_package_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SystemExit, match="scikit-lego needs the package scikit-lego, which isn't installed"):
        make_named("scikit-lego", "regression")
    with pytest.raises(SystemExit, match="takes none from --set"):
        make_named("merf", "regression", rounds=3)


def test_large_tables_are_thinned_evenly():
    task = np.repeat(np.arange(4), [5, 50, 500, 500])
    sizes = np.bincount(task[panels.evenly(task, 300, 0)])
    assert sizes[0] == 5 and sizes[1] == 50 and sizes[2] == sizes[3] > 50 and sizes.sum() <= 300


@pytest.mark.parametrize("name", FILES)
def test_every_file_is_a_question_or_shared(name):
    assert (name in run_all.ASKED) != (name in run_all.SHARED)
    assert run_all.question(name)
    if name in run_all.ASKED:
        assert run_all.question(name).endswith("?")
        assert f"| `{name}` |" in README


def test_the_readme_lists_no_other_file():
    assert set(re.findall(r"^\| `(\w+\.py)` \|", README, re.MULTILINE)) == set(run_all.ASKED)
    assert all(f"`{name}`" in README for name in peers.PEERS)


@pytest.mark.filterwarnings("ignore:invalid escape sequence", 'ignore:"is" with a literal')  # of higher, where it is there
@pytest.mark.parametrize("name", [name for name in FILES if name not in run_all.SHARED or name == "run_all.py"])
def test_help(name, monkeypatch, capsys):
    if run_all.absent(run_all.ASKED.get(name, [])) and name == "meta_steps.py":
        pytest.xfail("torch is too large for the tests")
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(BENCHMARKS / name), run_name="__main__")
    assert stop.value.code == 0
    assert ("--quick" in capsys.readouterr().out) == (name in run_all.ASKED)


def test_tables_stand_between_their_markers():
    told = "Errors:\n\n| a |\n| --- |\n| 1.000 |"
    answer = {"machine": "2 cores", "versions": "Python 3", "commit": "abc", "date": "2026-11-27", "seconds": 61, "load": 1.5}
    before = f"# Head\n\n{run_all.BEGIN}\nold\n{run_all.END}\n\n## Tail\n"
    after = run_all.with_tables(before, {"speed.py": answer | {"told": told}}, {"serve.py": "needs wrk"})
    assert after.startswith("# Head\n\n") and after.endswith("\n\n## Tail\n") and "old" not in after
    assert all(part in after for part in (told, "61 s, load 1.5", "2026-11-27: commit abc; 2 cores", "`serve.py` (needs wrk)"))
    assert run_all.with_tables(after, {"speed.py": answer | {"told": told}}, {"serve.py": "needs wrk"}) == after
    assert README.count(run_all.BEGIN) == README.count(run_all.END) == 1


def test_markdown():
    table = pd.DataFrame({"n": [1, 2], "share": [0.5, np.nan]}, index=pd.Index(["a", "b"], name="who"))
    assert tables.markdown(table.reset_index(), 2) == tables.markdown(table, 2)
    assert tables.markdown(pd.DataFrame({"n": [1]}, index=pd.RangeIndex(5, 6, name="rows"))).endswith("| 5 | 1 |")
    assert tables.markdown(table, 2) == "| who | n | share |\n| --- | --- | --- |\n| a | 1 | 0.50 |\n| b | 2 |  |"
