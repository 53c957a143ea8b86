"""The learners by name, imported only when one is asked for: a new learner is a new file and a line here."""

import importlib
from typing import Any

from upstairs.errors import UpstairsError

__all__ = ["LEARNERS", "check_learner", "class_by_name", "learner_class"]

LEARNERS = {
    "auto": ("upstairs.auto.estimator", "AutoMetaRegressor", "AutoMetaClassifier"),
    "forest": ("upstairs.forest.estimator", "MetaRandomForestRegressor", "MetaRandomForestClassifier"),
    "gradient": ("upstairs.gradient.estimator", "MetaGradientRegressor", "MetaGradientClassifier"),
    "svm": ("upstairs.svm.estimator", "MetaSVR", "MetaSVC"),
    "hierarchical-ridge": (
        "upstairs.baselines.hierarchical_ridge",
        "HierarchicalRidgeRegressor",
        "HierarchicalRidgeClassifier",
    ),
    "pooled": ("upstairs.baselines.pooled", "PooledRegressor", "PooledClassifier"),
    "pooled-shift": ("upstairs.baselines.pooled_shift", "PooledShiftRegressor", "PooledShiftClassifier"),
    "shrunk-mean": ("upstairs.baselines.shrunk_mean", "ShrunkMeanRegressor", "ShrunkMeanClassifier"),
    "task-ridge": ("upstairs.baselines.task_ridge", "TaskRidgeRegressor", "TaskRidgeClassifier"),
}
"""The command line's name of each: its module, its regressor and its classifier."""


def check_learner(learner: str) -> None:
    """An UpstairsError unless there is a learner of that name; nothing is imported."""
    if learner not in LEARNERS:
        raise UpstairsError(f"There is no learner {learner!r}; there are {', '.join(LEARNERS)}.")


def learner_class(learner: str, classify: bool) -> Any:
    """The class of a learner by the command line's name."""
    check_learner(learner)
    module, regressor, classifier = LEARNERS[learner]
    return getattr(importlib.import_module(module), classifier if classify else regressor)


def class_by_name(name: str) -> Any:
    """The class of that name, or None if no learner has it."""
    for module, *classes in LEARNERS.values():
        if name in classes:
            return getattr(importlib.import_module(module), name)
    return None
