"""upstairs report: a saved meta-model and rows -> a page that says how far to trust it. In Python: ``evaluation.to_html()``."""

import json as js
import warnings
from pathlib import Path, PurePath
from typing import Annotated, Any, NamedTuple

import numpy as np
import pyarrow as pa
import typer

import upstairs
from upstairs.archive import check_writable, whole_file
from upstairs.cli import options
from upstairs.cli.rows import Drop, check_order, given_of, open_rows, text_columns, with_task_and_target
from upstairs.cli.screen import bold, escape, note, print_json, progress, say
from upstairs.dialects import Csv
from upstairs.errors import UpstairsError, UpstairsWarning
from upstairs.files import check_columns, read_table, task_ids
from upstairs.store import is_store
from upstairs.wording import noun_of

__all__ = ["EXAMPLES", "command"]

EXAMPLES = """Example: upstairs report stores.upstairs rows.parquet -o report.html

Example: upstairs report stores.upstairs rows.csv --order date --folds 10 -o report.json

Example: upstairs report stores.upstairs rows.tasks"""

FOLDS, N_BASELINES = 5, 5
SUFFIXES = (".html", ".json")


class Asked(NamedTuple):
    """What is evaluated: the rows, their times if they have an order, and whether the model meets their tasks as it is."""

    X: pa.Table
    y: pa.Table
    groups: pa.Table
    order: pa.Table | None
    prefit: bool
    source: list[str]


def report(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A model that `upstairs fit` saved.", show_default=False)],
    file: options.Rows,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="OUT", help="Where to write: .html, or .json for the numbers.")
    ] = Path("report.html"),
    order: options.Order = None,
    folds: Annotated[
        int | None,
        typer.Option("--folds", min=2, help="Into how many parts to cut the tasks.", show_default=str(FOLDS)),
    ] = None,
    shots: options.Shots = None,
    task: options.TaskOfModel = None,
    target: options.TargetOfModel = None,
    more_tasks: Annotated[
        bool, typer.Option("--more-tasks", help="Also tell what more tasks would bring; this learns anew from fewer.")
    ] = False,
    baselines: Annotated[bool, typer.Option("--baselines/--no-baselines", help="Compare with simple learners.")] = True,
    jobs: Annotated[int, typer.Option("--jobs", help="Processes that share the work; -1 for all cores.")] = 1,
    drop: Drop = Drop(),  # noqa: B008
    csv: Csv = Csv(),  # noqa: B008
    memory: options.Memory = "2GB",
    seed: options.Seed = 0,
    json: options.Json = False,
) -> None:
    """Write one page, for anybody to read, that says how far MODEL can be trusted on a new task.

    FILE may be a store that `upstairs pack` made. If MODEL knows tasks of FILE, its like learns from most of the tasks in FILE
    and meets the others, each once; else MODEL itself meets the tasks in FILE. What drives it, and which tasks are odd, is told
    of MODEL.
    """
    if output.suffix.lower() not in SUFFIXES:
        raise UpstairsError(f"{output} must end in .html for the page, or in .json for its numbers.")
    check_writable(output)
    numbers = options.parse_shots(shots)
    with progress() as begin:
        begin(f"Reading {file.name}")
        meta = upstairs.load(model)
        if is_store(file):
            given = {"task": task, "target": target, **given_of(drop), **given_of(csv)}
            table, names, left_out = _open_store(file, given, memory, seed)
        else:
            table, names, left_out = _read_file(meta, file, task, target, drop, csv)
        asked = _check(meta, model, file, table, *names, order, left_out)
    if more_tasks and asked.prefit:
        raise UpstairsError("--more-tasks is for tasks that MODEL knows; it knows none of these, and learns nothing anew.")
    n_folds = _folds(folds, asked)
    findings = _find(meta, asked, n_folds, numbers, more_tasks, baselines and not asked.prefit, jobs, seed)
    with progress() as begin:
        begin(f"Writing {output.name}")
        _write(findings, output)
    if json:
        print_json({"output": str(output), **findings})
        return
    for sentence in findings["summary"]:
        say(escape(sentence))
    for warning in findings["warnings"]:
        note(warning)
    say(f"\nWrote {bold(output)}.")


command = report


def _find(
    meta: Any, asked: Asked, n_folds: int, shots: list[int] | None, more_tasks: bool, baselines: bool, jobs: int, seed: int
) -> dict[str, Any]:
    """Evaluate, then look at the model."""
    from sklearn.base import clone  # --help needn't wait for it

    from upstairs.report.findings import N_STEPS, find

    how: dict[str, Any] = {"cv": "prefit" if asked.prefit else n_folds, "order": asked.order, "baselines": baselines}
    if shots is not None:
        how["shots"] = shots
    one = meta if asked.prefit or meta.random_state is not None else clone(meta).set_params(random_state=seed)
    n_rounds = 1 if asked.prefit else n_folds * (1 + N_BASELINES * baselines)
    with progress(n_rounds + more_tasks + N_STEPS) as begin, warnings.catch_warnings():
        warnings.simplefilter("ignore", UpstairsWarning)  # they are among the findings
        evaluation = upstairs.evaluate(
            one, asked.X, asked.y, asked.groups, n_jobs=jobs, random_state=seed, return_estimator=True, progress=begin, **how
        )
        if more_tasks:
            begin(f"Learning from fewer {evaluation.task_nouns}")
            evaluation.task_curve()
        along = None if asked.order is None else asked.order.column_names[0]
        return find(evaluation, meta, asked.X, source=asked.source, along=along, progress=begin)


def _read_file(
    meta: Any, file: PurePath, task: str | None, target: str | None, drop: Drop, csv: Csv
) -> tuple[pa.Table, tuple[str, str], list[str]]:
    """All columns, the names of task and target, and nothing left out."""
    names = []
    for what, given in (("task", task), ("target", target)):
        name = given or getattr(meta.names_, what)
        if name is None:
            raise UpstairsError(f"This model doesn't know the name of its {what} column: give it with --{what}.")
        names.append(name)
    task, target = names
    table = read_table(file, [*text_columns(meta, task), *([target] if _text_classes(meta) else [])], csv)
    check_columns(table, [task, target], file)
    return with_task_and_target(table, task, target, file, drop), (task, target), []


def _open_store(file: PurePath, given: dict[str, Any], memory: str, seed: int) -> tuple[pa.Table, tuple[str, str], list[str]]:
    """All columns of as many rows as memory takes, the names of task and target, and what is said of rows left out."""
    from upstairs.evaluation.stored import read_store  # --help needn't wait for it

    store = open_rows(file, memory, given)
    table, left_out = read_store(store, seed)
    return table, (store.task_name, store.target_name), left_out


def _check(
    meta: Any, model: Path, file: PurePath, table: pa.Table, task: str, target: str, order: str | None, left_out: list[str]
) -> Asked:
    check_order(order, task, target)
    check_columns(table, [*meta.columns_.names, *([] if order is None else [order])], file)
    groups = task_ids(meta.known_.ids, table[task], task, file)
    known = np.isin(groups.astype(str), meta.known_.ids.astype(str))
    prefit = bool(len(meta.known_.ids)) and not known.any()
    source = _source(model, file, noun_of(task).many, groups, known, prefit, bool(len(meta.known_.ids)))
    return Asked(
        table.select(meta.columns_.names),
        table.select([target]),
        pa.table({task: groups}),
        None if order is None else table.select([order]),
        prefit,
        [*source, *left_out],
    )


def _source(
    model: Path, file: PurePath, many: str, groups: np.ndarray, known: np.ndarray, prefit: bool, keeps: bool
) -> list[str]:
    """What this report looked at, and why so."""
    n_tasks, n_known = len(np.unique(groups)), len(np.unique(groups[known]))
    if prefit:
        return [
            f"It is the model in {model.name}. {file.name} holds {len(groups):,} rows of {n_tasks:,} other {many}, of which it "
            "knows none: errors are those of this very model."
        ]
    share = f"all {n_tasks:,}" if n_known == n_tasks else f"{n_known:,} of the {n_tasks:,}"
    reason = f"which knows {share} {many} in {file.name}" if keeps else f"which doesn't say what {many} it knows"
    return [
        f"It is the model in {model.name}, {reason} ({len(groups):,} rows). So that {many} were unseen, models like it were "
        "learned anew without them: errors are those of its like."
    ]


def _text_classes(meta: Any) -> bool:
    return "classes_" in vars(meta) and meta.classes_.dtype.kind in "OU"


def _folds(folds: int | None, asked: Asked) -> int:
    """As many as asked for, or five of five tasks and more."""
    n_tasks = len(asked.groups.column(0).unique())
    if folds is not None and asked.prefit:
        raise UpstairsError("--folds is for tasks that MODEL knows; it knows none of these, and meets them as it is.")
    if folds is not None and folds > n_tasks > 2:
        raise UpstairsError(f"--folds asks for {folds} folds of {n_tasks} tasks; give at most --folds {n_tasks}.")
    return folds or min(FOLDS, max(2, n_tasks))


def _write(findings: dict[str, Any], output: Path) -> None:
    """The page or the numbers, whole or not at all."""
    if output.suffix.lower() == ".json":
        text = js.dumps(findings, ensure_ascii=False, allow_nan=False, indent=1)
    else:
        from upstairs.report.render import render

        text = render(findings)
    with whole_file(output) as out:
        out.write(text.encode("utf-8", "replace"))
