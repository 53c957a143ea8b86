"""The learners by name, imported only when one is asked for: a new learner is a new file and a line here."""

import importlib
from typing import Any

from upstairs.errors import UpstairsError

__all__ = ["LEARNERS", "check_learner", "class_by_name", "learner_class"]

LEARNERS = {
    "forest": ("upstairs.forest.estimator", "MetaRandomForest"),
    "gradient": ("upstairs.gradient.estimator", "MetaGradient"),
    "hierarchical-ridge": ("upstairs.baselines.hierarchical_ridge", "HierarchicalRidge"),
    "pooled": ("upstairs.baselines.pooled", "Pooled"),
    "pooled-shift": ("upstairs.baselines.pooled_shift", "PooledShift"),
    "shrunk-mean": ("upstairs.baselines.shrunk_mean", "ShrunkMean"),
    "task-ridge": ("upstairs.baselines.task_ridge", "TaskRidge"),
}
"""The command line's name of each: its module, and the name of its classes before Regressor and Classifier."""


def check_learner(learner: str) -> None:
    """An UpstairsError unless there is a learner of that name; nothing is imported."""
    if learner not in LEARNERS:
        raise UpstairsError(f"There is no learner {learner!r}; there are {', '.join(LEARNERS)}.")


def learner_class(learner: str, classify: bool) -> Any:
    """The class of a learner by the command line's name."""
    check_learner(learner)
    module, stem = LEARNERS[learner]
    return getattr(importlib.import_module(module), stem + ("Classifier" if classify else "Regressor"))


def class_by_name(name: str) -> Any:
    """The class of that name, or None if no learner has it."""
    for module, stem in LEARNERS.values():
        if name in (f"{stem}Regressor", f"{stem}Classifier"):
            return getattr(importlib.import_module(module), name)
    return None
