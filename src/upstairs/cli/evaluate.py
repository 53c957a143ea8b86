"""upstairs evaluate: how well on tasks that were held out? In Python: `upstairs.evaluate`."""

import warnings
from pathlib import PurePath
from typing import Annotated, Any

import pyarrow as pa
import typer

import upstairs
from upstairs.cli import options
from upstairs.cli.rows import Drop, Rows, check_order, read_rows
from upstairs.cli.screen import bold, escape, note, print_json, progress, say, show_errors
from upstairs.dialects import Csv
from upstairs.errors import UpstairsError, UpstairsWarning
from upstairs.files import likely_names
from upstairs.learners import check_learner, learner_class
from upstairs.store import is_store

__all__ = ["EXAMPLES", "command"]

EXAMPLES = """Example: upstairs evaluate rows.parquet --task store --target sales

Example: upstairs evaluate rows.csv --task store --target sales --order date --shots 0,5,50 --learner forest --learner svm

Example: upstairs evaluate rows.tasks"""

FOLDS = 5
N_BASELINES = 5


def evaluate(
    file: options.Rows,
    task: options.Task = None,
    target: options.Target = None,
    learner: Annotated[
        list[str] | None,
        typer.Option(
            "--learner",
            help=f"One of {options.learner_names()}; may be repeated.",
            show_default="forest",
            autocompletion=options.complete_learner,
        ),
    ] = None,
    shots: options.Shots = None,
    order: options.Order = None,
    folds: Annotated[
        int | None,
        typer.Option("--folds", min=2, help="Into how many parts to cut the tasks, each unseen once.", show_default=str(FOLDS)),
    ] = None,
    baselines: Annotated[bool, typer.Option("--baselines/--no-baselines", help="Compare with simple learners.")] = True,
    jobs: Annotated[int, typer.Option("--jobs", help="Processes that share the work; -1 for all cores.")] = 1,
    classify: options.Classify = None,
    drop: Drop = Drop(),  # noqa: B008
    csv: Csv = Csv(),  # noqa: B008
    ignore: options.Ignore = None,
    memory: options.Memory = "2GB",
    seed: options.Seed = 0,
    json: options.Json = False,
) -> None:
    """Learn from most of the tasks in FILE, or in a store that `upstairs pack` made, and meet the others, each once; show the
    error by rows seen, beside baselines.
    """
    numbers = options.parse_shots(shots)
    learners = list(dict.fromkeys(learner or ["forest"]))
    for name in learners:
        check_learner(name)
    with progress() as begin:
        begin(f"Reading {file.name}")
        rows, moments = _read(file, task, target, order, ignore or [], drop, classify, csv, memory)
    if not json:
        note(f"predicting {'classes' if rows.classify else 'numbers'}: {rows.reason}.")
    n_folds = _folds(folds, rows.n_tasks)
    metas = {name: learner_class(name, rows.classify)(random_state=seed) for name in learners}
    how: dict[str, Any] = {"order": moments, "cv": n_folds, "baselines": baselines, "n_jobs": jobs, "random_state": seed}
    if numbers is not None:
        how["shots"] = numbers
    with progress(n_folds * (len(metas) + N_BASELINES * baselines)) as begin, warnings.catch_warnings():
        warnings.simplefilter("ignore", UpstairsWarning)  # they are among the findings
        groups = None if rows.groups is None else pa.table({rows.task: rows.groups})
        result = upstairs.evaluate(metas, rows.X, rows.y, groups, progress=begin, **how)
    if json:
        print_json({"target": rows.target, "task": rows.task, "rows_dropped": rows.n_dropped, **result.to_dict()})
    else:
        _tell(result, rows)


command = evaluate


def _tell(result: Any, rows: Rows) -> None:
    title = (
        f"{result.metric.capitalize()} of {bold(rows.target)} on {len(result.task_names):,} tasks ({bold(rows.task)}), each "
        f"unseen in one of {result.n_folds} folds"
    )
    show_errors(title, list(result.shots), result.errors(), result.errors("error_se"))
    say("Lower is better, best in bold; ± is the standard error over tasks. At most half of a task's rows are shown.\n")
    for sentence in result.sentences():
        say(escape(sentence))
    for warning in result.warnings:
        note(warning)


def _read(
    file: PurePath,
    task: str | None,
    target: str | None,
    order: str | None,
    ignore: list[str],
    drop: Drop,
    classify: bool | None,
    csv: Csv,
    memory: str,
) -> tuple[Rows, str | pa.Table | None]:
    """The rows, and the order of each task's: a column among them, or one beside them that is otherwise ignored."""
    others = ignore if is_store(file) else [name for name in ignore if name != order]
    rows = read_rows(file, task, target, others, drop, classify, csv, memory)
    if order is None:
        return rows, None
    check_order(order, rows.task, rows.target)
    if order not in rows.columns:
        raise UpstairsError(f"{file} has no column {order!r}. {likely_names(order, rows.columns)}")
    if order not in ignore:
        return rows, order
    if len(rows.columns) == 1:
        raise UpstairsError(f"{file} has no columns left to predict {rows.target!r} from.")
    return rows._replace(X=rows.X.drop_columns([order])), rows.X.select([order])


def _folds(folds: int | None, n_tasks: int) -> int:
    """As many as asked for, or five of five tasks and more."""
    if folds is not None and folds > n_tasks > 2:
        raise UpstairsError(f"--folds asks for {folds} folds of {n_tasks} tasks; give at most --folds {n_tasks}.")
    return folds or min(FOLDS, max(2, n_tasks))
