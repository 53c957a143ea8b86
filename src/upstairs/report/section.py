"""What a report is made of: sections of sentences, figures and tables, all of them plain dicts."""

import math
from collections.abc import Sequence
from typing import Any

from upstairs.wording import number, percent

__all__ = ["cell", "error_cell", "percent_cell", "section", "table"]


def section(
    name: str,
    title: str,
    lead: str,
    sentences: Sequence[str] = (),
    figures: Sequence[dict] = (),
    tables: Sequence[dict] = (),
) -> dict[str, Any]:
    """One question and its answer: the lead says it, sentences explain, figures and tables show.

    Parameters
    ----------
    name : str
        A word that links lead to.
    title, lead : str
    sentences : sequence of str
    figures, tables : sequence of dict
        As `figures.describe` and `table` make them.
    """
    return {
        "name": name,
        "title": title,
        "lead": lead,
        "sentences": [text for text in sentences if text],
        "figures": list(figures),
        "tables": [one for one in tables if one["rows"]],
    }


def table(
    caption: str, columns: Sequence[tuple[str, str]], rows: Sequence[Sequence[dict]], note: str = "", folded: bool = False
) -> dict[str, Any]:
    """A table whose first column names its rows.

    Parameters
    ----------
    caption : str
    columns : sequence of (heading, "text" or "number")
    rows : sequence of rows of `cell`
    note : str
    folded : bool
        Whether a reader must open it.
    """
    headings = [{"name": name, "kind": kind} for name, kind in columns]
    return {"caption": caption, "columns": headings, "rows": [list(row) for row in rows], "note": note, "folded": folded}


def cell(value: Any, text: str | None = None, bar: float | None = None) -> dict[str, Any]:
    """A value, how it is shown, and the length of a bar behind it (0 to 1)."""
    shown = text if text is not None else number(value) if isinstance(value, float) else f"{value}"
    return {"value": value, "text": shown, "bar": bar}


def error_cell(error: float | None, se: float | None) -> dict[str, Any]:
    """An error with its standard error."""
    error, se = (float("nan") if value is None else float(value) for value in (error, se))
    if not se > 0:
        return cell(error)
    decimals = max(0, 1 - math.floor(math.log10(se)))  # two digits of the standard error are all that an error can claim
    return cell(error, f"{error:,.{decimals}f} ± {se:,.{decimals}f}")


def percent_cell(share: float, se: float) -> dict[str, Any]:
    """A share with its standard error."""
    return cell(float(share), f"{100 * share:.0f} % ± {100 * se:.1f}" if se == se else percent(share))
