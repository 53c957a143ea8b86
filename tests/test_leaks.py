"""The leak detector fires on planted leaks, and on nothing else."""

import datetime

import numpy as np
import pandas as pd
import pytest

import upstairs
from upstairs import datasets
from upstairs.baselines.shrunk_mean import ShrunkMeanRegressor
from upstairs.errors import UpstairsWarning
from upstairs.evaluation.draws import draw_rows
from upstairs.evaluation.leaks import find_leaks

N_TASKS, SIZE = 40, 15
TASK = np.repeat(np.arange(N_TASKS), SIZE)
RNG = np.random.default_rng(0)
LEVEL = RNG.normal(size=N_TASKS)
PRICE = RNG.uniform(1, 3, len(TASK))
Y = LEVEL[TASK] - PRICE + RNG.normal(0, 0.5, len(TASK))
LABEL = np.where(Y > np.median(Y), "high", "low")


def leaks(columns, y=Y, classes=False, groups=TASK):
    X = pd.DataFrame({"price": PRICE, **columns}) if isinstance(columns, dict) else columns
    return find_leaks(X, np.asarray(y), draw_rows(groups, None, np.random.default_rng(0)), classes)


MEANS = pd.Series(Y).groupby(TASK).transform("mean").to_numpy()
PLANTED = {
    "name of the task": ({"store": [f"store {t}" for t in TASK]}, "Column 'store' names the task"),
    "number of the task": ({"store": TASK + 1000}, "Column 'store' names the task"),
    "department of a store": ({"shelf": [f"{t}-{i % 3}" for i, t in enumerate(TASK)]}, "Column 'shelf' names the task"),
    "the target in another unit": ({"cents": 100 * Y + RNG.normal(0, 0.1, len(Y))}, "Column 'cents' gives the target away"),
    "the tasks' mean target": ({"mean": MEANS}, "Column 'mean', constant within tasks"),
}


@pytest.mark.parametrize("case", PLANTED)
def test_planted(case):
    columns, message = PLANTED[case]
    (found,) = leaks(columns)
    assert message in found


@pytest.mark.parametrize(
    "columns",
    [
        {"label": LABEL},
        {"grade": np.where(LABEL == "low", "a", np.where(PRICE > 2, "b", "c"))},
        {"score": Y},
    ],
    ids=["the label", "a finer label", "what the label was cut from"],
)
def test_planted_beside_classes(columns):
    (found,) = leaks(columns, LABEL, classes=True)
    assert "gives the target away" in found


def test_share_of_a_class():
    share = pd.Series(LABEL == "high").groupby(TASK).transform("mean")
    assert ["'share'" in leak for leak in leaks({"share": share}, LABEL, classes=True)] == [True]


HONEST = {
    "size of the store": np.random.default_rng(1).lognormal(5, 1, N_TASKS).round()[TASK],
    "what drives its level": (LEVEL + RNG.normal(0, 0.1, N_TASKS))[TASK],
    "its very level": LEVEL[TASK],
    "region": (TASK % 6).astype(str),
    "weekday": np.arange(len(TASK)) % 7,
    "row number": np.arange(len(TASK)),
    "receipt": [f"r{i}" for i in range(len(TASK))],
    "date": [datetime.date(2024, 1, 1) + datetime.timedelta(days=i % SIZE) for i in range(len(TASK))],
    "nothing": np.full(len(TASK), np.nan),
    "constant": np.ones(len(TASK)),
    "near the target": Y + RNG.normal(0, 0.2, len(TASK)),
}


@pytest.mark.parametrize("case", HONEST)
def test_honest_columns(case):
    assert leaks({case: HONEST[case]}) == []
    assert leaks({case: HONEST[case]}, LABEL, classes=True) == []


@pytest.mark.parametrize("make", [datasets.make_random_slopes, datasets.make_heavy_tails, datasets.make_grouped_forest])
def test_ordinary_tables(make):
    X, y, groups, _ = make(random_state=0)
    assert leaks(X, y, groups=groups) == []


def test_ordinary_classes_and_rare_ones():
    X, y, groups, _ = datasets.make_grouped_classes(random_state=0)
    assert leaks(X, y, classes=True, groups=groups) == []
    rare = (np.arange(len(TASK)) % 300 == 0).astype(int)
    assert leaks({"weekday": np.arange(len(TASK)) % 7}, rare, classes=True) == []


def test_evaluate_warns():
    X = pd.DataFrame({"price": PRICE, "store": [f"s{t}" for t in TASK]})
    with pytest.warns(UpstairsWarning, match="'store' names the task"):
        found = upstairs.evaluate(ShrunkMeanRegressor(random_state=0), X, Y, TASK, shots=(0, 2), cv=2, baselines=False)
    assert "'store' names the task" in found.warnings[0]
    assert "Warning: Column 'store'" in repr(found)
