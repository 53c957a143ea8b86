"""Upstairs: meta-learning for many related small datasets. Learn across the tasks you have, adapt to a new one from few rows.

Nothing heavy is loaded before it is asked for (PEP 562), so that `import upstairs` costs a moment and no optional package.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from upstairs import displays
    from upstairs.bulk import predict_files
    from upstairs.errors import UpstairsError, UpstairsWarning
    from upstairs.evaluation.protocol import evaluate
    from upstairs.evaluation.searches import SupportQuerySplit, few_shot_scorer
    from upstairs.forest.estimator import MetaRandomForestClassifier, MetaRandomForestRegressor
    from upstairs.gradient.estimator import MetaGradientClassifier, MetaGradientRegressor
    from upstairs.packing.pack import pack
    from upstairs.persistence import load, save
    from upstairs.store import open_store
    from upstairs.svm.estimator import MetaSVC, MetaSVR

__version__ = "0.1.0"

__all__ = [
    "AutoMetaClassifier",
    "AutoMetaRegressor",
    "MetaGradientClassifier",
    "MetaGradientRegressor",
    "MetaRandomForestClassifier",
    "MetaRandomForestRegressor",
    "MetaSVC",
    "MetaSVR",
    "SupportQuerySplit",
    "UpstairsError",
    "UpstairsWarning",
    "__version__",
    "displays",
    "evaluate",
    "few_shot_scorer",
    "load",
    "open_store",
    "pack",
    "predict_files",
    "save",
]

_ROOMS = {
    "AutoMetaClassifier": "upstairs.auto.estimator",
    "AutoMetaRegressor": "upstairs.auto.estimator",
    "MetaGradientClassifier": "upstairs.gradient.estimator",
    "MetaGradientRegressor": "upstairs.gradient.estimator",
    "MetaRandomForestClassifier": "upstairs.forest.estimator",
    "MetaRandomForestRegressor": "upstairs.forest.estimator",
    "MetaSVC": "upstairs.svm.estimator",
    "MetaSVR": "upstairs.svm.estimator",
    "SupportQuerySplit": "upstairs.evaluation.searches",
    "UpstairsError": "upstairs.errors",
    "UpstairsWarning": "upstairs.errors",
    "displays": "upstairs.displays",
    "evaluate": "upstairs.evaluation.protocol",
    "few_shot_scorer": "upstairs.evaluation.searches",
    "load": "upstairs.persistence",
    "open_store": "upstairs.store",
    "pack": "upstairs.packing.pack",
    "predict_files": "upstairs.bulk",
    "save": "upstairs.persistence",
}


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module 'upstairs' has no attribute {name!r}")
    room = importlib.import_module(_ROOMS[name])
    value = globals()[name] = room if room.__name__ == f"upstairs.{name}" else getattr(room, name)
    return value


def __dir__() -> list[str]:
    return __all__
