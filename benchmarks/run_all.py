"""All questions at once: the quick form of every benchmark, and their tables in benchmarks/README.md (`make bench`).

    python benchmarks/run_all.py                     what has been answered for this commit on this machine isn't asked again
    python benchmarks/run_all.py --again             it is
    python benchmarks/run_all.py --only speed.py     one of them
    python benchmarks/run_all.py --show              only the tables

One core each, one after the other, under twenty minutes on two cores. Quick forms say whether something is badly wrong, not how
good it is: one seed, few panels. The tables in README.md further up are of the whole questions. Answers are kept in
results/quick/, one file each, so that a run which was stopped goes on where it was.
"""

import argparse
import ast
import datetime
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tables import FOLDER, TOLD

HERE = Path(__file__).parent
README, KEPT = HERE / "README.md", FOLDER / "quick"
BEGIN, END = "<!-- make bench -->", "<!-- end of make bench -->"
LONGEST = 600
"""Seconds after which a benchmark is stopped."""

ASKED: dict[str, list[str]] = {
    "battery.py": [],
    "best_learner.py": ["jax"],
    "more_panels.py": [],
    "known_tasks.py": [],
    "time_order.py": [],
    "tasks_learned_from.py": [],
    "many_columns.py": [],
    "label_noise.py": [],
    "heavy_tails.py": [],
    "grouped_forest.py": [],
    "linear_tasks.py": [],
    "few_tasks.py": [],
    "sinusoids.py": ["jax"],
    "families.py": ["jax"],
    "novelty.py": [],
    "suggest_rows.py": [],
    "speed.py": [],
    "machines.py": [],
    "packing.py": ["duckdb", "psutil"],
    "bulk.py": ["duckdb", "psutil"],
    "scheduler.py": [],
    "serve.py": ["starlette", "msgspec", "wrk"],
    "meta_steps.py": ["jax", "torch", "higher", "torchopt"],
}
"""The files that answer a question, in the order of README.md, and what each needs beside the packages of `make bench`."""
SHARED = ("learners.py", "panels.py", "peers.py", "plot.py", "report.py", "run_all.py", "sweep.py", "tables.py")
"""The files that answer none."""
PROGRAMS = ("wrk",)
VERSIONS = ("numpy", "scikit-learn", "lightgbm", "numba")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(ASKED), default=list(ASKED), metavar="FILE")
    parser.add_argument("--again", action="store_true", help="also what has been answered for this commit on this machine")
    parser.add_argument("--show", action="store_true", help="ask nothing, only write the tables")
    args = parser.parse_args()
    here = where()
    print("\n".join(here.values()), flush=True)
    left_out = {name: f"needs {', '.join(missing)}" for name, needs in ASKED.items() if (missing := absent(needs))}
    failed = []
    for name in () if args.show else args.only:
        kept = _read(name)
        if name in left_out:
            print(f"{name:<22}left out: {left_out[name]}")
        elif kept and not args.again and all(kept[key] == here[key] for key in here):
            print(f"{name:<22}answered before")
        elif not _ask(name, here):
            failed.append(name)
    README.write_text(with_tables(README.read_text(), {name: kept for name in ASKED if (kept := _read(name))}, left_out))
    if failed:
        raise SystemExit(f"Failed: {', '.join(failed)}; {KEPT} has what they said.")


def where() -> dict[str, str]:
    """The machine, the versions and the commit, each in a line."""
    cpu = re.search(r"model name\s*:\s*(.+)", _text("/proc/cpuinfo"))
    memory = re.search(r"MemTotal:\s*(\d+)", _text("/proc/meminfo"))
    gigabytes = f", {int(memory.group(1)) / 1024**2:.0f} GB" if memory else ""
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in VERSIONS)
    return {
        "machine": f"{os.cpu_count()} cores of {cpu.group(1) if cpu else platform.machine()}{gigabytes}, {platform.system()}",
        "versions": f"Python {platform.python_version()}, {versions}",
        "commit": _commit(),
    }


def with_tables(text: str, answers: dict[str, dict], left_out: dict[str, str]) -> str:
    """README.md with these answers between its markers."""
    head, _, rest = text.partition(BEGIN)
    tail = rest.partition(END)[2]
    runs = sorted({(answer["commit"], answer["machine"], answer["versions"], answer["date"]) for answer in answers.values()})
    lines = [f"{date}: commit {commit}; {machine}; {versions}." for commit, machine, versions, date in runs]
    if left_out:
        lines.append("Left out: " + "; ".join(f"`{name}` ({why})" for name, why in left_out.items()) + ".")
    parts = ["\n\n".join(lines)]
    for name, answer in answers.items():
        load = f", load {answer['load']:.1f}" if answer["load"] is not None else ""
        summary = f"<summary><code>{name}</code>: {question(name)} ({answer['seconds']:.0f} s{load})</summary>"
        parts.append(f"<details>{summary}\n\n{answer['told'].strip()}\n\n</details>")
    return head + BEGIN + "\n\n" + "\n\n".join(parts) + "\n\n" + END + tail


def question(name: str) -> str:
    """What a file asks: its docstring up to the first question mark, or its first line."""
    told = ast.get_docstring(ast.parse((HERE / name).read_text())).splitlines()[0]
    return told[: told.find("?") + 1] or told


def absent(needs: list[str]) -> list[str]:
    """The packages and programs among these that aren't installed."""
    return [one for one in needs if not (shutil.which(one) if one in PROGRAMS else importlib.util.find_spec(one))]


def _ask(name: str, here: dict[str, str]) -> bool:
    """Run the quick form, and keep what it tells; what it prints is kept beside it."""
    KEPT.mkdir(parents=True, exist_ok=True)
    print(f"{name:<22}", end="", flush=True)
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, open(KEPT / f"{Path(name).stem}.log", "w") as log:
        told = Path(folder, "told.md")
        told.touch()
        settings = os.environ | {TOLD: str(told), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, str(HERE / name), "--quick"]
        try:
            code = subprocess.run(command, env=settings, stdout=log, stderr=log, timeout=LONGEST).returncode
        except subprocess.TimeoutExpired:
            code = -1
        seconds = time.perf_counter() - begun
        print(f"{seconds:5.0f} s" if code == 0 else f"failed after {seconds:.0f} s", flush=True)
        if code == 0:
            load = round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None
            day = datetime.date.today().isoformat()
            answer = here | {"date": day, "seconds": round(seconds), "load": load, "told": told.read_text()}
            _path(name).write_text(json.dumps(answer, indent=1, ensure_ascii=False) + "\n")
    return code == 0


def _read(name: str) -> dict | None:
    return json.loads(_path(name).read_text()) if _path(name).exists() else None


def _path(name: str) -> Path:
    return KEPT / f"{Path(name).stem}.json"


def _commit() -> str:
    """The commit, and a mark of what was changed in the code since."""
    try:
        commit = _git("rev-parse", "--short", "HEAD").strip()
        changed = _git("diff", "HEAD", "--", "src", "*.py")
    except (OSError, subprocess.CalledProcessError):
        return f"unknown, version {importlib.metadata.version('upstairs')}"
    return f"{commit} and changes {hashlib.sha256(changed.encode()).hexdigest()[:6]}" if changed else commit


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=HERE.parent, capture_output=True, text=True, check=True).stdout


def _text(path: str) -> str:
    return Path(path).read_text() if Path(path).exists() else ""


if __name__ == "__main__":
    main()
