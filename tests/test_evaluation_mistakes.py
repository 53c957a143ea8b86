"""For each mistake of a user in `upstairs.evaluate` one sentence; and odd inputs that are none."""

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import Ridge

import upstairs
from upstairs.baselines.shrunk_mean import ShrunkMeanRegressor
from upstairs.baselines.task_ridge import TaskRidgeRegressor
from upstairs.datasets import make_random_slopes
from upstairs.errors import UpstairsError

X, Y, GROUPS, _ = make_random_slopes(n_tasks=6, n_rows=6, random_state=0)
MEAN = ShrunkMeanRegressor(random_state=0)
FITTED = ShrunkMeanRegressor(random_state=0).fit(X, Y, groups=GROUPS)
MISTAKES = {
    "no groups": ({"groups": None}, "evaluate needs groups, the task of each row"),
    "one task": ({"groups": np.zeros(36)}, "There is 1 task, too few to hold some out"),
    "fewer tasks than folds": ({"cv": 7}, "cv=7 asks for 7 folds of 6 tasks"),
    "too many shots": ({"shots": 5}, "shots=5 is more than any task can give"),
    "unknown column": ({"order": "date"}, "order='date' is no column of X; its columns are 'x0', 'x1', 'x2'"),
    "ties": ({"order": np.zeros(36)}, "order holds 0.0 more than once in task 0"),
    "misspelt scoring": ({"scoring": "mea"}, "no scoring 'mea'; did you mean 'mae'?"),
    "not fitted": ({"cv": "prefit"}, "'shrunk-mean' is not fitted"),
    "knows the tasks": ({"meta": FITTED, "cv": "prefit"}, "'shrunk-mean' knows 6 of the 6 tasks in groups from its fit, as 0"),
    "two kinds": ({"meta": [MEAN, upstairs.MetaSVC()]}, "'shrunk-mean' predicts numbers and 'svm' classes"),
    "twice the same": ({"meta": [MEAN, MEAN]}, "Two of the meta-learners are called 'shrunk-mean'"),
    "name of a baseline": ({"meta": {"pooled": MEAN}}, "'pooled' is the name of a baseline"),
    "no meta-learner": ({"meta": Ridge()}, "'Ridge' is a Ridge, which has no adapt_tasks"),
    "a class": ({"meta": TaskRidgeRegressor}, "is a class; pass an object of it, as TaskRidgeRegressor()"),
    "none": ({"meta": []}, "meta is an empty list"),
    "none by name": ({"meta": {}}, "meta is an empty dict"),
    "unknown baseline": ({"baselines": ["mean"]}, "There is no learner 'mean'"),
    "baselines as text": ({"baselines": "pooled"}, "baselines must be True, False or a list"),
    "text to be predicted": ({"y": ["a"] * 36}, "y must hold numbers, but row 0 holds 'a'"),
    "missing target": ({"y": [np.nan] * 36}, "y is missing (NaN) in 36 of 36 rows"),
    "negative seed": ({"random_state": -1}, "random_state must be a whole number from 0 on"),
    "no process": ({"n_jobs": 0}, "n_jobs=0 has no meaning"),
    "processes in words": ({"n_jobs": "two"}, "n_jobs='two' has no meaning: give a number of processes"),
    "short groups": ({"groups": GROUPS[:5]}, "groups has 5 values, but X has 36 rows"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes(case):
    change, message = MISTAKES[case]
    with pytest.raises(UpstairsError) as error:
        upstairs.evaluate(**{"meta": MEAN, "X": X, "y": Y, "groups": GROUPS, **change})
    assert message in str(error.value)


def test_a_baseline_can_be_ones_own():
    found = upstairs.evaluate(MEAN, X, Y, GROUPS, cv=2, baselines=["shrunk-mean", "task-ridge"], shots=(0, 1))
    assert found.learners == ["shrunk-mean", "task-ridge"] and found.own_learners == ["shrunk-mean"]


def test_polars_series_name_the_task():
    found = upstairs.evaluate(MEAN, pl.DataFrame(X), Y, pl.Series("city", GROUPS), cv=2, baselines=False)
    assert found.task_noun == "city" and "6 unseen cities" in repr(found)
