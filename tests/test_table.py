"""The door: every kind of table becomes the same numbers, and what can't become numbers gets one telling sentence."""

import datetime as dt
import json
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from conftest import TABLE_KINDS, make_table
from upstairs import table as door
from upstairs.errors import UpstairsError, UpstairsWarning
from upstairs.table import Columns

NAMED_KINDS = [kind for kind in TABLE_KINDS if kind != "ndarray"]
N = 12
BERLIN = "Europe/Berlin"


def encode(X, at=None):
    return Columns.learn(X).encode(X if at is None else at)


def objects(*values):
    array = np.empty(len(values), object)
    array[:] = values
    return array


@st.composite
def columns_of_a_table(draw):
    n = draw(st.integers(1, 8))
    cells = {
        "number": st.floats(-1e9, 1e9) | st.just(np.nan),
        "count": st.integers(-(2**53), 2**53),
        "flag": st.booleans(),
        "word": st.sampled_from(["a", "b", "ä b", "1"]) | st.none(),
    }
    kinds = draw(st.lists(st.sampled_from(sorted(cells)), min_size=1, max_size=5))
    return {f"{kind} {j}": draw(st.lists(cells[kind], min_size=n, max_size=n)) for j, kind in enumerate(kinds)}


def typed(columns):
    """A column of text without any text is still one of text, where a table can say so."""
    return {name: pd.array(values, dtype="str") if name.startswith("word") else values for name, values in columns.items()}


@settings(deadline=None, max_examples=60)
@given(columns_of_a_table(), st.sampled_from(NAMED_KINDS))
def test_every_kind_of_table_encodes_the_same(columns, kind):
    reference = Columns.learn(pd.DataFrame(typed(columns)))
    X = make_table(kind, columns)
    Z = reference.encode(X)
    assert Z.dtype == np.float32 and Z.flags.c_contiguous
    assert_array_equal(Z, reference.encode(pd.DataFrame(typed(columns))))
    if not any(all(value is None for value in values) for values in columns.values()):
        assert Columns.learn(X) == reference
        array = Columns.learn(make_table("ndarray", columns))
        assert_array_equal(array.encode(make_table("ndarray", columns)), Z)
        assert_array_equal(array.levels, reference.levels)


@settings(deadline=None, max_examples=40)
@given(columns_of_a_table(), st.sampled_from(NAMED_KINDS), st.randoms())
def test_the_order_of_columns_is_irrelevant(columns, kind, random):
    learned = Columns.learn(make_table(kind, columns))
    shuffled = dict(random.sample(sorted(columns.items()), len(columns)))
    assert_array_equal(learned.encode(make_table(kind, shuffled)), learned.encode(make_table(kind, columns)))


@settings(deadline=None, max_examples=60)
@given(columns_of_a_table(), st.sampled_from(TABLE_KINDS))
def test_the_manifest_is_exact(columns, kind):
    X = make_table(kind, columns)
    learned = Columns.learn(X)
    again = Columns.from_manifest(json.loads(json.dumps(learned.to_manifest())))
    assert again == learned and again.features == learned.features
    assert_array_equal(again.encode(X), learned.encode(X))


@settings(deadline=None, max_examples=40)
@given(columns_of_a_table(), st.sampled_from(TABLE_KINDS))
def test_missing_stays_missing(columns, kind):
    missing = [[value is None or value != value for value in values] for values in columns.values()]
    assert_array_equal(np.isnan(encode(make_table(kind, columns))), np.transpose(missing))


def test_numbers_are_centred_and_scaled(table_kind):
    x, count, flag = np.array([1.0, 2.0, np.nan, 6.0]), np.array([3, 5, 5, 7]), np.array([True, False, False, True])
    Z = encode(table_kind({"x": x, "count": count, "flag": flag}))
    expected = [(x - 3) / np.std([1, 2, 6]), (count - 5) / np.sqrt(2), (flag - 0.5) / 0.5]
    np.testing.assert_allclose(Z, np.transpose(expected), rtol=1e-6)


def test_constant_and_empty_columns(table_kind):
    X = {"same": np.full(7, 0.1), "none": np.full(7, np.nan)}
    learned = Columns.learn(table_kind(X))
    Z = learned.encode(table_kind(X | {"same": np.arange(7.0) + 0.1}))
    np.testing.assert_allclose(Z[:, 0], np.arange(7), atol=1e-6)
    assert np.isnan(Z[:, 1]).all()


@pytest.mark.parametrize("empty", [pl.Series([None, None]), pa.nulls(2), pd.Series([None, None], dtype=object)], ids=type)
def test_a_column_without_any_type_is_an_empty_one(empty):
    table = pa.table({"a": empty}) if isinstance(empty, pa.Array) else empty.to_frame("a")
    assert_array_equal(encode(table), [[np.nan], [np.nan]])


def test_far_out_values_are_clipped():
    learned = Columns.learn(np.array([[0.0], [1e-250]]))
    assert_array_equal(learned.encode(np.array([[1e90], [-1e90]])), np.float32([[1e6], [-1e6]]))


def test_blocks_make_no_difference(monkeypatch):
    X = np.random.default_rng(0).normal(size=(50, 7))
    whole = encode(X)
    monkeypatch.setattr(door, "BLOCK", 100)
    assert_array_equal(encode(X), whole)


@pytest.mark.parametrize(
    "column",
    [
        objects(Decimal("1.5"), None, Decimal("2.5")),
        objects(1.5, Decimal("NaN"), Decimal("2.5")),
        objects(1.5, pd.NA, np.float32(2.5)),
        np.array([1.5, np.nan, 2.5], np.longdouble),
        pd.array([1.5, None, 2.5], dtype="double[pyarrow]"),
        pa.array([Decimal("1.5"), None, Decimal("2.5")]),
        pl.Series([Decimal("1.5"), None, Decimal("2.5")]),
        pd.arrays.SparseArray([1.5, np.nan, 2.5]),
    ],
    ids=lambda column: type(column).__name__,
)
def test_numbers_of_all_types(column):
    table = pa.table({"a": column}) if isinstance(column, pa.Array) else pd.DataFrame({"a": column})
    table = pl.DataFrame({"a": column}) if isinstance(column, pl.Series) else table
    assert_array_equal(encode(table), [[-1], [np.nan], [1]])
    assert Columns.learn(table).levels.tolist() == [0]


def test_bools_among_integers_are_numbers():
    assert_array_equal(encode(objects(True, 3)[:, None]), [[-1], [1]])


def test_big_integers():
    big = 2**60
    for table in (pa.table({"a": [big + 1, big + 2**12]}), pl.DataFrame({"a": [2**64 - 1, 0]}), objects(2**70, 0)[:, None]):
        assert np.isfinite(encode(table)).all()


LETTERS = ["b", "b", "b", "a", "a", "c", "c", None, "d"]  # a and c tie; d is rare
LETTER_CODES = np.float32([[0], [0], [0], [1], [1], [2], [2], [np.nan], [3]])
LETTER_TABLES = {
    "pandas text": pd.DataFrame({"x": LETTERS}),
    "pandas string": pd.DataFrame({"x": pd.array(LETTERS, dtype="string")}),
    "pandas object": pd.DataFrame({"x": pd.Series(LETTERS, dtype=object)}),
    "pandas category": pd.DataFrame({"x": pd.Categorical(LETTERS, categories=list("zdcba"))}),
    "pandas arrow": pd.DataFrame({"x": pd.array(LETTERS, dtype=pd.ArrowDtype(pa.dictionary(pa.int32(), pa.string())))}),
    "polars text": pl.DataFrame({"x": LETTERS}),
    "polars category": pl.DataFrame({"x": pl.Series(LETTERS, dtype=pl.Categorical)}),
    "polars enum": pl.DataFrame({"x": pl.Series(LETTERS, dtype=pl.Enum(list("zdcba")))}),
    "polars objects": pl.DataFrame({"x": pl.Series(LETTERS, dtype=pl.Object)}),
    "arrow text": pa.table({"x": LETTERS}),
    "arrow chunks": pa.table({"x": pa.chunked_array([pa.array(LETTERS[i : i + 3]).dictionary_encode() for i in (0, 3, 6)])}),
    "objects": objects(*LETTERS)[:, None],
    "list": [[letter] for letter in LETTERS],
}


@pytest.mark.parametrize("learned", LETTER_TABLES)
def test_categories_of_all_types(learned):
    columns = Columns.learn(LETTER_TABLES[learned])
    assert columns.levels.tolist() == [4]
    for at, table in LETTER_TABLES.items():
        if columns.named != (at not in ("objects", "list")):
            with pytest.warns(UpstairsWarning, match="by their position"):
                assert_array_equal(columns.encode(table), LETTER_CODES)
        else:
            assert_array_equal(columns.encode(table), LETTER_CODES)


def test_levels_unseen_or_too_many(monkeypatch):
    assert_array_equal(encode(pa.table({"x": ["a", "a"]}), pa.table({"x": ["a", "new"]})), [[0], [1]])
    assert Columns.learn(pa.table({"x": ["a", "b"]})).levels.tolist() == [1]
    assert_array_equal(encode(pa.table({"x": ["a", "b"]})), [[0], [0]])
    monkeypatch.setattr(door, "MOST_LEVELS", 2)
    assert_array_equal(encode(pa.table({"x": list("aaabbbcc")})).ravel(), [0, 0, 0, 1, 1, 1, 2, 2])


@pytest.mark.parametrize(
    ("values", "text"),
    [([1, 2, 2, 1, 3], "12213"), ([True, False, False, True, True], ["True", "False", "False", "True", "True"])],
)
def test_categories_that_are_not_text(values, text):
    learned = Columns.learn(pd.DataFrame({"x": pd.Categorical(values)}))
    expected = learned.encode(pd.DataFrame({"x": pd.Categorical(values)}))
    assert set(expected.ravel()) >= {0, 1}
    for table in (
        pl.DataFrame({"x": list(text)}),
        pd.DataFrame({"x": values}),
        pa.table({"x": values}),
        pl.DataFrame({"x": values}),
    ):
        assert_array_equal(learned.encode(table), expected)


def test_integer_levels_that_became_floats_or_mixed():
    learned = Columns.learn(pd.DataFrame({"x": pd.Categorical([1, 1, 2, 2])}))
    for X in (
        pd.DataFrame({"x": [2.0, np.nan, 1.0]}),
        pl.DataFrame({"x": [2.0, np.nan, 1.0]}),
        pd.DataFrame({"x": objects("2", None, 1.0)}),
    ):
        assert_array_equal(learned.encode(X), [[1], [np.nan], [0]])


def test_categories_of_dates():
    days = pd.to_datetime(["2024-01-01", "2024-01-02", "2024-01-02", None])
    learned = Columns.learn(pd.DataFrame({"x": pd.Categorical(days)}))
    for column in (days, ["2024-01-01", "2024-01-02", "2024-01-02", None], [None if d is pd.NaT else d.date() for d in days]):
        assert_array_equal(learned.encode(pd.DataFrame({"x": column})), [[1], [0], [0], [np.nan]])


WHEN = [dt.datetime(1969, 12, 31, 18), dt.datetime(2024, 2, 29), None, dt.datetime(2024, 7, 1, 6)]
MEASURES = {
    "days": [-0.25, 19782, np.nan, 19905.25],
    "month": [12, 2, np.nan, 7],
    "weekday": [2, 3, np.nan, 0],
    "hour": [18, 0, np.nan, 6],
}
M8 = np.array(WHEN, "M8[us]")
DATE_TABLES = {
    "pandas": pd.DataFrame({"t": pd.to_datetime(WHEN)}),
    "pandas zone": pd.DataFrame({"t": pd.to_datetime(WHEN).tz_localize(BERLIN)}),
    "pandas arrow": pd.DataFrame({"t": pd.array(WHEN, dtype=pd.ArrowDtype(pa.timestamp("ns")))}),
    "pandas objects": pd.DataFrame({"t": objects(*WHEN)}),
    "polars": pl.DataFrame({"t": WHEN}),
    "polars zone": pl.DataFrame({"t": pl.Series(WHEN).dt.replace_time_zone(BERLIN)}),
    "arrow": pa.table({"t": pa.array(WHEN, pa.timestamp("ms"))}),
    "ndarray": M8.astype("M8[h]")[:, None],
    "numpy objects": objects(*M8)[:, None],
}


def standard(values):
    values = np.array(values, float)
    return (values - np.nanmean(values)) / np.nanstd(values)


@pytest.mark.parametrize("kind", DATE_TABLES)
def test_dates(kind):
    learned = Columns.learn(DATE_TABLES[kind])
    name = learned.names[0]
    assert [feature.name for feature in learned.features] == [f"{name} ({part})" for part in MEASURES]
    assert {feature.column for feature in learned.features} == {name} and not learned.levels.any()
    expected = np.transpose([standard(values) for values in MEASURES.values()])
    np.testing.assert_allclose(learned.encode(DATE_TABLES[kind]), expected, rtol=1e-6)


@pytest.mark.parametrize(
    "column",
    [pl.Series([dt.date(2024, 1, 1), None]), pa.array([dt.date(2024, 1, 1), None]), objects(dt.date(2024, 1, 1), None)],
    ids=type,
)
def test_dates_without_a_time_have_no_hour(column):
    table = pl.DataFrame({"t": column}) if isinstance(column, pl.Series) else pa.table({"t": pa.array(column)})
    learned = Columns.learn(table)
    assert [feature.name for feature in learned.features] == ["t (days)", "t (month)", "t (weekday)"]
    assert_array_equal(learned.encode(pl.DataFrame({"t": [dt.datetime(2024, 1, 3, 12)]})), [[2.5, 0, 2]])


def test_clocks_of_another_zone_are_set_right():
    local = pd.DataFrame({"t": pd.to_datetime(["2024-07-01 08:00", "2024-01-01 20:00"]).tz_localize(BERLIN)})
    learned = Columns.learn(local)
    for zone in ("UTC", "Asia/Tokyo"):
        assert_array_equal(learned.encode(local.assign(t=local.t.dt.tz_convert(zone))), learned.encode(local))
    assert_array_equal(learned.encode(local.assign(t=local.t.dt.tz_localize(None))), learned.encode(local))


def test_times_and_durations():
    X = {"at": [dt.time(6, 30), None, dt.time(18, 30)], "for": [dt.timedelta(hours=12), None, dt.timedelta(days=-1)]}
    learned = Columns.learn(pa.table(X))
    assert [feature.name for feature in learned.features] == ["at (hour)", "for (days)"]
    assert [column.means for column in learned.columns] == [(12.5,), (-0.25,)]
    Z = [[-1, 1], [np.nan, np.nan], [1, -1]]
    assert_array_equal(learned.encode(pa.table(X)), Z)
    assert_array_equal(learned.encode(pl.DataFrame(X)), Z)
    assert_array_equal(learned.encode(pa.table(X).to_pandas(types_mapper=pd.ArrowDtype)), Z)


def test_times_among_pandas_objects():
    assert_array_equal(encode(pd.DataFrame({"at": [dt.time(6, 30), None, dt.time(18, 30)]})), [[-1], [np.nan], [1]])


def test_numbers_around_zero_are_measured_from_zero():
    x = np.random.default_rng(0).normal(0.01, 2, 400)
    (column,) = Columns.learn(pd.DataFrame({"x": x})).columns
    assert column.means == (0.0,) and column.sds == pytest.approx((x.std(),))
    for elsewhere in (x + 1, np.abs(x), x[x > -0.1], x[:20]):  # beside 0, on one side of it, almost so, too few
        (column,) = Columns.learn(pd.DataFrame({"x": elsewhere})).columns
        assert column.means == pytest.approx((elsewhere.mean(),))


def test_names_on_one_side_only():
    X = pd.DataFrame({"a": [1.0, 2.0], "b": [0.0, 4.0]})
    named, nameless = Columns.learn(X), Columns.learn(X.to_numpy())
    assert named.named and named.names == ("a", "b")
    assert not nameless.named and nameless.names == ("x0", "x1")
    with pytest.warns(
        UpstairsWarning, match="X does not have valid feature names, but upstairs was fitted with feature names: 'a', 'b'"
    ):
        Z = named.encode(X.to_numpy())
    with pytest.warns(UpstairsWarning, match="X has feature names, but upstairs was fitted without feature names"):
        assert_array_equal(nameless.encode(X), Z)
    assert_array_equal(named.encode(X), Z)


def test_columns_that_were_not_there_in_fit():
    X = pd.DataFrame({"a": [1.0, 2.0]})
    extra = X.assign(**{name: [[1], {}] for name in "bcdefgh"})
    with pytest.warns(UpstairsWarning) as caught:
        assert_array_equal(Columns.learn(X).encode(extra), encode(X))
    assert [str(w.message) for w in caught] == ["X has columns that weren't there in fit, ignored: 'b', 'c', 'd', 'e', 'f', …."]


def test_columns_numbered_by_pandas():
    learned = Columns.learn(pd.DataFrame(np.eye(3)))
    assert learned.names == ("0", "1", "2") and learned.named
    assert_array_equal(
        learned.encode(pd.DataFrame(np.eye(3)[:, ::-1], columns=[2, 1, 0])), learned.encode(pd.DataFrame(np.eye(3)))
    )


def test_no_rows_at_encode(table_kind):
    learned = Columns.learn(table_kind({"a": [1.0, 2.0], "b": ["u", "v"]}))
    assert learned.encode(table_kind({"a": np.array([], float), "b": np.array([], object)})).shape == (0, 2)


def test_the_users_data_is_left_alone():
    X = np.random.default_rng(0).normal(size=(5, 3))
    X.setflags(write=False)
    encode(X)
    encode(pd.DataFrame(X))


DAY = dt.date(2024, 1, 1)
FIT = pd.DataFrame({"price": [1.0, 2.0], "day": pd.to_datetime([DAY, DAY]), "kind": ["a", "a"]})
CHANGED = {
    "text": ({"price": ["1.5", "n/a"]}, "Column 'price' was numeric in fit but holds text here: 'n/a' in row 1 (1 row in all). "
        "Replace the text by an empty value, or drop those rows."),
    "text among objects": ({"price": ["n/a", 2]}, "holds text here: 'n/a' in row 0 (1 row in all)"),
    "numbers as text": ({"price": ["1", "2"]}, "holds numbers written as text here: '1' in row 0 (2 rows in all). "
        "Convert the column to numbers."),
    "dates": ({"price": [DAY, DAY]}, "'price' was numeric in fit but holds dates here: 2024-01-01 in row 0 (2 rows in all)"),
    "text for dates": ({"day": [None, "soon"]}, "'day' held dates in fit but holds text here: 'soon' in row 1 (1 row in all). "
        "Convert the column to dates."),
    "numbers for dates": ({"day": [3, 4]}, "Column 'day' held dates in fit but holds numbers here: 3 in row 0"),
    "infinity": ({"price": [np.inf, 1]}, "Column 'price' holds infinity in row 0"),
    "huge": ({"price": [1, -1e101]}, "Column 'price' holds -1e+101 in row 1"),
}  # fmt: skip


@pytest.mark.parametrize("case", CHANGED)
def test_columns_that_changed(case):
    columns, words = CHANGED[case]
    with pytest.raises(UpstairsError) as caught:
        Columns.learn(FIT).encode(FIT.assign(**columns))
    assert words in str(caught.value)


def test_columns_that_are_empty_now_or_numbers_in_other_clothes():
    learned, Z = Columns.learn(FIT), encode(FIT)
    assert np.isnan(learned.encode(FIT.assign(price=pd.array([None, None], "str"), day=np.nan, kind=None))).all()
    assert_array_equal(learned.encode(FIT.assign(price=pd.Categorical([1, 2]))), Z)
    assert_array_equal(learned.encode(FIT.assign(price=objects(True, Decimal(2)), day=objects(DAY, DAY))), Z)


def test_columns_that_are_missing():
    with pytest.raises(
        UpstairsError, match=r"lacks columns that were there in fit: 'price' \(did you mean 'Price'\?\), 'kind'\."
    ):
        Columns.learn(FIT).encode(FIT.rename(columns={"price": "Price", "kind": "x"}))
    with pytest.raises(UpstairsError, match=r"X has 1 features, but \w+ is expecting 3 features as input\."):
        Columns.learn(FIT).encode(np.ones((2, 1)))


def test_text_that_holds_numbers_is_told_of():
    prices = [f"{i},50 €" for i in range(25)]
    with pytest.warns(UpstairsWarning, match=r"Column 'price' holds numbers written as text \('0,50 €'\), and is taken for a"):
        Columns.learn(pd.DataFrame({"price": prices}))
    names = {"few": ["1", "2"] * 13, "codes": [f"0{i:02}" for i in range(26)], "words": [f"name {i}" for i in range(26)]}
    Columns.learn(pd.DataFrame(names))
    Columns.learn(pd.DataFrame({"chosen": pd.Categorical([str(i) for i in range(26)])}))
