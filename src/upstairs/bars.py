"""Progress bars that are drawn where they can be: on a terminal, and in a notebook, there also without ipywidgets."""

import html
import importlib.util
import io
import time
from typing import Any

from rich.console import Console
from rich.progress import Progress, ProgressColumn

__all__ = ["in_notebook", "make_bar"]

SECONDS = 0.25
"""Between two pictures in a notebook."""
WIDTH = 100


def in_notebook() -> bool:
    """Whether pictures go to a notebook."""
    return Console().is_jupyter


def make_bar(*columns: ProgressColumn, stderr: bool = False) -> Progress:
    """A bar of rich's that is gone when the work is done."""
    console = Console(stderr=stderr)
    if console.is_jupyter and importlib.util.find_spec("ipywidgets") is None:
        return _InNotebook(*columns, console=console, transient=True, auto_refresh=False)
    return Progress(*columns, console=console, transient=True)


class _InNotebook(Progress):
    """Rich draws with ipywidgets; where there are none, IPython itself can replace what it has shown."""

    handle: Any = None
    drawn = 0.0

    def start(self) -> None:
        from IPython.display import display

        self.handle = display(self._picture(), raw=True, display_id=True)

    def stop(self) -> None:
        if self.handle is not None:
            self.handle.update({"text/plain": ""}, raw=True)
            self.handle = None

    def refresh(self) -> None:
        if self.handle is not None:
            self.handle.update(self._picture(), raw=True)
            self.drawn = time.monotonic()

    def update(self, *arguments: Any, **named: Any) -> None:
        super().update(*arguments, **named)
        self._refresh_now_and_then()

    def advance(self, *arguments: Any, **named: Any) -> None:
        super().advance(*arguments, **named)
        self._refresh_now_and_then()

    def _refresh_now_and_then(self) -> None:
        if time.monotonic() - self.drawn > SECONDS:
            self.refresh()

    def _picture(self) -> dict[str, str]:
        page = Console(file=io.StringIO(), width=WIDTH, force_jupyter=False, force_terminal=False)
        page.print(self.get_renderable())
        text = page.file.getvalue()  # type: ignore[attr-defined]
        return {"text/plain": text, "text/html": f"<pre>{html.escape(text)}</pre>"}
