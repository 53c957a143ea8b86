"""A bar with the loss and the held-out error, for whoever waits for a fit."""

import contextlib
from collections.abc import Callable, Iterator

from upstairs.bars import make_bar

__all__ = ["show_progress"]


@contextlib.contextmanager
def show_progress(verbose: bool, name: str, n_steps: int) -> Iterator[Callable[[int, float, float], None]]:
    """A function to tell the step, the loss and the held-out error to; it says nothing unless ``verbose``."""
    if not verbose:
        yield lambda step, loss, error: None
        return
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn

    columns = TextColumn("Descending in meta-space ({task.fields[name]})"), BarColumn(), TextColumn("{task.fields[say]}")
    with make_bar(*columns, TimeRemainingColumn()) as progress:
        bar = progress.add_task("", total=n_steps, name=name, say="compiling")

        def watch(step: int, loss: float, error: float) -> None:
            progress.update(bar, completed=step, say=f"step {step:,} · loss {loss:.3f} · held-out {error:.3f}")

        yield watch
