"""upstairs predict: a saved meta-model and rows -> the same rows with predictions. In Python: ``upstairs.load``,
``meta.adapt_tasks`` and ``predict``.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import pyarrow as pa
import typer

import upstairs
from upstairs.cli import options
from upstairs.cli.rows import target_name, task_ids, text_columns
from upstairs.cli.screen import bold, escape, note, print_json, progress, say
from upstairs.errors import UpstairsError
from upstairs.files import check_columns, check_output, read_table, write_table

__all__ = ["EXAMPLES", "command"]

EXAMPLES = """Example: upstairs predict stores.upstairs next_week.parquet -o predictions.parquet

Example: upstairs predict stores.upstairs new_store.csv --support first_days.csv --interval 0.8 -o predictions.csv"""


class Query(NamedTuple):
    """Rows to predict: the columns seen in fit, and the task of each where there is one."""

    X: pa.Table
    groups: np.ndarray | None


def predict(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A model that `upstairs fit` saved.", show_default=False)],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Rows to predict: .csv or .parquet.", show_default=False)],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="OUT", help="Where to write: .csv or .parquet.", show_default=False)
    ],
    support: Annotated[
        Path | None,
        typer.Option("--support", metavar="FILE", help="Rows of the same tasks whose target is known.", show_default=False),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option("--task", metavar="COL", help="Column of the task, if not the one of the fit.", show_default=False),
    ] = None,
    interval: Annotated[float, typer.Option("--interval", help="Probability that the interval covers the truth.")] = 0.9,
    json: options.Json = False,
) -> None:
    """Predict the rows in FILE and write them to OUT with the answers beside them.

    For numbers the new columns are prediction, lower and upper; for classes prediction and the probability of each. A task with
    rows in --support is adapted to those; a task that the fit knew uses what was learned of it; any other is predicted from
    its columns alone.
    """
    check_output(output, file, support)
    if not 0 < interval < 1:
        raise UpstairsError(f"--interval must lie between 0 and 1, as 0.9 does, but is {interval}.")
    with progress() as begin:
        begin(f"Loading {model.name}")
        meta = upstairs.load(model)
        begin(f"Predicting {file.name}")
        table = read_table(file, text_columns(meta, task))
        query = _read_query(meta, table, task, file)
        adapted = None if support is None else _adapt(meta, query, task, support)
        answers, counts = _answer(meta, adapted, query, interval)
        if query.groups is not None and adapted is None and counts["by their columns alone"] == table.num_rows:
            note(f"no task in {file} occurs in the fit; all rows are predicted from their columns alone.")
        if replaced := [name for name in answers.column_names if name in table.column_names]:
            note(f"{file} has the column {', '.join(replaced)} already; in {output} it holds the new answer.")
            table = table.drop_columns(replaced)
        for name in answers.column_names:
            table = table.append_column(name, answers[name])
        write_table(table, output)
    if json:
        print_json({"output": str(output), "rows": table.num_rows, "columns": answers.column_names, "rows_by_source": counts})
    else:
        told = "; ".join(f"{count:,} {source}" for source, count in counts.items() if count)
        say(f"Wrote {bold(output)}: {table.num_rows:,} rows with {escape(', '.join(answers.column_names))}.")
        say(f"Rows predicted {told}.")


command = predict


def _read_query(meta: Any, table: pa.Table, task: str | None, path: Path) -> Query:
    check_columns(table, meta.columns_.names, path)
    if task is not None:
        check_columns(table, [task], path)
    name = task or meta.names_.task
    return Query(table.select(meta.columns_.names), task_ids(meta, table, name, path) if name in table.column_names else None)


def _adapt(meta: Any, query: Query, task: str | None, path: Path) -> Any:
    """The meta-model adapted to the support rows: to many tasks, or to one where neither file names tasks."""
    table = read_table(path, text_columns(meta, task))
    target, name = target_name(meta), task or meta.names_.task
    check_columns(table, [*meta.columns_.names, target, *([] if query.groups is None else [name])], path)
    X, y = table.select(meta.columns_.names), table[target]
    if query.groups is not None:
        return meta.adapt_tasks(X, y, groups=task_ids(meta, table, name, path))
    if name in table.column_names and len(table[name].unique()) > 1:
        raise UpstairsError(
            f"{path} holds rows of several tasks, but the rows to predict have no column {name!r} to tell whose they are."
        )
    return meta.adapt(X, y)


def _answer(meta: Any, adapted: Any, query: Query, interval: float) -> tuple[pa.Table, dict[str, int]]:
    """Answers in the order of the rows, and how many rest on what."""
    n = query.X.num_rows
    if query.groups is None:
        source = "by their columns alone" if adapted is None else "from the support rows"
        return _columns(meta, adapted or meta, query.X, None, interval), {source: n}
    with_support = _is_one_of(query.groups, [] if adapted is None else adapted)
    known = _is_one_of(query.groups, meta.known_.ids.tolist()) & ~with_support
    parts = [
        _columns(meta, source, query.X.take(rows), query.groups[rows], interval)
        for source, rows in ((adapted, np.flatnonzero(with_support)), (meta, np.flatnonzero(~with_support)))
        if len(rows)
    ]
    order = np.argsort(np.concatenate([np.flatnonzero(with_support), np.flatnonzero(~with_support)]))
    counts = {
        "from the support rows of their task": int(with_support.sum()),
        "from what the fit learned of their task": int(known.sum()),
        "by their columns alone": int((~with_support & ~known).sum()),
    }
    return pa.concat_tables(parts).take(order), counts


def _columns(meta: Any, model: Any, X: pa.Table, groups: np.ndarray | None, interval: float) -> pa.Table:
    """The new columns of the output."""
    columns = {"prediction": model.predict(X, groups=groups)}
    if "classes_" in vars(meta):
        proba = np.asarray(model.predict_proba(X, groups=groups))
        columns |= {f"probability_{label}": proba[:, c] for c, label in enumerate(meta.classes_.tolist())}
    else:
        ends = np.asarray(model.predict_interval(X, coverage=interval, groups=groups))
        columns |= {"lower": ends[:, 0], "upper": ends[:, 1]}
    return pa.table({name: pa.array(np.asarray(column)) for name, column in columns.items()})


def _is_one_of(groups: np.ndarray, tasks: Iterable) -> np.ndarray:
    tasks = set(tasks)
    return np.array([group in tasks for group in groups.tolist()], dtype=bool)
