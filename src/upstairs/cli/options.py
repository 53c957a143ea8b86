"""Options that several commands share."""

from pathlib import PurePath
from typing import Annotated

import typer

from upstairs.errors import UpstairsError
from upstairs.learners import LEARNERS
from upstairs.remote import place

__all__ = [
    "Classify",
    "DropMissingTarget",
    "Ignore",
    "Json",
    "Memory",
    "Order",
    "Rows",
    "Seed",
    "Shots",
    "Target",
    "TargetOrStore",
    "Task",
    "TaskOrStore",
    "learner_names",
    "parse_shots",
    "path",
]


def learner_names() -> str:
    return ", ".join(LEARNERS)


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


class path(PurePath):
    """What `place` makes of an argument; help shows this name as its type."""


Rows = Annotated[
    path,
    typer.Argument(
        metavar="FILE", parser=place, help="The rows of all tasks: a .csv or .parquet file, or its URI.", show_default=False
    ),
]
Task = Annotated[str, typer.Option("--task", metavar="COL", help="Column that names each row's task.", show_default=False)]
Target = Annotated[str, typer.Option("--target", metavar="COL", help="Column to be predicted.", show_default=False)]
TaskOrStore = Annotated[
    str | None, typer.Option("--task", metavar="COL", help="Column that names each row's task.", show_default=False)
]
TargetOrStore = Annotated[
    str | None, typer.Option("--target", metavar="COL", help="Column to be predicted.", show_default=False)
]
Memory = Annotated[str, typer.Option("--memory", metavar="SIZE", help="Memory that learning from a store may take.")]
Classify = Annotated[
    bool | None,
    typer.Option(
        "--classify/--regress",
        help="Predict classes or numbers. Without either: classes where the target holds text, categories, true and false, "
        "or no more than two whole numbers.",
        show_default=False,
    ),
]
DropMissingTarget = Annotated[bool, typer.Option("--drop-missing-target", help="Leave out the rows that have no target.")]
Ignore = Annotated[
    list[str] | None, typer.Option("--ignore", metavar="COL", help="Column to leave out; may be repeated.", show_default=False)
]
Shots = Annotated[
    str | None,
    typer.Option("--shots", metavar="LIST", help="How many rows of a new task to show.", show_default="0,1,2,5,10,20"),
]
Order = Annotated[
    str | None,
    typer.Option("--order", metavar="COL", help="Column of times: the rows shown come before those asked about."),
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of all that is random.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object to stdout, and nothing else.")]
