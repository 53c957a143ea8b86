"""Numbers as people write them in tables: 1,234.5 · 1.234,50 € · 12 kg · 1 234 · −3 %.

Each is read with a decimal sign, and the other sign is then one of those that part thousands. A numeral that can be read with
one of them only tells which it is; 1.234 can be read with both, as a thousand or as about one, and tells nothing. Digits behind
a zero (007) are a name.
"""

import re
from typing import NamedTuple

__all__ = ["SIGNS", "Numeral", "decimal_sign", "read_numeral"]

SIGNS = (".", ",")

_CURRENCY = "€$£¥"
_NUMERAL = re.compile(
    rf"(?P<before>[{_CURRENCY}]?)\s?(?P<sign>[+\-−]?)\s?(?P<body>\d[\d.,'’\s]*|[.,]\d+)(?P<exponent>[eE][+-]?\d+)?"
    rf"\s?(?P<unit>%|‰|°[CF]?|[{_CURRENCY}]|[^\W\d_]+[²³]?(?:/[^\W\d_]+[²³]?)?)?"
)
_BODY = {
    sign: re.compile(rf"(?P<whole>[1-9]\d{{0,2}}(?P<mark>[{other}'’\s])\d{{3}}(?:(?P=mark)\d{{3}})*|0|[1-9]\d*|)"
                     rf"(?:{re.escape(sign)}(?P<fraction>\d*))?")
    for sign, other in zip(SIGNS, reversed(SIGNS), strict=True)
}  # fmt: skip


class Numeral(NamedTuple):
    """What a numeral says, and what it is counted in ('' where it doesn't tell)."""

    value: float
    unit: str


def read_numeral(text: str, decimal: str = ".") -> Numeral | None:
    """The number that a text is, with this decimal sign; None if it is none."""
    found = _NUMERAL.fullmatch(text.strip())
    if found is None or (found["before"] and found["unit"]):
        return None
    body = _BODY[decimal].fullmatch(found["body"].rstrip())
    if body is None:
        return None
    whole = re.sub(r"\D", "", body["whole"])
    value = float(f"{whole or 0}.{body['fraction'] or 0}{found['exponent'] or ''}")
    return Numeral(-value if found["sign"] in ("-", "−") else value, found["before"] or found["unit"] or "")


def decimal_sign(text: str) -> str:
    """The only decimal sign that a text can be read with; both where it could be either, '' where it needs none or is none."""
    if not any(sign in text for sign in SIGNS):
        return ""
    return "".join(sign for sign in SIGNS if read_numeral(text, sign) is not None)
