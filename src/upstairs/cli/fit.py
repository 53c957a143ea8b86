"""upstairs fit: rows of many tasks -> a saved meta-model. In Python: ``meta.fit(X, y, groups)`` and ``upstairs.save``."""

import time
from pathlib import Path, PurePath
from typing import Annotated, Any, NamedTuple

import typer

import upstairs
from upstairs.archive import check_writable
from upstairs.cli import options
from upstairs.cli.rows import read_rows
from upstairs.cli.screen import bold, escape, note, print_json, progress, say
from upstairs.errors import UpstairsError
from upstairs.learners import check_learner, learner_class
from upstairs.remote import place
from upstairs.store import is_store

__all__ = ["EXAMPLES", "command"]

EXAMPLES = """Example: upstairs fit rows.parquet --task store --target sales -o stores.upstairs

Example: upstairs fit rows.parquet --task store --target sales --learner auto --time-budget 120 -o stores.upstairs

Example: upstairs fit rows.tasks -o stores.upstairs

Example: upstairs fit s3://bucket/rows.parquet --task store --target sales -o stores.upstairs

Example: upstairs fit visits.csv --task clinic --target cured --classify --ignore patient_id -o clinics.upstairs"""


def fit(
    file: options.Rows,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="MODEL", help="Where to save the model.", show_default=False)
    ],
    task: options.TaskOrStore = None,
    target: options.TargetOrStore = None,
    learner: Annotated[str, typer.Option("--learner", help=f"One of {options.learner_names()}.")] = "forest",
    time_budget: Annotated[
        float | None,
        typer.Option("--time-budget", metavar="SECONDS", help="For auto: learners that aren't ready by then are left out."),
    ] = None,
    classify: options.Classify = None,
    drop_missing_target: options.DropMissingTarget = False,
    ignore: options.Ignore = None,
    memory: options.Memory = "2GB",
    known_tasks: Annotated[
        bool,
        typer.Option("--known-tasks/--no-known-tasks", help="Keep rows of each task in the model, so that it is known later."),
    ] = True,
    seed: options.Seed = 0,
    json: options.Json = False,
) -> None:
    """Learn across the tasks in FILE, or in a store that `upstairs pack` made, and save the meta-model."""
    if output.resolve() == place(file).resolve():
        raise UpstairsError(f"{output} is the input, and would be overwritten. Give the model another name.")
    check_writable(output)
    check_learner(learner)
    budget = _budget(learner, time_budget)
    start = time.perf_counter()
    with progress() as begin:
        if is_store(file):
            rows = _open_store(file, memory)
        else:
            begin(f"Reading {file.name}")
            rows = _read_table(file, task, target, ignore, drop_missing_target, classify, quiet=json)
        begin(f"Learning across {rows.told['tasks']:,} tasks ({rows.told['rows']:,} rows)")
        meta = learner_class(learner, rows.classify)(random_state=seed, **budget).fit(*rows.data)
        begin(f"Saving {output.name}")
        upstairs.save(meta, output, known_tasks=known_tasks, task_name=rows.told["task"], target_name=rows.told["target"])
    findings = {
        "model": str(output),
        "learner": learner,
        **rows.told,
        "seconds": round(time.perf_counter() - start, 2),
        "bytes": output.stat().st_size,
    }
    if learner == "auto":
        findings["chosen"] = meta.info_.sentences()
    if json:
        print_json(findings)
    else:
        _tell(findings)


command = fit


def _budget(learner: str, time_budget: float | None) -> dict[str, float]:
    if time_budget is None:
        return {}
    if learner != "auto":
        raise UpstairsError(f"--time-budget is for --learner auto, but the learner is {learner}. Leave it out, or choose auto.")
    return {"time_budget": time_budget}


class _Rows(NamedTuple):
    """What to learn from: the arguments of `fit`, whether they are classes, and what is told of them."""

    data: tuple
    classify: bool
    told: dict[str, Any]


def _read_table(
    file: PurePath, task: str | None, target: str | None, ignore: list[str] | None, drop_missing_target: bool,
    classify: bool | None, quiet: bool,
) -> _Rows:  # fmt: skip
    if task is None or target is None:
        raise UpstairsError("fit needs --task and --target, the columns of each row's task and of what is to be predicted.")
    rows = read_rows(file, task, target, ignore, drop_missing_target, classify)
    kind = "classes" if rows.classify else "numbers"
    if not quiet:
        other = "--regress" if rows.classify else "--classify"
        note(f"predicting {kind}: {rows.reason}" + ("." if classify is not None else f" ({other} to change)."))
    told = {
        "predicts": kind,
        "because": rows.reason,
        "task": task,
        "target": target,
        "columns": rows.X.column_names,
        "tasks": rows.n_tasks,
        "rows": rows.X.num_rows,
        "rows_dropped": rows.n_dropped,
    }
    return _Rows((rows.X, rows.y, rows.groups), rows.classify, told)


def _open_store(file: PurePath, memory: str) -> _Rows:
    store = upstairs.open_store(file, memory)
    told = {
        "predicts": "numbers" if store.classes is None else "classes",
        "because": "as it was packed",
        "task": store.task_name,
        "target": store.target_name,
        "columns": list(store.columns.names),
        "tasks": store.n_tasks,
        "rows": store.n_rows,
        "rows_dropped": 0,
    }
    return _Rows((store,), store.classes is not None, told)


def _tell(findings: dict) -> None:
    dropped = f", {findings['rows_dropped']:,} without a target left out" if findings["rows_dropped"] else ""
    say(
        f"Learned {bold(findings['target'])} across {findings['tasks']:,} tasks ({findings['rows']:,} rows{dropped}; "
        f"{len(findings['columns'])} columns) in {findings['seconds']:.1f} s."
    )
    for sentence in findings.get("chosen", []):
        say(f"  {escape(sentence)}")
    say(f"Saved {bold(findings['model'])} ({findings['bytes'] / 2**20:.1f} MB). Next:")
    say(f"  upstairs predict {escape(findings['model'])} NEW_ROWS.csv -o predictions.csv")
