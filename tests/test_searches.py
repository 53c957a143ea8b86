"""Searches of scikit-learn and optuna tune meta-learners as they do others."""

import copy

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score, cross_validate

import upstairs
from upstairs import SupportQuerySplit, few_shot_scorer
from upstairs.baselines.shrunk_mean import ShrunkMeanClassifier, ShrunkMeanRegressor
from upstairs.baselines.task_ridge import TaskRidgeRegressor
from upstairs.datasets import make_grouped_classes, make_random_slopes
from upstairs.errors import UpstairsError

X, Y, GROUPS, _ = make_random_slopes(n_tasks=24, n_rows=16, level_sd=3.0, random_state=0)


@pytest.fixture(autouse=True)
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


def test_split():
    splits = list(SupportQuerySplit(4, shots=3, random_state=0).split(X, Y, GROUPS))
    assert len(splits) == SupportQuerySplit(4).get_n_splits() == 4
    assert sorted(np.concatenate([GROUPS[test] for _, test in splits])) == np.repeat(np.arange(24), 8).tolist()
    for train, test in splits:
        unseen = np.unique(GROUPS[test])
        assert not set(train) & set(test)
        assert (np.bincount(GROUPS[train], minlength=24)[unseen] == 3).all()
        assert (np.bincount(GROUPS[test], minlength=24)[unseen] == 8).all()
        assert (np.bincount(np.delete(GROUPS[train], np.isin(GROUPS[train], unseen)))[np.setdiff1d(GROUPS, unseen)] == 16).all()
    again = list(SupportQuerySplit(4, shots=3, random_state=0).split(X, Y, GROUPS))
    assert all((a[0] == b[0]).all() and (a[1] == b[1]).all() for a, b in zip(splits, again, strict=True))


def test_split_in_time():
    frame = pd.DataFrame(X).rename(columns=str).assign(day=np.random.default_rng(0).permutation(len(X)))
    for train, test in SupportQuerySplit(3, shots=2, order="day", random_state=0).split(frame, groups=GROUPS):
        for task in np.unique(GROUPS[test]):
            own = train[GROUPS[train] == task]
            assert frame["day"].iloc[own].max() < frame["day"].iloc[test[GROUPS[test] == task]].min()


@pytest.mark.parametrize(
    ("split", "groups", "message"),
    [
        (SupportQuerySplit(), None, "SupportQuerySplit needs groups"),
        (SupportQuerySplit(30), GROUPS, "n_splits=30 must be from 2 to the number of tasks, 24"),
        (SupportQuerySplit(shots=9), GROUPS, "shots=9 is more than any task can give"),
        (SupportQuerySplit(shots=(1, 2)), GROUPS, "shots must be one whole number"),
    ],
)
def test_wrong_splits(split, groups, message):
    with pytest.raises(UpstairsError) as error:
        list(split.split(X, Y, groups))
    assert message in str(error.value)


def test_any_estimator_under_the_same_rule():
    with_task = np.column_stack([X, GROUPS[:, None] == np.arange(24)])
    without, few, many = (
        cross_val_score(Ridge(), table, Y, cv=SupportQuerySplit(4, shots, random_state=0), params={"groups": GROUPS})
        for table, shots in ((X, 8), (with_task, 1), (with_task, 8))
    )
    assert without.mean() < few.mean() < many.mean()


def test_the_scorer_says_what_evaluate_says():
    meta = ShrunkMeanRegressor(random_state=0).fit(X[:192], Y[:192], groups=GROUPS[:192])
    found = upstairs.evaluate(meta, X[192:], Y[192:], GROUPS[192:], cv="prefit", shots=(0, 5), scoring="mae")
    for shots, error in zip((0, 5), found.errors()["shrunk-mean"], strict=True):
        assert few_shot_scorer("mae", shots)(meta, X[192:], Y[192:], GROUPS[192:]) == pytest.approx(-error)
    both = few_shot_scorer("neg_mean_absolute_error", (0, 5))(meta, X[192:], Y[192:], GROUPS[192:])
    assert both == pytest.approx(-np.mean(found.errors()["shrunk-mean"]))


def test_cross_validate_at_several_shots():
    meta = ShrunkMeanRegressor(random_state=0).set_fit_request(groups=True)
    scoring = {"zero": few_shot_scorer(shots=0), "five": few_shot_scorer(shots=5)}
    found = cross_validate(meta, X, Y, params={"groups": GROUPS}, cv=GroupKFold(3), scoring=scoring)
    assert (found["test_five"] > found["test_zero"]).all()


def test_a_meta_learner_fitted_with_the_support():
    meta = ShrunkMeanRegressor(random_state=0).set_fit_request(groups=True)
    few, many = (
        cross_val_score(
            meta,
            X,
            Y,
            params={"groups": GROUPS},
            cv=SupportQuerySplit(3, s, random_state=0),
            scoring=few_shot_scorer(shots=None),
        )
        for s in (0, 8)
    )
    assert many.mean() > few.mean() + 0.5


def test_classes_in_a_scorer():
    Z, y, groups, _ = make_grouped_classes(n_tasks=20, n_rows=12, level_sd=2.0, random_state=0)
    meta = ShrunkMeanClassifier(random_state=0).fit(Z[:120], y[:120], groups=groups[:120])
    zero, five = (few_shot_scorer(shots=s)(meta, Z[120:], y[120:], groups[120:]) for s in (0, 5))
    assert -np.log(4) - 0.2 < zero < five < 0


RULES = pytest.mark.parametrize(
    ("cv", "scorer"),
    [
        (GroupKFold(2), few_shot_scorer(shots=8)),
        (SupportQuerySplit(2, shots=8, random_state=0), few_shot_scorer(shots=None)),
    ],
    ids=["adapted", "fitted with the support"],
)


@RULES
def test_grid_search(cv, scorer):
    meta = TaskRidgeRegressor(random_state=0).set_fit_request(groups=True)
    search = GridSearchCV(meta, {"penalty": [1.0, 1e4]}, cv=cv, scoring=scorer)
    search.fit(X, Y, groups=GROUPS)
    assert search.best_params_ == {"penalty": 1.0}
    assert search.best_estimator_.adapt(X[:5], Y[:5]).predict(X[:3]).shape == (3,)


@pytest.mark.filterwarnings("ignore:.*optuna.terminator.*:FutureWarning")  # optuna's own use of what it gives up
@pytest.mark.filterwarnings("ignore:OptunaSearchCV is experimental")
@RULES
def test_optuna(cv, scorer):
    optuna = pytest.importorskip("optuna")
    from optuna_integration import OptunaSearchCV

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    # OptunaSearchCV.fit keeps a parameter called groups to itself, so the tasks travel under another name
    search = OptunaSearchCV(
        TaskRidgeRegressor(random_state=0).set_fit_request(groups="task"),
        {"penalty": optuna.distributions.CategoricalDistribution([1.0, 1e4])},
        cv=copy.deepcopy(cv).set_split_request(groups="task"),
        scoring=copy.deepcopy(scorer).set_score_request(groups="task"),
        n_trials=4,
        random_state=0,
        refit=False,
    )
    search.fit(X, Y, task=GROUPS)
    assert search.best_params_ == {"penalty": 1.0}


def test_a_scorer_without_tasks():
    meta = ShrunkMeanRegressor(random_state=0).fit(X, Y, groups=GROUPS)
    with pytest.raises(UpstairsError, match="few_shot_scorer needs groups"):
        few_shot_scorer()(meta, X, Y)
    assert repr(few_shot_scorer("mae", 3)) == "few_shot_scorer(scoring='mae', shots=3)"
