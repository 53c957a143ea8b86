"""Bad input gets one sentence that names the column, argument or row and says what to do; nothing else is raised."""

import datetime

import numpy as np
import pandas as pd
import polars as pl
import pytest

from upstairs import MetaRandomForestClassifier, MetaRandomForestRegressor, UpstairsError, UpstairsWarning
from upstairs.baselines.shrunk_mean import ShrunkMeanClassifier, ShrunkMeanRegressor

N = 24
TASK = np.repeat(np.arange(6), 4)
X = pd.DataFrame({"price": np.linspace(0, 1, N), "colour": ["red", "blue"] * 12, "day": pd.date_range("2024-01-01", periods=N)})
Y = np.linspace(5, 9, N)
LABELS = np.array(["a", "b"] * 12)


def with_cell(frame, column, row, value):
    changed = frame.copy()
    changed[column] = changed[column].astype(object)
    changed.loc[row, column] = value
    return changed


def with_value(y, row, value, dtype=object):
    changed = np.array(y, dtype=dtype)
    changed[row] = value
    return changed


FIT = {
    "no rows": (X[:0], Y[:0], TASK[:0], "0 sample"),
    "no columns": (X[[]], Y, TASK, "0 feature"),
    "one row": (X[:1], Y[:1], None, "1 sample"),
    "one task": (X, Y, np.zeros(N), "groups holds one task only"),
    "a vector for X": (Y, Y, TASK, "Reshape your data"),
    "three dimensions": (np.zeros((3, 2, 2)), Y[:3], TASK[:3], "3"),
    "complex numbers": (np.ones((N, 2)) * 1j, Y, TASK, "Complex data not supported"),
    "a dict": ({"price": Y}, Y, TASK, "DataFrame"),
    "a path": ("rows.parquet", Y, TASK, "rows.parquet"),
    "a lazy frame": (pl.DataFrame({"a": Y}).lazy(), Y, TASK, "collect"),
    "two columns of one name": (pd.DataFrame(np.zeros((N, 2)), columns=["a", "a"]), Y, TASK, "'a'"),
    "mixed column": (with_cell(X, "price", 17, "n/a"), Y, TASK, "'price'.*17|17.*'price'"),
    "infinity": (with_cell(X, "price", 3, np.inf), Y, TASK, "'price'.*infinity.*3"),
    "1e300": (with_cell(X, "price", 5, 1e300), Y, TASK, "'price'.*1e\\+300.*5"),
    "lists in a column": (X.assign(tags=[["a"]] * N), Y, TASK, "'tags'"),
    "bytes in a column": (X.assign(blob=[b"a"] * N), Y, TASK, "'blob'"),
    "y too short": (X, Y[:-1], TASK, "y.*23.*24|24.*23"),
    "y with NaN": (X, with_value(Y, 2, np.nan, float), TASK, "y is missing.*1 of 24.*row 2"),
    "y with None": (X, with_value(Y, 2, None), TASK, "y is missing.*row 2"),
    "y with infinity": (X, with_value(Y, 4, np.inf, float), TASK, "y holds infinity in row 4"),
    "y with 1e300": (X, with_value(Y, 4, 1e300, float), TASK, "y holds a value too large.*row 4"),
    "y with text": (X, with_value(Y, 6, "many"), TASK, "'many' in row 6"),
    "y of two columns": (X, np.column_stack([Y, Y]), TASK, "y"),
    "groups too short": (X, Y, TASK[:-2], "groups.*22.*24|24.*22"),
    "groups with NaN": (X, Y, with_value(TASK, 7, np.nan, float), "groups is missing.*row 7"),
    "groups with None": (X, Y, with_value(TASK.astype(str), 7, None), "groups is missing.*row 7"),
    "groups of two kinds": (X, Y, with_value(TASK, 7, "seven"), "groups"),
}


@pytest.mark.parametrize("case", FIT)
@pytest.mark.parametrize("learner", [ShrunkMeanRegressor, MetaRandomForestRegressor])
def test_fit(case, learner):
    table, y, groups, words = FIT[case]
    with pytest.raises(UpstairsError, match=words) as caught:
        learner().fit(table, y, groups=groups)
    assert "\n" not in str(caught.value)


LABELLED = {
    "one class": (np.full(N, "a"), "one class only.*'a'"),
    "missing label": (with_value(LABELS, 3, None), "y is missing.*row 3"),
    "NaN label": (with_value(np.arange(N) % 2, 3, np.nan, float), "y is missing.*row 3"),
}


@pytest.mark.parametrize("case", LABELLED)
@pytest.mark.parametrize("learner", [ShrunkMeanClassifier, MetaRandomForestClassifier])
def test_fit_classifier(case, learner):
    y, words = LABELLED[case]
    with pytest.raises(UpstairsError, match=words):
        learner().fit(X, y, groups=TASK)


PARAMETERS = {
    "n_folds": 1,
    "ensemble": "perhaps",
    "n_effect_trees": -1,
    "n_episodes": 0,
    "max_rows": 5,
    "learning_rate": 0.0,
    "random_state": "seed",
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_are_checked_in_fit(name):
    meta = MetaRandomForestRegressor(**{name: PARAMETERS[name]})
    with pytest.raises(ValueError, match=f"'{name}' parameter"):
        meta.fit(X, Y, groups=TASK)


@pytest.fixture(scope="module")
def meta():
    return ShrunkMeanRegressor(random_state=0).fit(X, Y, groups=TASK)


@pytest.fixture(scope="module")
def classifier():
    return ShrunkMeanClassifier(random_state=0).fit(X, LABELS, groups=TASK)


PREDICT = {
    "missing column": (X.drop(columns="price"), "lacks.*price"),
    "misspelt column": (X.rename(columns={"price": "prices"}), "did you mean 'prices'"),
    "text in a number": (with_cell(X, "price", 17, "n/a"), "'price'.*17"),
    "infinity": (with_cell(X, "price", 3, -np.inf), "'price'.*infinity"),
    "text in a date": (X.assign(day="soon"), "'day'"),
    "too few columns": (np.zeros((3, 2)), "X has 2 features"),
}


@pytest.mark.parametrize("case", PREDICT)
def test_predict(meta, case):
    table, words = PREDICT[case]
    with pytest.raises(UpstairsError, match=words):
        meta.predict(table)


ASK = {
    "coverage of 90": (lambda meta: meta.predict_interval(X, coverage=90), "coverage must lie between 0 and 1"),
    "coverage of 0": (lambda meta: meta.predict_interval(X, coverage=0), "coverage must lie between 0 and 1"),
    "quantile of 1": (lambda meta: meta.predict_quantiles(X, [0.5, 1.0]), "quantiles must lie between 0 and 1"),
    "groups too short": (lambda meta: meta.predict(X, groups=TASK[:3]), "groups"),
    "missing group": (lambda meta: meta.predict(X, groups=with_value(TASK, 1, np.nan, float)), "groups is missing.*row 1"),
    "support without target": (lambda meta: meta.adapt(X, np.full(N, np.nan)), "y is missing"),
    "support too long": (lambda meta: meta.adapt(X[:4], Y), "y"),
    "support of another table": (lambda meta: meta.adapt(pd.DataFrame({"a": [1.0]}), [2.0]), "lacks"),
    "adapt_tasks without groups": (lambda meta: meta.adapt_tasks(X, Y, None), "adapt_tasks needs groups"),
    "tasks asked without groups": (lambda meta: meta.adapt_tasks(X, Y, TASK).predict(X), "predict needs groups"),
}


@pytest.mark.parametrize("case", ASK)
def test_asking(meta, case):
    call, words = ASK[case]
    with pytest.raises(UpstairsError, match=words):
        call(meta)


def test_a_label_never_seen(classifier):
    with pytest.raises(UpstairsError, match=r"'z' in row 1.*none of the classes seen in fit"):
        classifier.adapt(X[:2], ["a", "z"])


def test_extra_columns_are_ignored_with_one_warning(meta):
    with pytest.warns(UpstairsWarning, match="extra") as caught:
        prediction = meta.predict(X.assign(extra=1, more=2))
    assert len(caught) == 1
    np.testing.assert_array_equal(prediction, meta.predict(X))


def test_odd_but_usable_values_are_fine(meta):
    odd = X.assign(colour="never seen", price=np.nan, day=datetime.date(2030, 1, 1))
    assert np.isfinite(meta.predict(odd)).all()
