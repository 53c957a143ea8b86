"""Tables that can't be used, targets and ids of every kind, and predictions that leave as they were asked."""

import datetime as dt
import subprocess
import sys
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse
from numpy.testing import assert_array_equal

from upstairs.errors import UpstairsError
from upstairs.frames import Lists, answer, row_count
from upstairs.table import Columns, read_groups, read_target


def objects(*values):
    array = np.empty(len(values), object)
    array[:] = values
    return array


DAY = dt.date(2024, 1, 1)
UNUSABLE = {
    "no rows": (pd.DataFrame({"a": []}), r"0 sample\(s\) \(shape=\(0, 1\)\) while a minimum of 1 is required"),
    "no columns": (np.empty((3, 0)), r"0 feature\(s\) \(shape=\(3, 0\)\) while a minimum of 1 is required"),
    "a row": (np.ones(3), "Reshape your data"),
    "a number": (np.float64(3), "Reshape your data"),
    "a Series": (pd.Series([1.0]), "Reshape your data"),
    "three dimensions": (np.ones((2, 2, 2)), r"\(2, 2, 2\)"),
    "ragged rows": ([[1, 2], [3]], "different lengths"),
    "names twice": (pd.DataFrame(np.ones((2, 3)), columns=["a", "b", "a"]), "more than one column 'a'"),
    "names twice in Arrow": (pa.table([pa.array([1])] * 2, names=["a", "a"]), "more than one column 'a'"),
    "mixed names": (pd.DataFrame(np.ones((2, 2)), columns=["a", 1]), "named 1 .int.*must be text"),
    "two rows of names": (pd.DataFrame(np.ones((1, 1)), columns=pd.MultiIndex.from_tuples([("a", "b")])), "must be text"),
    "complex": (np.ones((2, 2)) * 1j, "Complex data not supported.*'x0'"),
    "complex in pandas": (pd.DataFrame({"a": [1j]}), "Complex data not supported.*'a'"),
    "sparse": (scipy.sparse.csr_array(np.eye(2)), "sparse"),
    "a lazy frame": (pl.LazyFrame({"a": [1]}), r"\.collect\(\)"),
    "a path": ("rows.csv", "'rows.csv'.*command"),
    "a dict": ({"a": [1]}, "dict.*DataFrame"),
    "nothing": (None, "NoneType.*DataFrame"),
    "lists": (pd.DataFrame({"a": [1, 2], "b": [[1], [2]]}), "'b'.*list.*must hold"),
    "lists in polars": (pl.DataFrame({"b": [[1], [2]]}), "'b'.*list"),
    "structs": (pa.table({"b": [{"c": 1}]}), "'b'.*struct"),
    "blobs": (pl.DataFrame({"b": [b"x"]}), "'b'.*binary"),
    "blobs in an ndarray": (np.array([[b"x"]]), "'x0'.*binary"),
    "a dict among numbers": (objects(1.0, {"a": 1})[:, None], "'x0' holds a dict in row 1"),
    "periods": (pd.DataFrame({"b": pd.period_range("2024", periods=2)}), "'b'.*period"),
    "text among numbers": (
        pd.DataFrame({"b": [1.5, None, "n/a"]}),
        "'b' holds numbers .1.5 in row 0. as well as text .'n/a' in row 2.",
    ),
    "text among numbers in a list": ([[1.5], ["n/a"]], "'x0' holds numbers .1.5 in row 0. as well as text .'n/a' in row 1."),
    "dates among numbers": (objects(1, DAY)[:, None], "'x0'.*numbers .1 in row 0. as well as dates .2024-01-01 in row 1."),
    "infinity": (pl.DataFrame({"b": [1.0, -np.inf]}), "'b' holds infinity in row 1"),
    "infinity among objects": (objects(1, Decimal("inf"))[:, None], "'x0' holds infinity in row 1"),
    "huge": (np.array([[1, 2], [3, 1e200]]), r"'x1' holds 1e\+200 in row 1.*rescale"),
}


@pytest.mark.parametrize("case", UNUSABLE)
def test_unusable_tables(case):
    X, words = UNUSABLE[case]
    with pytest.raises(UpstairsError, match=words) as caught:
        Columns.learn(X)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "kind",
    [list, np.array, pd.Series, pd.Index, pl.Series, pa.array, lambda v: pd.DataFrame({"y": v})],
    ids=lambda kind: kind.__name__,
)
@pytest.mark.parametrize(
    ("values", "dtype"),
    [([3, 2**60 + 1], "i"), ([0.5, 2.0], "f"), (["b", "a"], "O"), ([True, False], "b"), ([dt.datetime(2024, 1, 1)] * 2, "M")],
    ids=str,
)
def test_vectors(kind, values, dtype):
    for read in (read_target, read_groups):
        got = read(kind(values), 2)
        assert got.dtype.kind == dtype and got.astype("M8[us]" if dtype == "M" else got.dtype).tolist() == values


@pytest.mark.parametrize(
    "column",
    [pd.Categorical([3, 1]), pd.array([3, 1], "Int64"), objects(3, 1), pl.Series(["3", "1"], dtype=pl.Categorical)],
    ids=type,
)
def test_ids_are_their_values(column):
    assert read_groups(column, 2).astype(int).tolist() == [3, 1]


def test_a_target_may_miss_values():
    assert_array_equal(read_target(pd.array([1, None], "Int64"), 2), [1, np.nan])
    assert_array_equal(read_target([Decimal("1.5"), None], 2), [1.5, np.nan])
    assert read_target(["a", None], 2).tolist() == ["a", None]


BAD_GROUPS = {
    "None": (["a", None, None], "groups is missing in 2 of 3 rows, the first of them row 1"),
    "NaN": (np.array([1, 2, np.nan]), "1 of 3 rows, the first of them row 2"),
    "NaN in polars": (pl.Series([np.nan, 2.0, 3.0]), "1 of 3 rows.*row 0"),
    "NA": (pd.array(["a", pd.NA, "b"]), "1 of 3 rows.*row 1"),
    "NaT": (pd.to_datetime(["2024", None, "2024"]), "1 of 3 rows.*row 1"),
    "two kinds": ([1, "b", 2], "groups.*numbers .1 in row 0. as well as text .'b' in row 1."),
    "too short": ([1, 2], "groups has 2 values, but X has 3 rows"),
    "the name of a column": ("store", "groups should be a 1d array.*'store'"),
    "nothing": (None, "groups should be a 1d array.*None"),
    "a table": (np.ones((3, 2)), r"groups should be a 1d array.*\(3, 2\)"),
    "lists": ([[1], [2, 3], [4]], "different lengths"),
}


@pytest.mark.parametrize("case", BAD_GROUPS)
def test_bad_groups(case):
    groups, words = BAD_GROUPS[case]
    with pytest.raises(UpstairsError, match=words):
        read_groups(groups, 3)


def test_a_column_vector_is_taken_with_scikit_learns_warning():
    from sklearn.exceptions import DataConversionWarning

    with pytest.warns(DataConversionWarning, match="A column-vector y was passed when a 1d array was expected"):
        assert read_target(np.ones((3, 1)), 3).shape == (3,)


def test_answers(table_kind):
    X = table_kind({"a": [1.0, 2.0, 3.0]})
    assert row_count(X) == 3
    for values in (np.array([0.5, 1, 2]), np.array(["u", "v", "u"], object), np.array(["u", "v", "u"])):
        out = answer(X, values, "p")
        assert type(out).__module__.split(".")[0] == type(X).__module__.split(".")[0]
        assert_array_equal(np.asarray(out), values)
        assert getattr(out, "name", "p") == "p"
    table = answer(X, np.eye(3)[:, :2], ["lower", "upper"])
    assert type(table) is type(X)
    assert list(getattr(table, "column_names", getattr(table, "columns", ["lower", "upper"]))) == ["lower", "upper"]
    assert_array_equal(np.asarray(table), np.eye(3)[:, :2])


def test_answers_keep_the_index_of_pandas():
    X = pd.DataFrame({"a": [1.0, 2.0]}, index=["u", "v"])
    assert answer(X, np.ones(2), "p").index.tolist() == answer(X, np.ones((2, 2))).index.tolist() == ["u", "v"]


def test_the_door_loads_no_dataframe_package():
    program = "import sys, upstairs.table; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert "pyarrow" in loaded and not {"pandas", "polars", "sklearn", "lightgbm", "numba"} & set(loaded)


def test_lists_say_the_same_as_a_table():
    """Columns as JSON brings them take a short way to numbers; where it leads, no table would lead elsewhere."""
    values = {
        "number": [1, 2.5, None, True],
        "whole": [1, 2, 3, 4],
        "text": ["a", None, "b", "a"],
        "mixed": ["a", 1, None, 2.5],
        "none": [None] * 4,
        "date": [dt.datetime(2026, 1, 31, 14), None, dt.datetime(2026, 2, 1), dt.datetime(2025, 1, 1)],
    }
    table = pa.table({**values, "number": [1.0, 2.5, None, 1.0], "mixed": ["a", "1", None, "2.5"]})
    columns = Columns.learn(table)
    assert_array_equal(columns.encode(Lists(values)), columns.encode(table))
    reverse = Lists(dict(reversed(values.items())))
    assert_array_equal(columns.encode(reverse), columns.encode(table))
    assert answer(reverse, np.arange(4)).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"x": [1.0, 2.0], "z": [1.0]}, "Column 'z' has 1 values, but 'x' has 2"),
        ({"x": [1.0, 10**400]}, "Column 'x' holds infinity in row 1"),
        ({"x": [-(10**400), 1.0]}, "Column 'x' holds infinity in row 0"),
        ({"x": [1.0, "dear"]}, "'dear' in row 1"),
        ({"z": [1.0]}, "lacks columns"),
    ],
)
def test_lists_that_cannot_be_used(values, words):
    columns = Columns.learn(pa.table({"x": [1.0, 2.0, 3.0]}))
    with pytest.raises(UpstairsError, match=words):
        columns.encode(Lists(values))


def test_the_row_of_an_ndarray_is_named_however_far_down():
    X = np.ones((70_000, 2))
    X[69_000, 1] = np.inf
    with pytest.raises(UpstairsError, match="Column 'x1' holds infinity in row 69000"):
        Columns.learn(np.ones((2, 2))).encode(X)
