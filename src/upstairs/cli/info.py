"""upstairs info: what a model file says about itself. In Python: ``upstairs.persistence.read_manifest``."""

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from upstairs.cli import options
from upstairs.cli.screen import escape, print_json, show

__all__ = ["EXAMPLES", "command"]

EXAMPLES = "Example: upstairs info stores.upstairs"


def info(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A model that `upstairs fit` saved.", show_default=False)],
    json: options.Json = False,
) -> None:
    """Say what a model predicts, from which columns, and how it was made."""
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


def _table(findings: dict) -> Table:
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="bold")
    table.add_column()
    holding = Counter(column["holds"] for column in findings["columns"])
    told = {
        "model": f"{findings['model']} ({findings['bytes'] / 2**20:.1f} MB, format {findings['format']})",
        "predicts": f"{findings['target'] or 'a target without a name'}, by {findings['task'] or 'a task without a name'}",
        "knows": f"{findings['known_tasks']:,} tasks",
        "learner": f"{findings['learner']} of upstairs {findings['upstairs']}",
        "parameters": ", ".join(f"{name}={value}" for name, value in findings["params"].items()),
        "columns": "; ".join(
            f"{count} of {kind}: {', '.join(c['name'] for c in findings['columns'] if c['holds'] == kind)}"
            for kind, count in holding.items()
        ),
    }
    if rests := findings["rests_on"]:
        told["support vectors"] = (
            f"the meta-model rests on {rests['rows']:,} of {rests['of_rows']:,} rows, "
            f"from {rests['tasks']:,} of {rests['of_tasks']:,} tasks"
        )
    for name, value in told.items():
        table.add_row(name, escape(value))
    return table
