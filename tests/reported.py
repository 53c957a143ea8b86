"""A small evaluation and its report, shared by the tests of reports and of the page."""

import datetime
import functools
import warnings
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

import upstairs
from upstairs.learners import learner_class

HOSTILE = '<script>alert("x")</script> & $\\frac{'
N_STORES, SIZE = 18, 16


class Case(NamedTuple):
    evaluation: Any
    model: Any
    X: pa.Table
    page: str


def rows(seed: int = 0) -> dict[str, list]:
    """Rows of stores: one has a name, and one column too, that would be code if they weren't escaped."""
    rng = np.random.default_rng(seed)
    store = np.repeat([HOSTILE, *(f"store {i}" for i in range(1, N_STORES))], SIZE)
    price, level = rng.uniform(1, 3, len(store)), rng.normal(50, 6, N_STORES).repeat(SIZE)
    kind = rng.choice(["mall", "street"], len(store))
    sales = level - 8 * price + 4 * (kind == "mall") + rng.normal(0, 1, len(store))
    days = np.tile(np.arange(SIZE), N_STORES)
    return {
        "store_id": store.tolist(),
        "price": price.tolist(),
        f"kind{HOSTILE}": kind.tolist(),
        "day": [datetime.date(2024, 1, 1) + datetime.timedelta(days=int(d)) for d in days],
        "sales": sales.tolist(),
    }


@functools.cache
def case(classify: bool = False) -> Case:
    """Evaluated by two folds, and its page."""
    table = pa.table(rows())
    X, y = table.drop_columns(["store_id", "sales"]), table.select(["sales"])
    if classify:
        y = pa.table({"outcome": pa.array(["good" if s > 36 else "bad" for s in table["sales"].to_pylist()])})
    meta = learner_class("hierarchical-ridge", classify)(random_state=0)
    how = {"cv": 2, "shots": (0, 2, 5), "baselines": ["task-ridge", "shrunk-mean"], "return_estimator": True}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        evaluation = upstairs.evaluate(meta, X, y, table.select(["store_id"]), **how)
        model = meta.fit(X, y, groups=table["store_id"])
        return Case(evaluation, model, X, evaluation.to_html(model))
