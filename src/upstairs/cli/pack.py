"""upstairs pack: files of any size -> a task store. In Python: ``upstairs.pack``."""

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from upstairs.cli import options
from upstairs.cli.rows import Drop
from upstairs.cli.screen import bold, escape, print_json, say
from upstairs.remote import place

__all__ = ["EXAMPLES", "command"]

EXAMPLES = """Example: upstairs pack rows.parquet -o rows.tasks --task store --target sales

Example: upstairs pack "2025-*.csv" -o rows.tasks --append

Example: upstairs pack "s3://bucket/2025/*.parquet" -o rows.tasks --task store --target sales"""


def pack(
    source: Annotated[
        list[str],
        typer.Argument(metavar="FILE|FOLDER|GLOB|URI", help="Parquet, CSV or Arrow files of rows.", show_default=False),
    ],
    output: Annotated[
        options.path,
        typer.Option("--output", "-o", metavar="STORE", parser=place, help="The folder of the store.", show_default=False),
    ],
    task: Annotated[
        str | None,
        typer.Option("--task", metavar="COL", help="Column that names each row's task.", show_default=False),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            "--target", metavar="COL", help="Column to be predicted; none for rows to predict later.", show_default=False
        ),
    ] = None,
    memory: Annotated[str, typer.Option("--memory", metavar="SIZE", help="Memory to stay within.")] = "2GB",
    classify: options.Classify = None,
    drop: Drop = Drop(),  # noqa: B008
    ignore: options.Ignore = None,
    like: Annotated[
        Path | None,
        typer.Option("--like", metavar="MODEL|STORE", help="Encode the columns as this model or store does."),
    ] = None,
    append: Annotated[bool, typer.Option("--append", help="Add the rows to the store that is there.")] = False,
    json: options.Json = False,
) -> None:
    """Pack rows of many tasks, in any order and larger than memory, into a store that is read in no time."""
    import upstairs

    start = time.perf_counter()
    store = upstairs.pack(
        source, output, task=task, target=target, memory=memory, ignore=ignore or (), classify=classify,
        **drop._asdict(), like=_open(like), append=append,
    )  # fmt: skip
    findings = {
        "store": str(output),
        "task": store.task_name,
        "target": store.target_name,
        "predicts": None if store.target_name is None else "numbers" if store.classes is None else "classes",
        "columns": list(store.columns.names),
        "tasks": store.n_tasks,
        "rows": store.n_rows,
        "seconds": round(time.perf_counter() - start, 2),
        "bytes": sum(entry["bytes"] for entry in store.manifest["files"].values()),
    }
    if json:
        print_json(findings)
        return
    say(
        f"Packed {bold(output)}: {store.n_tasks:,} tasks, {store.n_rows:,} rows, {len(store.columns.names)} columns "
        f"({findings['bytes'] / 2**20:,.1f} MB) in {findings['seconds']:.1f} s."
    )
    if store.target_name:
        say(f"{escape(store.target_name)} holds {findings['predicts']} to be learned. Next:")
        say(f"  upstairs fit {escape(str(output))} -o model.upstairs")


command = pack


def _open(like: Path | None) -> Any:
    import upstairs

    if like is None:
        return None
    return upstairs.open_store(like) if like.is_dir() else upstairs.load(like)
