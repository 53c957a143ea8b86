"""How sentences write numbers, shares, rows, and what a task is called."""

from typing import NamedTuple

import numpy as np

__all__ = ["Noun", "after", "article", "listing", "noun_of", "number", "percent", "rows_in_words"]


class Noun(NamedTuple):
    """What a task is to the user."""

    one: str
    many: str


def noun_of(name: str | None) -> Noun:
    """From the name of the groups column: store_id -> store, stores; city -> city, cities."""
    words = (name or "task").replace("_", " ").strip()
    for ending in (" id", " no", " nr", " name", " code"):
        words = words.removesuffix(ending)
    words = words or "task"
    if words.lower().endswith("y") and words[-2:-1].lower() not in "aeiou":
        return Noun(words, words[:-1] + "ies")
    return Noun(words, words + ("es" if words.lower().endswith(("s", "x", "ch", "sh")) else "s"))


def number(value: float, digits: int = 3) -> str:
    """So many digits, and no exponent where it can be helped."""
    if not np.isfinite(value):
        return "–"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.{digits}g}" if abs(value) < 10**digits else f"{value:.0f}"


def percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def rows_in_words(count: int) -> str:
    return {0: "no row", 1: "1 row"}.get(count, f"{count:,} rows")


def after(shots: int) -> str:
    return "without a row" if shots == 0 else f"after {rows_in_words(shots)}"


def article(noun: str) -> str:
    return "an" if noun[:1].lower() in "aeio" else "a"


def listing(names: list[str]) -> str:
    """a, b and c."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else "none"
