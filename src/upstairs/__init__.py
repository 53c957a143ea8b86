"""Upstairs: meta-learning for many related small datasets. Learn across the tasks you have, adapt to a new one from few rows.

Nothing heavy is loaded before it is asked for (PEP 562), so that `import upstairs` costs a moment and no optional package.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from upstairs.bulk import predict_files
    from upstairs.errors import UpstairsError, UpstairsWarning
    from upstairs.forest.estimator import MetaRandomForestClassifier, MetaRandomForestRegressor
    from upstairs.gradient.estimator import MetaGradientClassifier, MetaGradientRegressor
    from upstairs.packing.pack import pack
    from upstairs.persistence import load, save
    from upstairs.store import TaskStore, open_store
    from upstairs.svm.estimator import MetaSVC, MetaSVR

__version__ = "0.1.0"

__all__ = [
    "MetaGradientClassifier",
    "MetaGradientRegressor",
    "MetaRandomForestClassifier",
    "MetaRandomForestRegressor",
    "MetaSVC",
    "MetaSVR",
    "TaskStore",
    "UpstairsError",
    "UpstairsWarning",
    "__version__",
    "load",
    "open_store",
    "pack",
    "predict_files",
    "save",
]

_ROOMS = {
    "MetaGradientClassifier": "upstairs.gradient.estimator",
    "MetaGradientRegressor": "upstairs.gradient.estimator",
    "MetaRandomForestClassifier": "upstairs.forest.estimator",
    "MetaRandomForestRegressor": "upstairs.forest.estimator",
    "MetaSVC": "upstairs.svm.estimator",
    "MetaSVR": "upstairs.svm.estimator",
    "TaskStore": "upstairs.store",
    "UpstairsError": "upstairs.errors",
    "UpstairsWarning": "upstairs.errors",
    "load": "upstairs.persistence",
    "open_store": "upstairs.store",
    "pack": "upstairs.packing.pack",
    "predict_files": "upstairs.bulk",
    "save": "upstairs.persistence",
}


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module 'upstairs' has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_ROOMS[name]), name)
    return value


def __dir__() -> list[str]:
    return __all__
