"""Options that several commands share."""

import functools
import inspect
from collections.abc import Callable
from pathlib import PurePath
from typing import Annotated, Any, get_type_hints

import typer

from upstairs.errors import UpstairsError
from upstairs.files import SUFFIXES, column_names
from upstairs.learners import LEARNERS
from upstairs.remote import place

__all__ = [
    "Classify",
    "Ignore",
    "Json",
    "Memory",
    "Order",
    "Parameters",
    "Rows",
    "Seed",
    "Shots",
    "Target",
    "TargetOfModel",
    "Task",
    "TaskOfModel",
    "complete_column",
    "complete_learner",
    "learner_names",
    "parse_shots",
    "path",
    "spread",
]


def learner_names() -> str:
    return ", ".join(LEARNERS)


def complete_learner(incomplete: str) -> list[str]:
    """Learners that begin so, for the shell."""
    return [name for name in LEARNERS if name.startswith(incomplete)]


def complete_column(ctx: typer.Context, incomplete: str) -> list[str]:
    """Columns that begin so of the first file of rows that stands before the option, for the shell."""
    files = (word for word in [str(ctx.params.get("file")), *ctx.args] if word.lower().endswith(SUFFIXES))
    return [name for name in column_names(next(files, "")) if name.startswith(incomplete)]


def parse_shots(text: str | None) -> list[int] | None:
    """What ``--shots`` lists, ascending."""
    if text is None:
        return None
    try:
        shots = sorted({int(part) for part in text.split(",")})
    except ValueError:
        shots = [-1]
    if shots[0] < 0:
        raise UpstairsError(f"--shots must be whole numbers with commas between them, as 0,1,5,20, but is {text!r}.")
    return shots


def _column(name: str, help: str) -> Any:
    return typer.Option(f"--{name}", metavar="COL", help=help, show_default=False, autocompletion=complete_column)


class path(PurePath):
    """What `place` makes of an argument; help shows this name as its type."""


Rows = Annotated[
    path,
    typer.Argument(
        metavar="FILE",
        parser=place,
        help="The rows of all tasks: a .csv or .parquet file, its URI, or a store.",
        show_default=False,
    ),
]
_OWN = "; a store has its own."
Task = Annotated[str | None, _column("task", f"Column that names each row's task{_OWN}")]
Target = Annotated[str | None, _column("target", f"Column to be predicted{_OWN}")]
TaskOfModel = Annotated[str | None, _column("task", "Column of the task, if not the one of the fit.")]
TargetOfModel = Annotated[str | None, _column("target", "Column of the target, if not the one of the fit.")]
Parameters = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="A parameter of the learner; may be repeated.", show_default=False),
]
Address = Annotated[str | None, typer.Option("--address", help="Of a cluster that is there already.", show_default=False)]
Memory = Annotated[str, typer.Option("--memory", metavar="SIZE", help="Memory that rows of a store may take.")]
Classify = Annotated[
    bool | None,
    typer.Option(
        "--classify/--regress",
        help="Predict classes or numbers. Without either: classes where the target holds text, categories, true and false, "
        "or no more than two whole numbers.",
        show_default=False,
    ),
]
Ignore = Annotated[list[str] | None, _column("ignore", "Column to leave out; may be repeated.")]
Shots = Annotated[
    str | None,
    typer.Option("--shots", metavar="LIST", help="How many rows of a new task to show.", show_default="0,1,2,5,10,20"),
]
Order = Annotated[
    str | None,
    _column("order", "Column of times: the rows shown come before those asked about."),
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of all that is random.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object to stdout, and nothing else.")]


def _csv(name: str, metavar: str, help: str) -> Any:
    panel = "How CSV files are written, where they don't tell"
    return typer.Option(f"--{name}", metavar=metavar, help=help, show_default=False, rich_help_panel=panel)


_FIELDS: dict[str, Any] = {
    "delimiter": _csv("delimiter", "CHAR", "What stands between columns: , ; | or tab."),
    "decimal": _csv("decimal", "CHAR", "Decimal sign: . or ,"),
    "encoding": _csv("encoding", "NAME", "As cp1252; UTF-8 needs none."),
    "dates": _csv("dates", "ORDER", "What 5/6/2024 means: day-first or month-first."),
    "missing": _csv("missing", "TEXT", "Cell that holds no value; may be repeated."),
    "drop_missing_target": typer.Option("--drop-missing-target", help="Leave out the rows that have no target."),
    "drop_missing_task": typer.Option("--drop-missing-task", help="Leave out the rows that have no task."),
}


def spread(command: Callable) -> Callable:
    """The command with an option for each field of its parameters that are NamedTuples, as `Csv` is."""
    parameters = inspect.signature(command, eval_str=True).parameters.values()
    bundles = {one.name: one.annotation for one in parameters if hasattr(one.annotation, "_fields")}
    options = []
    for one in parameters:
        hints = get_type_hints(bundles[one.name]) if one.name in bundles else {}
        options += [
            one.replace(name=field, annotation=Annotated[hint, _FIELDS[field]], default=one.annotation._field_defaults[field])
            for field, hint in hints.items()
        ] or [one]

    @functools.wraps(command)
    def called(**said: Any) -> Any:
        for name, bundle in bundles.items():
            said[name] = bundle(**{field: said.pop(field) for field in bundle._fields})
        return command(**said)

    called.__signature__ = inspect.Signature(options)  # type: ignore[attr-defined]
    return called
