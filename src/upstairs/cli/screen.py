"""What the commands show: tables and JSON on stdout; notes, complaints and progress on stderr."""

import contextlib
import json
import math
from collections.abc import Callable, Iterator
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

__all__ = ["bold", "complain", "escape", "note", "print_json", "progress", "say", "show", "show_errors"]

_out = Console(highlight=False)
_err = Console(stderr=True, highlight=False)


def say(text: str) -> None:
    """A line of the result, in rich's markup: what a user named goes through `bold` or `escape`."""
    _out.print(text, soft_wrap=True)


def bold(thing: object) -> str:
    return f"[bold]{escape(str(thing))}[/]"


def show(table: Table) -> None:
    _out.print(table)


def print_json(findings: dict[str, Any]) -> None:
    print(json.dumps(findings, ensure_ascii=False, default=str))


def note(text: str) -> None:
    """What a user should know beside the result."""
    _err.print(Text.assemble(("Note: ", "yellow"), text), soft_wrap=True)


def complain(text: str) -> None:
    """The one sentence about a user's mistake."""
    _err.print(Text.assemble(("upstairs: ", "bold red"), text), soft_wrap=True)


@contextlib.contextmanager
def progress(n_steps: int | None = None) -> Iterator[Callable[[str], None]]:
    """A bar on stderr, gone when the work is done; nothing where stderr is no terminal.

    The block calls what it gets with the name of each step that begins. Without a number of steps the bar pulses.
    """
    if not _err.is_terminal:  # where older versions of rich write empty lines
        yield lambda step: None
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(bar_width=30), TimeElapsedColumn())
    with Progress(*columns, console=_err, transient=True) as bar:
        task = bar.add_task("", total=n_steps)
        begun = 0

        def begin(step: str) -> None:
            nonlocal begun
            bar.update(task, description=step, completed=begun)
            begun += n_steps is not None

        yield begin


def show_errors(title: str, shots: list[int], errors: dict[str, list[float]], standard_errors: dict[str, list[float]]) -> None:
    """Errors by learner (rows) and number of support rows (columns), the best of each column in bold."""
    table = Table()
    table.add_column("rows seen of a new task")
    for s in shots:
        table.add_column(str(s), justify="right")
    decimals = _decimals(min(min(row) for row in errors.values()))
    shown = {learner: [f"{error:,.{decimals}f}" for error in row] for learner, row in errors.items()}
    best = [f"{min(column):,.{decimals}f}" for column in zip(*errors.values(), strict=True)]
    for learner, row in shown.items():
        cells = (f"[bold]{error}[/]" if error == least else error for error, least in zip(row, best, strict=True))
        spreads = (f" ± {se:,.{decimals}f}" if math.isfinite(se) else "" for se in standard_errors[learner])
        table.add_row(escape(learner), *map(str.__add__, cells, spreads))
    say(title)
    show(table)


def _decimals(smallest: float) -> int:
    """So many that the smallest number keeps three digits."""
    decimals = 0
    while decimals < 6 and 0 < smallest * 10**decimals < 100:
        decimals += 1
    return decimals
