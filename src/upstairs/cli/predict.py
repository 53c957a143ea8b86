"""upstairs predict: a saved meta-model and rows -> the same rows with predictions. In Python: ``upstairs.load``,
``meta.adapt_tasks`` and ``predict``; for more rows than memory holds ``upstairs.predict_files``.
"""

from pathlib import Path, PurePath
from typing import Annotated, Any, NamedTuple

import numpy as np
import pyarrow as pa
import typer

import upstairs
from upstairs.cli import options
from upstairs.cli.rows import target_name, text_columns, with_task
from upstairs.cli.screen import bold, escape, note, print_json, progress, say
from upstairs.dialects import Csv
from upstairs.errors import UpstairsError
from upstairs.files import check_columns, check_output, read_table, task_ids, write_table
from upstairs.remote import place
from upstairs.store import is_store

__all__ = ["EXAMPLES", "command"]

EXAMPLES = """Example: upstairs predict stores.upstairs next_week.parquet -o predictions.parquet

Example: upstairs predict stores.upstairs new_store.csv --support first_days.csv --interval 0.8 -o predictions.csv

Example: upstairs predict stores.upstairs "2025/*.parquet" --support stores.tasks --jobs 4 -o predictions

Example: upstairs predict stores.upstairs "s3://bucket/2025/*.parquet" -o s3://bucket/predictions"""


FILE_HELP = ".csv or .parquet, or its URI; for a folder of OUT also a folder, pattern or store"
OUT_HELP = "Where to write: .csv, .parquet, or a folder for rows of any number; on this machine or by URI."
SUPPORT_HELP = "Rows of the same tasks whose target is known; for a folder of OUT a store."


NO_TASK = ""
"""What no task is called."""


class Query(NamedTuple):
    """Rows to predict: the columns seen in fit, and the task of each where there is one."""

    X: pa.Table
    groups: np.ndarray | None


def predict(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A model that `upstairs fit` saved.", show_default=False)],
    file: Annotated[
        options.path, typer.Argument(metavar="FILE", parser=place, help=f"Rows to predict: {FILE_HELP}.", show_default=False)
    ],
    output: Annotated[
        options.path, typer.Option("--output", "-o", metavar="OUT", parser=place, help=OUT_HELP, show_default=False)
    ],
    support: Annotated[
        options.path | None, typer.Option("--support", metavar="FILE", parser=place, help=SUPPORT_HELP, show_default=False)
    ] = None,
    task: options.TaskOfModel = None,
    interval: Annotated[float, typer.Option("--interval", help="Probability that the interval covers the truth.")] = 0.9,
    jobs: Annotated[int, typer.Option("--jobs", min=1, help="Processes that write a folder.")] = 1,
    engine: Annotated[str, typer.Option("--engine", help="Who writes a folder: local, dask, ray or spark.")] = "local",
    address: options.Address = None,
    csv: Csv = Csv(),  # noqa: B008
    json: options.Json = False,
) -> None:
    """Predict the rows in FILE and write them to OUT with the answers beside them.

    For numbers the new columns are prediction, lower and upper; for classes prediction and the probability of each. A task with
    rows in --support is adapted to those; a task that the fit knew uses what was learned of it; any other is predicted from
    its columns alone. A folder of OUT is written piece by piece: run again, the command adds what is missing.
    """
    if not 0 < interval < 1:
        raise UpstairsError(f"--interval must lie between 0 and 1, as 0.9 does, but is {interval}.")
    if output.suffix:
        findings = _predict_table(model, file, output, support, task, interval, csv)
        wrote = f"{findings['rows']:,} rows with {escape(', '.join(findings['columns']))}"
    else:
        where = {"n_jobs": jobs, "engine": engine, "address": address}
        findings = _predict_files(model, file, output, support, task, interval, where)
        before = findings["shards"] - findings["shards_done_now"]
        there = f", {before:,} of them there before" if before else ""
        wrote = f"{findings['rows']:,} rows in {findings['shards']:,} {'file' if findings['shards'] == 1 else 'files'}{there}"
    if json:
        print_json({"output": str(output), **findings})
        return
    told = "; ".join(f"{count:,} {source}" for source, count in findings["rows_by_source"].items() if count)
    say(f"Wrote {bold(output)}: {wrote}.")
    say(f"Rows predicted {told}.")


command = predict


def _predict_table(
    model: Path, file: PurePath, output: PurePath, support: PurePath | None, task: str | None, interval: float, csv: Csv
) -> dict[str, Any]:
    """One file read, predicted and written at once."""
    from upstairs.answer_columns import SOURCES, answer_columns  # loads scipy, which --help needn't wait for

    if is_store(file):
        raise UpstairsError(f"{file} is a store, and its rows are predicted into a folder: give -o a name without an ending.")
    check_output(output, file, support)
    with progress() as begin:
        begin(f"Loading {model.name}")
        meta = upstairs.load(model)
        begin(f"Predicting {file.name}")
        table = read_table(file, text_columns(meta, task), csv)
        query = _read_query(meta, table, task, file)
        adapted = None if support is None else _adapt(meta, query, task, support, csv)
        answers, counts = answer_columns(meta, adapted, query.X, query.groups, interval)
        if query.groups is not None and adapted is None and counts[SOURCES[2]] == table.num_rows:
            note(f"no task in {file} occurs in the fit; all rows are predicted from their columns alone.")
        if replaced := [name for name in answers.column_names if name in table.column_names]:
            note(f"{file} has the column {', '.join(replaced)} already; in {output} it holds the new answer.")
            table = table.drop_columns(replaced)
        for name in answers.column_names:
            table = table.append_column(name, answers[name])
        write_table(table, output)
    return {"rows": table.num_rows, "columns": answers.column_names, "rows_by_source": counts}


def _predict_files(
    model: Path, file: PurePath, output: PurePath, support: PurePath | None, task: str | None, interval: float, where: dict
) -> dict[str, Any]:
    """Rows of any number, piece by piece."""
    if support is not None and not is_store(support):
        raise UpstairsError(
            f"{support} is no task store, which writing a folder needs: upstairs pack {support} --like {model} "
            "--task COL --target COL -o STORE makes one."
        )
    with progress() as begin:
        begin(f"Predicting {file.name}")
        return upstairs.predict_files(model, str(file), output, support=support, task=task, interval=interval, **where)


def _read_query(meta: Any, table: pa.Table, task: str | None, path: PurePath) -> Query:
    check_columns(table, meta.columns_.names, path)
    if task is not None:
        check_columns(table, [task], path)
    name, X = task or meta.names_.task, table.select(meta.columns_.names)
    if name not in table.column_names:
        return Query(X, None)
    names = table[name]
    if n_missing := names.null_count if pa.types.is_string(names.type) else 0:
        note(f"{path} has no value of {name!r} in {n_missing:,} of its {len(table):,} rows; they are predicted as if unseen.")
        names = names.fill_null(pa.scalar(NO_TASK))
    return Query(X, task_ids(meta.known_.ids, names, name, path))


def _adapt(meta: Any, query: Query, task: str | None, path: PurePath, csv: Csv) -> Any:
    """The meta-model adapted to the support rows: to many tasks, or to one where neither file names tasks."""
    table = read_table(path, text_columns(meta, task), csv)
    target, name = target_name(meta), task or meta.names_.task
    check_columns(table, [*meta.columns_.names, target, *([] if query.groups is None else [name])], path)
    table = table if query.groups is None else with_task(table, name, path)
    X, y = table.select(meta.columns_.names), table[target]
    if query.groups is not None:
        return meta.adapt_tasks(X, y, groups=task_ids(meta.known_.ids, table[name], name, path))
    if name in table.column_names and len(table[name].unique()) > 1:
        raise UpstairsError(
            f"{path} holds rows of several tasks, but the rows to predict have no column {name!r} to tell whose they are."
        )
    return meta.adapt(X, y)
