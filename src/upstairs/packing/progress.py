"""A bar for whatever takes more than two seconds, where somebody may look at it."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

from upstairs.bars import in_notebook, make_bar

__all__ = ["Tell", "show_progress"]

PATIENCE = 2.0

Tell = Callable[[str, int], None]
"""Called with what is being done, and how many more rows of it are done."""


@contextlib.contextmanager
def show_progress(show: bool | None = None) -> Iterator[Tell]:
    """A bar from the third second on; ``show`` is by default whether stderr is a terminal, or this a notebook."""
    if not (sys.stderr.isatty() or in_notebook() if show is None else show):
        yield lambda step, rows: None
        return
    from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}: {task.completed:,} rows"), TimeElapsedColumn())
    bar = make_bar(*columns, stderr=True)
    begun, bars, started = time.monotonic(), {}, False

    def tell(step: str, rows: int) -> None:
        nonlocal started
        if step not in bars:
            bars[step] = bar.add_task(step, total=None)
        bar.advance(bars[step], rows)
        if not started and time.monotonic() - begun > PATIENCE:
            started = True
            bar.start()

    try:
        yield tell
    finally:
        if started:
            bar.stop()
