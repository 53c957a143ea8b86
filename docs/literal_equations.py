"""Indented lines of a docstring are equations or small tables: shown as they stand, line by line, with no marks to be added."""

import re

__all__ = ["setup"]

SECTION = re.compile(r"-{3,}$")


def setup(app) -> dict:
    app.connect("autodoc-process-docstring", mark, priority=100)  # before napoleon takes the sections apart
    return {"parallel_read_safe": True}


def mark(app, what, name, obj, options, lines: list[str]) -> None:
    """Put ``::`` before each indented block that follows a blank line, as far as the first section."""
    end = next((i - 1 for i, line in enumerate(lines) if SECTION.match(line)), len(lines))
    starts = [
        i
        for i in range(1, end)
        if lines[i].startswith("    ") and not lines[i - 1].strip() and not lines[i - 2].startswith(" ")
    ]
    for i in range(end):
        if not lines[i].startswith(" "):
            lines[i] = lines[i].replace("|", "\\|")  # |y − f| is a distance
    for i in reversed(starts):
        lines[i:i] = ["::", ""]
