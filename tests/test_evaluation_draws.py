"""Which rows are support, query, known and unseen."""

import datetime

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn.model_selection import GroupKFold, GroupShuffleSplit, KFold

from upstairs.errors import UpstairsError
from upstairs.evaluation.draws import SHOTS, check_shots, draw_rows, read_order
from upstairs.evaluation.folds import hold_out_tasks, make_folds
from upstairs.frames import take_rows


def draw_of(sizes, order=None, seed=0):
    groups = np.repeat(np.arange(len(sizes)), sizes)
    shuffled = np.random.default_rng(seed).permutation(groups)
    return draw_rows(shuffled, order, np.random.default_rng(seed))


def test_supports_are_nested_and_never_query():
    draw = draw_of([20, 8, 3, 1])
    one, five, all_ = (set(np.flatnonzero(draw.support(s))) for s in (1, 5, 50))
    assert (len(one), len(five), len(all_)) == (3, 5 + 4 + 1, 10 + 4 + 1)
    assert one < five < all_
    assert not all_ & set(np.flatnonzero(draw.query))
    assert draw.query.sum() + len(all_) == 32
    assert np.bincount(draw.task[draw.held], minlength=4).tolist() == [4, 1, 0, 0]
    assert draw.query[draw.held].all()


def test_at_most_200_rows_are_query():
    draw = draw_of([1000])
    assert draw.query.sum() == 200
    assert draw.support(10_000).sum() == 500


def test_the_same_seed_draws_the_same_rows():
    a, b, c = (
        draw_of([30, 30], seed=0),
        draw_of([30, 30], seed=0),
        draw_rows(np.repeat([0, 1], 30), None, np.random.default_rng(1)),
    )
    assert (a.rank == b.rank).all()
    assert not (a.rank[:30] == c.rank[:30]).all()


@pytest.mark.parametrize("shots", [1, 3, 7])
def test_no_query_precedes_a_support_row(shots):
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 12, 300)
    when = rng.permutation(300).astype("M8[D]")
    draw = draw_rows(groups, read_order(when, groups[:, None], groups), rng)
    for task in range(12):
        support, query = (when[(draw.task == task) & part] for part in (draw.support(shots), draw.query))
        assert len(support) == shots
        assert support.max() < query.min()
        between = (when[draw.task == task] > support.min()) & (when[draw.task == task] < query.min())
        assert between.sum() == shots - 1  # the rows right before the query


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, pa.table])
def test_order_is_a_column_of_any_table(make):
    day = [datetime.date(2024, 1, d) for d in (3, 1, 2)]
    assert read_order("day", make({"day": day, "x": [1, 2, 3]}), np.zeros(3)).tolist() == [2, 0, 1]


@pytest.mark.parametrize(
    ("order", "message"),
    [
        ("dat", "order='dat' is no column of X; its columns are 'day', 'name'"),
        ("name", "Column 'name' holds 'a' in row 0, but must hold numbers or dates"),
        ([1, 2, None], "order is missing in 1 of 3 rows, the first of them row 2"),
        (pd.Series([1, 2, 1], name="week"), "Column 'week' holds 1 more than once in task 's'"),
        ([1, 2], "order has 2 values, but X has 3 rows"),
    ],
)
def test_wrong_orders(order, message):
    with pytest.raises(UpstairsError) as error:
        read_order(order, pd.DataFrame({"day": [1, 2, 3], "name": list("abc")}), np.array(["s"] * 3))
    assert message in str(error.value)


def test_the_same_time_in_two_tasks_is_no_tie():
    assert read_order([5, 5], np.zeros((2, 1)), np.array([0, 1])).tolist() == [0, 0]


def test_shots_that_no_task_can_give():
    draw = draw_of([12, 9])
    assert check_shots(SHOTS, draw) == ((0, 1, 2, 5), [10, 20])
    assert check_shots(6, draw) == ((6,), [])
    with pytest.raises(UpstairsError, match="shots=7 is more than any task can give: the largest, 0, has 12 rows"):
        check_shots((0, 7), draw)


@pytest.mark.parametrize("shots", [(), (-1,), (1.5,), "five", None])
def test_wrong_shots(shots):
    with pytest.raises(UpstairsError, match="shots must be whole numbers of rows"):
        check_shots(shots, draw_of([12]))


def test_every_task_is_unseen_once_and_known_once_on_the_same_rows():
    draw = draw_of([10] * 20)
    folds = make_folds(5, np.zeros(200), draw, 0)
    assert sorted(np.concatenate([fold.unseen for fold in folds])) == list(range(200))
    assert set(np.concatenate([fold.known for fold in folds])) == set(np.flatnonzero(draw.held))
    for fold in folds:
        assert not set(draw.task[fold.learned]) & set(draw.task[fold.unseen])
        assert set(draw.task[fold.known]) <= set(draw.task[fold.learned])
        assert len(np.unique(np.concatenate([*fold]))) == 200
        assert len(fold.known) == 8  # 5 % of 160


@pytest.mark.parametrize("cv", [GroupKFold(4), GroupShuffleSplit(1, random_state=0), GroupShuffleSplit(3, random_state=0)])
def test_splitters_of_scikit_learn(cv):
    draw = draw_of([10] * 8)
    for fold in make_folds(cv, np.zeros(80), draw, 0):
        assert not set(draw.task[fold.learned]) & set(draw.task[fold.unseen])
        assert len(fold.known) and not set(fold.known) & set(fold.learned)


@pytest.mark.parametrize(
    ("cv", "n_tasks", "message"),
    [
        (5, 2, "There are 2 tasks, too few to hold some out"),
        (5, 1, "There is 1 task, too few"),
        (5, 4, "cv=5 asks for 5 folds of 4 tasks; it must be from 2 to 4"),
        (1, 4, "it must be from 2 to 4"),
        ("fitted", 4, "'fitted'"),
        (KFold(3), 4, "cv leaves rows of task"),
        (GroupKFold(9), 4, "cv can't split these rows: Cannot have number of splits"),
        (object(), 4, "cv can't split these rows"),
    ],
)
def test_wrong_folds(cv, n_tasks, message):
    with pytest.raises(UpstairsError) as error:
        make_folds(cv, np.zeros(10 * n_tasks), draw_of([10] * n_tasks), 0)
    assert message in str(error.value)


def test_whole_tasks_are_held_out():
    groups = np.repeat(list("abcdefghij"), 3)
    unseen = hold_out_tasks(groups, 0.3, random_state=0)
    assert len(set(groups[unseen])) == 3
    assert not set(groups[unseen]) & set(groups[~unseen])


@pytest.mark.parametrize("groups", [["a"] * 5, ["a", "b"], ["a", "b", "c"]])
def test_too_few_tasks(groups):
    with pytest.raises(UpstairsError, match=f"There are {len(set(groups))} tasks, too few"):
        hold_out_tasks(np.array(groups), 0.05)


def test_rows_of_any_table():
    index = np.array([2, 0])
    assert take_rows(np.array([[1], [2], [3]]), index).tolist() == [[3], [1]]
    assert take_rows([[1], [2], [3]], index) == [[3], [1]]
    assert take_rows(pd.DataFrame({"a": [1, 2, 3]}), index)["a"].tolist() == [3, 1]
    assert take_rows(pl.DataFrame({"a": [1, 2, 3]}), index)["a"].to_list() == [3, 1]
    assert take_rows(pa.table({"a": [1, 2, 3]}), index)["a"].to_pylist() == [3, 1]
