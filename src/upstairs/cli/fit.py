"""upstairs fit: rows of many tasks -> a saved meta-model. In Python: ``meta.fit(X, y, groups)`` and ``upstairs.save``."""

import time
from pathlib import Path, PurePath
from typing import Annotated, Any

import typer

import upstairs
from upstairs.archive import check_writable
from upstairs.cli import options
from upstairs.cli.parameters import make_learner
from upstairs.cli.rows import Drop, Rows, read_rows
from upstairs.cli.screen import bold, escape, note, print_json, progress, say
from upstairs.dialects import Csv
from upstairs.errors import UpstairsError
from upstairs.learners import check_learner
from upstairs.remote import place
from upstairs.store import Cluster, is_store

__all__ = ["EXAMPLES", "command"]

EXAMPLES = """Example: upstairs fit rows.parquet --task store --target sales -o stores.upstairs

Example: upstairs fit rows.parquet --task store --target sales --learner auto --time-budget 120 -o stores.upstairs

Example: upstairs fit rows.tasks --set ensemble=false -o stores.upstairs

Example: upstairs fit rows.tasks --learner svm --engine dask --address tcp://10.0.0.1:8786 -o stores.upstairs

Example: upstairs fit s3://bucket/rows.parquet --task store --target sales -o stores.upstairs

Example: upstairs fit visits.csv --task clinic --target cured --classify --ignore patient_id -o clinics.upstairs"""


def fit(
    file: options.Rows,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="MODEL", help="Where to save the model.", show_default=False)
    ],
    task: options.Task = None,
    target: options.Target = None,
    learner: Annotated[
        str,
        typer.Option("--learner", help=f"One of {options.learner_names()}.", autocompletion=options.complete_learner),
    ] = "forest",
    time_budget: Annotated[
        float | None,
        typer.Option("--time-budget", metavar="SECONDS", help="For auto: learners that aren't ready by then are left out."),
    ] = None,
    parameters: options.Parameters = None,
    classify: options.Classify = None,
    drop: Drop = Drop(),  # noqa: B008
    csv: Csv = Csv(),  # noqa: B008
    ignore: options.Ignore = None,
    memory: options.Memory = "2GB",
    engine: Annotated[
        str, typer.Option("--engine", help="For svm: who goes through the rows of a store, local, dask, ray or spark.")
    ] = "local",
    jobs: Annotated[int, typer.Option("--jobs", min=1, help="Workers of a cluster that is started here.")] = 1,
    address: options.Address = None,
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
    given = {"random_state": seed, **_budget(learner, time_budget)}
    make_learner(learner, bool(classify), parameters, **given)  # what is misspelt is said before a large file is read
    cluster = Cluster(engine, jobs, address)
    _check_cluster(cluster, learner, file)
    start = time.perf_counter()
    with progress() as begin:
        begin(f"Reading {file.name}")
        rows = read_rows(file, task, target, ignore, drop, classify, csv, memory, cluster)
        if not json and rows.groups is not None:
            other = "--regress" if rows.classify else "--classify"
            note(f"predicting {_kind(rows)}: {rows.reason}" + ("." if classify is not None else f" ({other} to change)."))
        begin(f"Learning across {rows.n_tasks:,} tasks ({rows.n_rows:,} rows)")
        meta = make_learner(learner, rows.classify, parameters, **given).fit(rows.X, rows.y, groups=rows.groups)
        begin(f"Saving {output.name}")
        upstairs.save(meta, output, known_tasks=known_tasks, task_name=rows.task, target_name=rows.target)
    findings = _findings(rows, meta, output, learner, time.perf_counter() - start)
    if json:
        print_json(findings)
    else:
        _tell(findings)


command = fit


def _findings(rows: Rows, meta: Any, output: Path, learner: str, seconds: float) -> dict[str, Any]:
    chosen = {"chosen": meta.info_.sentences()} if learner == "auto" else {}
    return {
        "model": str(output),
        "learner": learner,
        "predicts": _kind(rows),
        **_told_of(rows),
        **dict(zip(("learned_tasks", "learned_rows"), meta._learned, strict=True)),
        "seconds": round(seconds, 2),
        "bytes": output.stat().st_size,
        **chosen,
    }


def _kind(rows: Rows) -> str:
    return "classes" if rows.classify else "numbers"


def _check_cluster(cluster: Cluster, learner: str, file: PurePath) -> None:
    if cluster.engine != "local" and not (learner == "svm" and is_store(file)):
        raise UpstairsError(
            "--engine is for --learner svm on a store that `upstairs pack` made: no other fit goes through all rows. "
            f"Leave --engine {cluster.engine} out."
        )
    if cluster.engine == "local" and cluster != Cluster():
        given = "--jobs" if cluster.address is None else "--address"
        raise UpstairsError(f"{given} is of a cluster: give --engine dask, ray or spark as well, or leave {given} out.")


def _told_of(rows: Rows) -> dict[str, Any]:
    return {
        "because": rows.reason,
        "task": rows.task,
        "target": rows.target,
        "columns": rows.columns,
        "tasks": rows.n_tasks,
        "rows": rows.n_rows,
        "rows_dropped": rows.n_dropped,
    }


def _budget(learner: str, time_budget: float | None) -> dict[str, float]:
    if time_budget is None:
        return {}
    if learner != "auto":
        raise UpstairsError(f"--time-budget is for --learner auto, but the learner is {learner}. Leave it out, or choose auto.")
    return {"time_budget": time_budget}


def _tell(findings: dict) -> None:
    dropped = f", {findings['rows_dropped']:,} incomplete ones left out" if findings["rows_dropped"] else ""
    say(
        f"Learned {bold(findings['target'])} across {findings['tasks']:,} tasks ({findings['rows']:,} rows{dropped}; "
        f"{len(findings['columns'])} columns) in {findings['seconds']:.1f} s."
    )
    if findings["learned_rows"] < findings["rows"]:
        say(
            f"  Of these, {findings['learned_rows']:,} rows of {findings['learned_tasks']:,} tasks were learned from, drawn at "
            "random: more would take more than --memory."
        )
    for sentence in findings.get("chosen", []):
        say(f"  {escape(sentence)}")
    say(f"Saved {bold(findings['model'])} ({findings['bytes'] / 2**20:.1f} MB). Next:")
    say(f"  upstairs predict {escape(findings['model'])} NEW_ROWS.csv -o predictions.csv")
