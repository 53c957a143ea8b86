"""upstairs info: what a model file or a task store says about itself. In Python: ``upstairs.persistence.read_manifest`` and
``upstairs.open_store``.
"""

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from upstairs.cli import options
from upstairs.cli.screen import escape, print_json, show

__all__ = ["EXAMPLES", "command"]

EXAMPLES = """Example: upstairs info stores.upstairs

Example: upstairs info rows.tasks --verify"""


def info(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL|STORE", help="A model that `upstairs fit` saved, or a store of `upstairs pack`.", show_default=False
        ),
    ],
    verify: Annotated[bool, typer.Option("--verify", help="Read all of a store and compare its checksums.")] = False,
    json: options.Json = False,
) -> None:
    """Say what a model predicts, or what a store holds, from which columns, and how it was made."""
    if model.is_dir():
        _tell_store(model, verify, json)
        return
    from upstairs.persistence import read_manifest  # loads scikit-learn, which --help needn't wait for

    manifest = read_manifest(model)
    findings = {
        "model": str(model),
        "learner": manifest["learner"],
        "target": manifest["names"]["target"],
        "task": manifest["names"]["task"],
        "known_tasks": manifest["known"]["fields"]["ids"]["shape"][0],
        "params": manifest["params"],
        "columns": [{"name": column["name"], "holds": column["kind"]} for column in manifest["columns"]["columns"]],
        "rests_on": _rests_on(manifest["info"]["fields"]),
        "upstairs": manifest["upstairs"],
        "format": manifest["format"],
        "bytes": model.stat().st_size,
    }
    if json:
        print_json(findings)
    else:
        show(_table(findings))


command = info


def _rests_on(info: dict) -> dict | None:
    """Support vectors of the meta-space and their tasks; None for learners that have none."""
    names = {"rows": "n_support", "of_rows": "n_rows", "tasks": "n_support_tasks", "of_tasks": "n_tasks"}
    return {name: info[field] for name, field in names.items()} if "n_support" in info else None


def _tell_store(path: Path, verify: bool, json: bool) -> None:
    from upstairs.store import open_store

    store = open_store(path)
    if verify:
        store.verify()
    findings = {
        "store": str(path),
        "target": store.target_name,
        "task": store.task_name,
        "predicts": None if store.target_name is None else "numbers" if store.classes is None else "classes",
        "tasks": store.n_tasks,
        "rows": store.n_rows,
        "columns": [{"name": column.name, "holds": column.kind} for column in store.columns.columns],
        "verified": verify,
        "upstairs": store.manifest["upstairs"],
        "format": store.manifest["format"],
        "bytes": sum(entry["bytes"] for entry in store.manifest["files"].values()),
    }
    if json:
        print_json(findings)
        return
    told = {
        "store": f"{findings['store']} ({findings['bytes'] / 2**20:,.1f} MB, format {findings['format']})",
        "holds": f"{store.n_rows:,} rows of {store.n_tasks:,} tasks, by {store.task_name}",
        "predicts": f"{store.target_name} ({findings['predicts']})" if store.target_name else "nothing: rows to be predicted",
        "columns": _columns_told(findings["columns"]),
        "packed by": f"upstairs {findings['upstairs']}",
        "checksums": "as they were packed" if verify else "not compared (--verify)",
    }
    show(_two_columns(told))


def _table(findings: dict) -> Table:
    told = {
        "model": f"{findings['model']} ({findings['bytes'] / 2**20:.1f} MB, format {findings['format']})",
        "predicts": f"{findings['target'] or 'a target without a name'}, by {findings['task'] or 'a task without a name'}",
        "knows": f"{findings['known_tasks']:,} tasks",
        "learner": f"{findings['learner']} of upstairs {findings['upstairs']}",
        "parameters": ", ".join(f"{name}={value}" for name, value in findings["params"].items()),
        "columns": _columns_told(findings["columns"]),
    }
    if rests := findings["rests_on"]:
        told["support vectors"] = (
            f"the meta-model rests on {rests['rows']:,} of {rests['of_rows']:,} rows, "
            f"from {rests['tasks']:,} of {rests['of_tasks']:,} tasks"
        )
    return _two_columns(told)


def _columns_told(columns: list[dict]) -> str:
    holding = Counter(column["holds"] for column in columns)
    return "; ".join(
        f"{count} of {kind}: {', '.join(c['name'] for c in columns if c['holds'] == kind)}" for kind, count in holding.items()
    )


def _two_columns(told: dict[str, str]) -> Table:
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="bold")
    table.add_column()
    for name, value in told.items():
        table.add_row(name, escape(value))
    return table
