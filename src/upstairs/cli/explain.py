"""upstairs explain: why are one task's predictions what they are, and is it like the others? In Python: ``model.explain``,
``model.novelty_`` and ``meta.nearest_tasks``.
"""

from pathlib import Path, PurePath
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import typer
from rich.table import Table

import upstairs
from upstairs.cli import options
from upstairs.cli.rows import check_nothing_given, given_of, target_name, text_columns, with_task
from upstairs.cli.screen import bold, escape, print_json, progress, say, show
from upstairs.dialects import Csv
from upstairs.errors import UpstairsError
from upstairs.files import check_columns, read_table, task_names
from upstairs.frames import listed
from upstairs.remote import place
from upstairs.store import is_store, open_store

__all__ = ["EXAMPLES", "command"]

EXAMPLES = """Example: upstairs explain stores.upstairs new_days.csv --support first_days.csv

Example: upstairs explain stores.upstairs new_days.csv --support first_days.csv --which north --rows 1 --json

Example: upstairs explain stores.upstairs rows.tasks --which north"""

LEAST_P = 0.05
LEAST_SHOWN = 0.005
"""Of the largest effect: columns with smaller ones in every row aren't shown."""


def explain(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A model that `upstairs fit` saved.", show_default=False)],
    file: Annotated[
        options.path,
        typer.Argument(
            metavar="FILE", parser=place, help="Rows to explain: .csv or .parquet, its URI, or a store.", show_default=False
        ),
    ],
    support: Annotated[
        options.path | None,
        typer.Option(
            "--support",
            metavar="FILE",
            parser=place,
            help="Rows of the same task whose target is known, also of a store.",
            show_default=False,
        ),
    ] = None,
    task: options.TaskOfModel = None,
    which: Annotated[
        str | None,
        typer.Option("--which", metavar="TASK", help="The task to explain, if FILE holds several.", show_default=False),
    ] = None,
    rows: Annotated[int, typer.Option("--rows", min=1, help="At most so many rows of FILE.")] = 5,
    more: Annotated[int, typer.Option("--more", min=1, help="How many more rows to think of.")] = 5,
    csv: Csv = Csv(),  # noqa: B008
    json: options.Json = False,
) -> None:
    """Explain the predictions of one task's rows in FILE: what is shared, what its own rows say, and how much is borrowed.

    With rows of the task in --support it also says whether the task is like the known ones, and which of them most.
    """
    with progress() as begin:
        begin(f"Loading {model.name}")
        meta = upstairs.load(model)
        begin(f"Explaining {file.name}")
        asked, which = _rows_of_task(meta, task, which, file, csv)
        check_columns(asked, meta.columns_.names, file)
        adapted = meta if support is None else _adapt(meta, task, which, support, csv)
        findings = {"model": str(model), "task": which, **_findings(meta, adapted, asked.slice(0, rows), more)}
    if json:
        print_json(findings)
    else:
        _tell(findings)


command = explain


def _rows_of_task(meta: Any, task: str | None, which: str | None, path: PurePath, csv: Csv) -> tuple[pa.Table, str | None]:
    """The rows of the task to explain, and its name where there is one."""
    if is_store(path):
        return _rows_of_stored_task(task, which, path, csv)
    table, name = read_table(path, text_columns(meta, task), csv), task or meta.names_.task
    if task is not None or (which is not None and name is not None):
        check_columns(table, [name], path)
    if name not in table.column_names:
        return table, which
    table = with_task(table, name, path)
    names = task_names(table[name], name, path)
    which = _choose(names.unique().to_pylist(), which, name, path)
    return table.filter(pc.equal(names, which)), which


def _rows_of_stored_task(task: str | None, which: str | None, path: PurePath, csv: Csv) -> tuple[pa.Table, str]:
    check_nothing_given(path, {"task": task, **given_of(csv)})
    store = open_store(path)
    at = store.locate([which])
    if which is None or at[0] < 0:
        which = _choose(list(map(str, store.ids.tolist())), which, store.task_name, path)
        at = store.locate([which])
    return store.decode(store.tasks(at)), which


def _choose(tasks: list[str], which: str | None, name: str, path: PurePath) -> str:
    if which is None and len(tasks) > 1:
        raise UpstairsError(f"{path} holds rows of {len(tasks)} tasks ({listed(tasks)}): say which to explain with --which.")
    which = tasks[0] if which is None else which
    if which not in tasks:
        raise UpstairsError(f"{path} has no row whose {name!r} is {which!r}; it holds {listed(tasks)}.")
    return which


def _adapt(meta: Any, task: str | None, which: str | None, path: PurePath, csv: Csv) -> Any:
    target = target_name(meta)
    rows, _ = _rows_of_task(meta, task, which, path, csv)
    check_columns(rows, [*meta.columns_.names, target], path)
    return meta.adapt(rows.select(meta.columns_.names), rows[target])


def _findings(meta: Any, adapted: Any, asked: pa.Table, more: int) -> dict[str, Any]:
    explained = adapted.explain(asked.select(meta.columns_.names))
    receipts = explained if isinstance(explained, dict) else {meta.names_.target or "target": explained}
    findings: dict[str, Any] = {
        "support_rows": 0 if adapted is meta else len(adapted.support_.y),
        "receipts": [
            {
                "of": str(label),
                "unit": receipt.unit,
                "exact": receipt.exact,
                "sentences": receipt.sentences(more),
                "borrowed": float(receipt.borrowed.mean()),
                f"borrowed_after_{more}_more": float(receipt.borrowed_after(more).mean()),
                "rows": receipt.to_table().to_pylist(),
            }
            for label, receipt in receipts.items()
        ],
    }
    if adapted is not meta:
        findings |= {"novelty": adapted.novelty_, "nearest": meta.nearest_tasks(adapted).to_pylist()}
    return findings


def _tell(findings: dict[str, Any]) -> None:
    if findings["task"] is not None:
        say(f"Task {bold(findings['task'])}")
    for receipt in findings["receipts"]:
        say(f"\n{bold(receipt['of'])}, row by row (in {receipt['unit']})")
        show(_parts(receipt["rows"]))
        for sentence in receipt["sentences"]:
            say(escape(sentence))
    if "novelty" not in findings:
        return
    p = findings["novelty"]
    verdict = (
        "it is like the known ones" if p >= LEAST_P else "its rows are more surprising than those of nearly all known ones"
    )
    say(f"\nIs this task like the others? p = {p:.3f}: {verdict}.")
    table = Table(title="Known tasks most like it", title_justify="left")
    for heading in ("task", "distance", "alike in", "different in"):
        table.add_column(heading, justify="right" if heading == "distance" else "left")
    for near in findings["nearest"]:
        parts = (escape(near[key] or "-") for key in ("alike", "different"))
        table.add_row(escape(str(near["task"])), f"{near['distance']:.2f}", *parts)
    show(table)


def _parts(rows: list[dict[str, float]]) -> Table:
    """A line for each part that matters in any row, a column for each row."""
    table = Table()
    table.add_column("part")
    for i in range(len(rows)):
        table.add_column(f"row {i}", justify="right")
    effects = {name: np.array([row[name] for row in rows]) for name in rows[0] if name not in ("total", "borrowed")}
    least = LEAST_SHOWN * max(np.abs(values).max() for name, values in effects.items() if name != "base")
    for name, values in effects.items():
        if name == "base" or np.abs(values).max() > least:
            table.add_row(escape(name), *(f"{value:,.4g}" for value in values))
    table.add_row("[bold]total[/]", *(f"[bold]{row['total']:,.4g}[/]" for row in rows))
    table.add_row("borrowed", *(f"{100 * row['borrowed']:.0f} %" for row in rows))
    return table
