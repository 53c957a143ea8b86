"""Encoded rows become the columns that they came from again."""

import datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from upstairs.decoding import decode
from upstairs.table import Columns

N = 400


def frame(seed=0):
    rng = np.random.default_rng(seed)
    kinds = rng.choice(["mall", "street", "a level that is rare"], N, p=[0.6, 0.39, 0.01]).astype(object)
    kinds[:3] = ["alone", "also alone", None]
    day = pd.Timestamp("2021-03-01") + pd.to_timedelta(rng.integers(0, 3000, N), "D")
    return pd.DataFrame(
        {
            "price": np.where(rng.random(N) < 0.1, np.nan, rng.integers(100, 400, N) / 100),
            "exact": rng.normal(1e6, 3e4, N),
            "count": rng.integers(0, 10**6, N),
            "open": rng.random(N) < 0.3,
            "same": np.full(N, 7.5),
            "kind": kinds,
            "day": day.date,
            "sold": day + pd.to_timedelta(rng.integers(0, 86_400, N), "s"),
            "closes": [
                datetime.time(int(h), int(m)) for h, m in zip(rng.integers(0, 24, N), rng.integers(0, 60, N), strict=True)
            ],
            "lasts": pd.to_timedelta(rng.integers(0, 9000, N) / 4, "D"),
        }
    )


def test_a_table_comes_back():
    table = frame()
    columns = Columns.learn(table)
    back = decode(columns, columns.encode(table)).to_pandas()
    assert list(back) == list(table)
    for name in ("price", "count", "open", "same"):
        np.testing.assert_array_equal(back[name], table[name].astype(float))
    np.testing.assert_allclose(back["exact"], table["exact"], rtol=1e-7)
    assert back["kind"].tolist()[3:] == table["kind"].tolist()[3:]
    assert back["kind"].isna().tolist() == table["kind"].isna().tolist()
    assert back["day"].tolist() == table["day"].tolist()
    assert (back["sold"] == table["sold"]).all()
    assert back["closes"].tolist() == table["closes"].tolist()
    assert (back["lasts"] - table["lasts"]).abs().max() < pd.Timedelta("1ms")


def test_whoever_learns_from_it_learns_the_same():
    table = frame(1)
    columns = Columns.learn(table)
    Z = columns.encode(table)
    back = decode(columns, Z)
    again = Columns.learn(back)
    assert [column.levels for column in again.columns] == [column.levels for column in columns.columns]
    assert [column.kind for column in again.columns] == [column.kind for column in columns.columns]
    np.testing.assert_allclose(columns.encode(back), Z, atol=2e-6)
    np.testing.assert_allclose(again.encode(back), Z, atol=2e-6)


def test_a_date_is_what_the_clock_showed():
    moments = pa.array(np.arange(0, 10**9, 10**7), pa.timestamp("s", "UTC")).cast(pa.timestamp("s", "Europe/Berlin"))
    table = pa.table({"at": moments})
    columns = Columns.learn(table)
    back = decode(columns, columns.encode(table))["at"].to_pylist()
    assert back == [moment.replace(tzinfo=None) for moment in moments.to_pylist()]


def test_empty_columns_and_no_rows():
    table = pd.DataFrame({"x": [np.nan, np.nan], "day": pd.to_datetime(["2024-01-01", None])})
    columns = Columns.learn(table)
    Z = columns.encode(table)
    assert decode(columns, Z)["x"].null_count == 2
    assert decode(columns, Z)["day"].to_pylist() == [datetime.date(2024, 1, 1), None]
    assert decode(columns, Z[:0]).num_rows == 0


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(-1e9, 1e9) | st.integers(-(10**6), 10**6).map(lambda cents: cents / 100), min_size=2, max_size=30))
def test_numbers_come_back_as_float32_holds_them(values):
    table = pd.DataFrame({"x": values})
    columns = Columns.learn(table)
    back = decode(columns, columns.encode(table))["x"].to_numpy()
    np.testing.assert_allclose(back, values, atol=1e-6 * max(np.std(values), 1e-6 * np.abs(values).max(), 1e-9))


@pytest.mark.parametrize("decimals", [0, 1, 2])
def test_money_is_money_again(decimals):
    values = np.round(np.random.default_rng(0).uniform(0, 500, 300), decimals)
    columns = Columns.learn(values[:, None])
    assert decode(columns, columns.encode(values[:, None]))["x0"].to_pylist() == values.tolist()
