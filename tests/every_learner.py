"""Every learner that keeps the contract: a new one is one line here, and every test of the contract runs on it."""

from upstairs import (
    AutoMetaClassifier,
    AutoMetaRegressor,
    MetaGradientClassifier,
    MetaGradientRegressor,
    MetaRandomForestClassifier,
    MetaRandomForestRegressor,
    MetaSVC,
    MetaSVR,
)
from upstairs.baselines.hierarchical_ridge import HierarchicalRidgeClassifier, HierarchicalRidgeRegressor
from upstairs.baselines.pooled import PooledClassifier, PooledRegressor
from upstairs.baselines.pooled_shift import PooledShiftClassifier, PooledShiftRegressor
from upstairs.baselines.shrunk_mean import ShrunkMeanClassifier, ShrunkMeanRegressor
from upstairs.baselines.task_ridge import TaskRidgeClassifier, TaskRidgeRegressor

PRECISION = {"gradient": 2e-5}
"""Of learners that count in float32, to which every batch may bring its own last digit; 1e-9 for all others."""

SMALL_FOREST = {"n_effect_trees": 10, "n_episodes": 100}
SMALL_DESCENT = {
    "n_steps": 0,
    "network": (8,),
    "n_pieces": 0,
    "n_folds": 2,
}  # compiling the descent for each table takes minutes

SMALL_MACHINE = {"kernel": "linear", "n_folds": 2}

ONE_LINE = ("hierarchical-ridge",)

REGRESSORS = {
    "auto": AutoMetaRegressor(learners=ONE_LINE, random_state=0),
    "forest": MetaRandomForestRegressor(random_state=0, **SMALL_FOREST),
    "gradient": MetaGradientRegressor(random_state=0, **SMALL_DESCENT),
    "svm": MetaSVR(random_state=0, **SMALL_MACHINE),
    "shrunk-mean": ShrunkMeanRegressor(random_state=0),
    "task-ridge": TaskRidgeRegressor(random_state=0),
    "pooled": PooledRegressor(random_state=0),
    "pooled-shift": PooledShiftRegressor(random_state=0),
    "hierarchical-ridge": HierarchicalRidgeRegressor(random_state=0),
}
CLASSIFIERS = {
    "auto": AutoMetaClassifier(learners=ONE_LINE, random_state=0),
    "forest": MetaRandomForestClassifier(random_state=0, **SMALL_FOREST),
    "gradient": MetaGradientClassifier(random_state=0, **SMALL_DESCENT),
    "svm": MetaSVC(random_state=0, **SMALL_MACHINE),
    "shrunk-mean": ShrunkMeanClassifier(random_state=0),
    "task-ridge": TaskRidgeClassifier(random_state=0),
    "pooled": PooledClassifier(random_state=0),
    "pooled-shift": PooledShiftClassifier(random_state=0),
    "hierarchical-ridge": HierarchicalRidgeClassifier(random_state=0),
}
