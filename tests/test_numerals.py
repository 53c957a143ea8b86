"""Numbers as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upstairs.numerals import decimal_sign, read_numeral


@pytest.mark.parametrize(
    "text, point, comma",
    [
        ("12", (12, ""), (12, "")),
        ("1.5", (1.5, ""), None),
        ("1,5", None, (1.5, "")),
        ("1.234", (1.234, ""), (1234, "")),
        ("0.123", (0.123, ""), None),
        ("1234.567", (1234.567, ""), None),
        ("1.234.567", None, (1234567, "")),
        ("1.234,50 €", None, (1234.5, "€")),
        ("$1,234.5", (1234.5, "$"), None),
        ("12 kg", (12, "kg"), (12, "kg")),
        ("88 km/h", (88, "km/h"), (88, "km/h")),
        ("1 234", (1234, ""), (1234, "")),
        ("1'234.5", (1234.5, ""), None),
        (" −3 %", (-3, "%"), (-3, "%")),
        (".5", (0.5, ""), None),
        ("12,5e-3", None, (0.0125, "")),
    ],
)
def test_numbers(text, point, comma):
    assert [read_numeral(text, "."), read_numeral(text, ",")] == [point, comma]


@pytest.mark.parametrize(
    "text", ["", "-", "007", "1.2.3", "05.01.2024", "12:30", "10-20", "A12", "48.1,11.5", "12 kg 3", "$5 kg", "1,23,456"]
)
def test_no_numbers(text):
    assert read_numeral(text, ".") is None and read_numeral(text, ",") is None
    assert decimal_sign(text) == ""


@given(st.integers(-(10**15), 10**15), st.integers(0, 2), st.sampled_from(["", " kg", "%"]))
def test_what_was_written_either_way_is_read(cents, decimals, unit):
    value = cents / 10**decimals
    english = f"{value:,.{decimals}f}"
    german = english.translate(str.maketrans(",.", ".,"))
    assert read_numeral(english + unit, ".") == read_numeral(german + unit, ",") == (value, unit.strip())
    if decimals:
        assert (decimal_sign(english), decimal_sign(german)) == (".", ",")
