"""Columns that a CSV file holds as text, read again; every change is told of."""

import datetime
import warnings

import numpy as np
import pyarrow as pa
import pytest

from upstairs import UpstairsError, UpstairsWarning
from upstairs.cleaning import MISSING, clean, without_empty_rows, without_headers


def cleaned(columns, text=(), decimal=".", dates=None):
    """The columns as lists, and what was told."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        table = clean(pa.table(columns), text, decimal, dates, MISSING, "t.csv")
    assert all(one.category is UpstairsWarning for one in told)
    return table.to_pydict(), "\n".join(str(one.message) for one in told)


def test_what_is_clean_stays_as_it_is_and_nothing_is_said():
    columns = {"a": [1, 2], "b": [1.5, None], "c": ["x", "-"], "d": [datetime.date(2024, 1, 5), None]}
    assert cleaned(columns) == (columns, "")


@pytest.mark.parametrize(
    "cells, numbers, told",
    [
        (["1,234", "5"], [1234, 5], "'1,234' in 'a' as 1234"),
        (["$1,234.50", "$5"], [1234.5, 5], "'$1,234.50' in 'a' as 1234.5"),
        (["12 kg", "13kg", None], [12, 13, None], "'12 kg' in 'a' as 12"),
        (["1", "-", "?", "3"], [1, None, None, 3], "'-', '?' in 'a' is taken for no value (2 cells)"),
        ([" NA ", "7"], [None, 7], ""),
    ],
)
def test_numbers(cells, numbers, told):
    table, said = cleaned({"a": cells})
    assert table["a"] == numbers
    assert all(isinstance(value, int) for value in table["a"] if value == int(value or 0) and value) or 1234.5 in numbers
    assert told in said


def test_decimal_comma():
    assert cleaned({"a": ["1.234,5", "7"]}, decimal=",")[0]["a"] == [1234.5, 7]
    assert cleaned({"a": ["1.234,5", "7"]}, decimal=".")[0]["a"] == ["1.234,5", "7"]


@pytest.mark.parametrize(
    "cells, told",
    [
        (["1", "2", "3", "not done"], "'a' stays text: beside numbers it holds 'not done' in row 3 (1 such row in all)"),
        (
            ["1", "2", "2,5"],
            "beside numbers it holds '2,5' in row 2 (1 such row in all). If that is a number, give --decimal ,",
        ),
        (["1 kg", "2 g"], "'a' holds numbers of several kinds, as '1 kg', '2 g', and stays text"),
        (["2024-01-05", "2024-01-06", "soon"], "'a' stays text: beside dates it holds 'soon' in row 2"),
        (["25/12/2024", "12/25/2024"], "'a' holds dates of several kinds"),
        (["red", "blue", "3"], ""),
        (["007", "008"], ""),
        ([None, None], ""),
    ],
)
def test_what_stays_text(cells, told):
    table, said = cleaned({"a": pa.array(cells, pa.string())})
    assert table["a"] == cells
    assert told in said and (told or not said)


DAY = datetime.datetime(2024, 12, 5)


@pytest.mark.parametrize(
    "cells",
    [
        ["05.12.2024", "25.12.2024"],
        ["05.12.2024", "2024-12-25"],
        ["5/12/2024", "25/12/2024"],
        ["12/5/2024", "12/25/2024"],
        ["12-05-24", "12-25-24"],
        ["2024/12/05", "2024/12/25"],
        ["5 Dec 2024", "25-Dec-2024"],
        ["December 5, 2024", "December 25, 2024"],
        ["05.12.2024 00:00", "25.12.2024 00:00:00"],
    ],
    ids=lambda cells: cells[0],
)
def test_dates(cells):
    table, said = cleaned({"a": [*cells, None, "?"]})
    assert table["a"] == [DAY, DAY.replace(day=25), None, None]
    assert f"{cells[0]!r} in 'a' as 2024-12-05" in said


def test_day_and_month():
    unclear = {"a": ["5/12/2024", "6/12/2024"]}
    with pytest.raises(UpstairsError, match=r"t.csv holds '5/12/2024' in 'a', which may be either of two dates: .* --dates"):
        cleaned(unclear)
    assert cleaned(unclear, dates="day-first")[0]["a"][0] == DAY
    assert cleaned(unclear, dates="month-first")[0]["a"][0] == datetime.datetime(2024, 5, 12)
    other = {"b": ["25/12/2024", "5/12/2024"]}
    assert cleaned(unclear | other)[0]["a"][0] == DAY  # another column tells
    assert cleaned({"a": ["5/5/2024", "6/6/2024"]})[0]["a"][0] == datetime.datetime(2024, 5, 5)
    with pytest.raises(UpstairsError, match="either of two dates"):
        cleaned(unclear | other | {"c": ["12/25/2024", "12/24/2024"]})


def test_names_keep_their_look_but_lose_blanks():
    table, said = cleaned({"store": ["007", "12 ", " "], "kind": ["a ", "a", "b"]}, text=["store"])
    assert table == {"store": ["007", "12", None], "kind": ["a", "a", "b"]}
    assert said == "t.csv: blanks around the text in 'store', 'kind' are taken away."


def test_headers_and_empty_rows_go():
    table = pa.table({"a": ["1", "a ", None, "2"], "b": ["x", "b", None, None]})
    with pytest.warns(UpstairsWarning, match=r"t\.csv: the header stands in 1 more row, left out"):
        table = without_headers(table, "t.csv")
    with pytest.warns(UpstairsWarning, match=r"t\.csv: 1 row without any value left out"):
        table = without_empty_rows(table, "t.csv")
    assert table.to_pydict() == {"a": ["1", "2"], "b": ["x", None]}
    numbers = pa.table({"a": np.arange(3), "2020": [2020, 1, 2]})
    assert without_headers(numbers, "t.csv") is without_empty_rows(numbers, "t.csv") is numbers
