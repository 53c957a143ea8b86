"""Pictures of a meta-model and of its evaluation, drawn by matplotlib (extra ``report``).

    LearningCurveDisplay    error on unseen tasks, by rows seen of each
    TaskCurveDisplay        error on unseen tasks, by tasks learned from
    CalibrationDisplay      classes: how often they came true, by predicted probability
    CoverageDisplay         numbers: how often intervals held the truth, by promised coverage
    TaskPredictionDisplay   one task: its rows, and predictions before and after it was adapted to
    EffectDisplay           what a column does, in all tasks and in some
    TaskMapDisplay          tasks in two dimensions
    MetaPathDisplay         meta support vector machines along λ

Each takes numbers; ``from_estimator`` or ``from_evaluation`` computes them, ``plot(ax=None)`` draws them, as scikit-learn's
displays do. `to_svg` draws for a page of HTML.
"""

from upstairs.displays.calibration import CalibrationDisplay, CoverageDisplay
from upstairs.displays.curves import LearningCurveDisplay, TaskCurveDisplay
from upstairs.displays.effect import EffectDisplay
from upstairs.displays.meta_path import MetaPathDisplay
from upstairs.displays.svg import to_svg
from upstairs.displays.task import TaskPredictionDisplay
from upstairs.displays.task_map import TaskMapDisplay

__all__ = [
    "CalibrationDisplay",
    "CoverageDisplay",
    "EffectDisplay",
    "LearningCurveDisplay",
    "MetaPathDisplay",
    "TaskCurveDisplay",
    "TaskMapDisplay",
    "TaskPredictionDisplay",
    "to_svg",
]
