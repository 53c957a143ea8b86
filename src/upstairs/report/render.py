"""A report's findings as one page of HTML: a template, a style sheet and a small script, all inside, and nothing else loaded.

Whatever a user named is escaped, and the page's own policy lets no other script run than the one that is written into it.
"""

import base64
import hashlib
from pathlib import Path
from typing import Any

from upstairs.errors import UpstairsError
from upstairs.report.figures import draw

__all__ = ["render"]

PAGE = Path(__file__).parent / "page"


def render(findings: dict[str, Any]) -> str:
    """The page.

    Parameters
    ----------
    findings : dict
        As `findings.find` gives them, or read back from JSON.

    Returns
    -------
    html : str

    Raises
    ------
    UpstairsError
        Where jinja2 or matplotlib, of the extra ``report``, is missing.
    """
    try:
        import jinja2
    except ImportError:
        raise UpstairsError('A report is written by the package jinja2: pip install "upstairs[report]".') from None
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(PAGE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_on_one_line,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    safe = environment.filters["safe"]  # of what is ours: the files beside this one, and pictures whose text is escaped
    script = (PAGE / "report.js").read_text(encoding="utf-8")
    return environment.get_template("report.html").render(
        findings,
        style=safe((PAGE / "report.css").read_text(encoding="utf-8")),
        script=safe(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        draw=lambda figure, narrow=False: safe(draw(figure, narrow)),
    )


def _on_one_line(value: Any) -> Any:
    """A number and its percent sign, in a text."""
    return value.replace(" %", "\u00a0%") if type(value) is str else value
