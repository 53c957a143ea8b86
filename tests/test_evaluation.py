"""Errors on unseen tasks: what is shown, what is asked, and what is counted."""

import numpy as np
import pytest

from upstairs.errors import UpstairsError
from upstairs.evaluation import errors_by_shots, hold_out_tasks, metric_of, take_rows


class Spy:
    """A meta-model that remembers what it is asked; its prediction is the number of support rows of the task."""

    _estimator_type = "regressor"

    def __init__(self):
        self.supports, self.queries = [], []

    def __sklearn_tags__(self):
        from sklearn.utils import Tags, TargetTags

        return Tags(estimator_type="regressor", target_tags=TargetTags(required=True))

    def adapt_tasks(self, X, y, groups):
        assert (X[:, 0] == y).all()  # the rows of X, y and groups belong together
        self.supports.append(set(y.tolist()))
        self.sizes = {g: int((groups == g).sum()) for g in groups.tolist()}
        return self

    def predict(self, X, groups=None):
        self.queries.append(set(X[:, 0].tolist()))
        return np.zeros(len(X)) if groups is None else np.array([self.sizes.get(g, 0) for g in groups.tolist()], float)


def rows(sizes):
    groups = np.repeat(np.arange(len(sizes)), sizes)
    y = np.arange(len(groups), dtype=float)
    return np.column_stack([y, groups]), y, groups


def test_supports_are_nested_queries_stay_and_never_meet():
    spy = Spy()
    errors_by_shots(spy, *rows([20, 8, 3, 1]), shots=(0, 1, 5, 50), random_state=0)
    one, five, all_ = spy.supports
    assert (len(one), len(five), len(all_)) == (3, 5 + 4 + 1, 10 + 4 + 1)
    assert one < five < all_
    assert all(query == spy.queries[0] for query in spy.queries)
    assert not all_ & spy.queries[0]
    assert len(all_ | spy.queries[0]) == 32


def test_the_error_is_the_root_of_the_mean_square():
    X, y, groups = rows([4, 4])
    spy = Spy()
    zero, two = errors_by_shots(spy, X, y, groups, shots=(0, 2), random_state=0)
    asked = np.array(sorted(spy.queries[0]))
    assert zero == pytest.approx(np.sqrt((asked**2).mean()))
    assert two == pytest.approx(np.sqrt(((asked - 2) ** 2).mean()))
    assert metric_of(spy) == "root mean squared error"


def test_the_same_seed_asks_the_same_rows():
    asked = []
    for seed in (0, 0, 1):
        spy = Spy()
        errors_by_shots(spy, *rows([30, 30]), shots=(2,), random_state=seed)
        asked.append((spy.supports, spy.queries))
    assert asked[0] == asked[1] != asked[2]


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
    import pandas as pd
    import polars as pl
    import pyarrow as pa

    index = np.array([2, 0])
    assert take_rows(np.array([[1], [2], [3]]), index).tolist() == [[3], [1]]
    assert take_rows(pd.DataFrame({"a": [1, 2, 3]}), index)["a"].tolist() == [3, 1]
    assert take_rows(pl.DataFrame({"a": [1, 2, 3]}), index)["a"].to_list() == [3, 1]
    assert take_rows(pa.table({"a": [1, 2, 3]}), index)["a"].to_pylist() == [3, 1]
