"""A bar for whatever takes more than two seconds, on a terminal only."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

__all__ = ["Tell", "show_progress"]

PATIENCE = 2.0

Tell = Callable[[str, int], None]
"""Called with what is being done, and how many more rows of it are done."""


@contextlib.contextmanager
def show_progress(show: bool | None = None) -> Iterator[Tell]:
    """A bar on stderr from the third second on; ``show`` is by default whether stderr is a terminal."""
    if not (sys.stderr.isatty() if show is None else show):
        yield lambda step, rows: None
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}: {task.completed:,} rows"), TimeElapsedColumn())
    bar = Progress(*columns, console=Console(stderr=True), transient=True)
    begun, bars = time.monotonic(), {}

    def tell(step: str, rows: int) -> None:
        if step not in bars:
            bars[step] = bar.add_task(step, total=None)
        bar.advance(bars[step], rows)
        if not bar.live.is_started and time.monotonic() - begun > PATIENCE:
            bar.start()

    try:
        yield tell
    finally:
        if bar.live.is_started:
            bar.stop()
