"""How a CSV file is written: its encoding, what stands between columns, and its decimal sign, seen in its first lines.

    encoding     UTF-8, or UTF-16 where the file begins with its mark; never guessed
    delimiter    , ; tab or | : the one that cuts the first lines into as many parts as the header
    decimal      the one that the file's numbers can be read with (`numerals`): 12,5 says comma, 12.5 says point

Where nothing tells, as of 1.234 alone, the point is taken only if the delimiter is the comma or a tab; else, and where two
columns contradict each other, the user is asked. What the user says (`Csv`) counts.
"""

import codecs
import csv
from pathlib import Path, PurePath
from typing import Literal, NamedTuple

from upstairs.errors import UpstairsError
from upstairs.numerals import SIGNS, decimal_sign, read_numeral

__all__ = ["Csv", "Dialect", "find_dialect", "read_header"]

DELIMITERS = ",;\t|"
SAMPLE, LINES = 2**20, 2000
"""Bytes and lines, at most, that are looked at."""
NEARLY_ALL = 0.9
"""Share of a column's cells that must be numbers for them to tell the decimal sign."""

_MARKS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_SPOKEN = {"\t": "a tab", ",": "a comma", ";": "a semicolon", "|": "a bar", ".": "a point"}


class Csv(NamedTuple):
    """What the user says of CSV files; None leaves it to be found.

    Attributes
    ----------
    delimiter : {",", ";", "|", "tab"}, optional
    decimal : {".", ","}, optional
    encoding : str, optional
    dates : {"day-first", "month-first"}, optional
        What 5/6/2024 means.
    missing : list of str, optional
        Cells that hold no value, beside the usual ones.
    """

    delimiter: Literal[",", ";", "|", "tab"] | None = None
    decimal: Literal[".", ","] | None = None
    encoding: str | None = None
    dates: Literal["day-first", "month-first"] | None = None
    missing: list[str] | None = None


class Dialect(NamedTuple):
    """How a CSV file is to be read."""

    encoding: str = "utf-8"
    delimiter: str = ","
    decimal: str = "."

    @property
    def words(self) -> str:
        """As a note says it."""
        return (
            f"{_SPOKEN.get(self.delimiter, repr(self.delimiter))} between columns and {_SPOKEN[self.decimal]} as decimal sign"
        )


def find_dialect(file: Path, asked: Csv = Csv(), path: PurePath | None = None) -> Dialect:  # noqa: B008
    """How this file is written, which messages call by the name ``path``.

    Raises
    ------
    UpstairsError
        The file is empty, isn't text in the encoding, or doesn't tell one of these and ``asked`` doesn't either.
    OSError
    """
    path = path or file
    encoding, lines = _first_lines(file, asked.encoding, path)
    delimiter = (asked.delimiter or _delimiter(path, lines)).replace("tab", "\t")
    return Dialect(encoding, delimiter, asked.decimal or _decimal(path, _cut(lines, delimiter), delimiter))


def read_header(file: Path, path: PurePath | None = None) -> list[str]:
    """The names in the first line of this file; errors as of `find_dialect`, but none about decimal signs."""
    path = path or file
    _, lines = _first_lines(file, None, path)
    return [name.strip() for name in _cut(lines, _delimiter(path, lines))[0]]


def _first_lines(file: Path, encoding: str | None, path: PurePath) -> tuple[str, list[str]]:
    """The encoding, and the first lines that aren't empty."""
    with open(file, "rb") as content:
        start = content.read(SAMPLE)
    encoding = encoding or next((name for mark, name in _MARKS.items() if start.startswith(mark)), "utf-8")
    lines = [line for line in _decode(path, start, encoding).splitlines() if line.strip()]
    if not lines:
        raise UpstairsError(f"{path} is empty; its first line should hold the names of the columns.")
    if len(start) == SAMPLE and len(lines) > 1:
        lines.pop()  # cut in its middle
    return encoding, lines[:LINES]


def _decode(path: PurePath, start: bytes, encoding: str) -> str:
    try:
        decoder = codecs.getincrementaldecoder(encoding)()
    except LookupError:
        raise UpstairsError(f"There is no encoding {encoding!r}; common ones are utf-8, cp1252, latin-1 and utf-16.") from None
    try:
        return decoder.decode(start).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        number = start.count(b"\n", 0, error.start) + 1
        line = start.splitlines()[number - 1] if number <= len(start.splitlines()) else b""
        shown = line.decode("cp1252", "replace")[:60]
        name = "UTF-8" if encoding == "utf-8" else encoding
        raise UpstairsError(
            f"{path} isn't {name} text in line {number:,}. As cp1252 (Western Europe) it reads {shown!r}: if that is right, "
            "give --encoding cp1252; else the right one, or save it as UTF-8."
        ) from None


def _delimiter(path: PurePath, lines: list[str]) -> str:
    """The one that cuts most lines into as many parts as the header, and then into most parts."""
    share: dict[str, tuple[float, int]] = {}
    for delimiter in DELIMITERS:
        widths = [len(row) for row in _cut(lines, delimiter)]
        if widths[0] > 1:
            share[delimiter] = sum(width == widths[0] for width in widths) / len(widths), widths[0]
    best = [delimiter for delimiter, agree in share.items() if agree == max(share.values())]
    if len(best) > 1 and len(lines) > 1:
        raise UpstairsError(
            f"{path} may have {' or '.join(_SPOKEN[one] for one in best)} between its columns: say which with --delimiter."
        )
    return best[0] if best else ","


def _decimal(path: PurePath, rows: list[list[str]], delimiter: str) -> str:
    """The decimal sign that the columns of numbers agree on."""
    header, *body = rows
    told: dict[str, tuple[str, str]] = {}
    for name, *cells in zip(header, *(row for row in body if len(row) == len(header)), strict=True):
        cells = [cell for cell in dict.fromkeys(cells) if any(character.isdigit() for character in cell)]
        signs = [decimal_sign(cell) for cell in cells]
        whole = sum(not sign and read_numeral(cell) is not None for sign, cell in zip(signs, cells, strict=True))
        if sum(map(bool, signs)) + whole < NEARLY_ALL * len(cells):
            continue
        for sign, cell in zip(signs, cells, strict=True):
            if sign:
                told.setdefault(sign, (name.strip(), cell.strip()))
    clear = [sign for sign in SIGNS if sign in told]
    if len(clear) == 2:
        both = " and ".join(f"{told[sign][1]!r} in {told[sign][0]!r}" for sign in clear)
        raise UpstairsError(f"{path} holds {both}: say which is the decimal sign, with --decimal . or --decimal ,")
    if clear:
        return clear[0]
    unclear = told.get("".join(SIGNS))
    if unclear is None or ("." in unclear[1] and delimiter in ",\t"):
        return "."
    name, cell = unclear
    raise UpstairsError(
        f"{path} holds {cell!r} in {name!r}, which may be a thousand or a fraction: say which is the decimal sign, with "
        "--decimal . or --decimal ,"
    )


def _cut(lines: list[str], delimiter: str) -> list[list[str]]:
    return list(csv.reader(lines, delimiter=delimiter)) or [[]]
