"""The public ways to ask for predictions, once for meta-models, adapted models and adapted tasks.

Whoever inherits gives `_ask`, the learner's own answer about rows; here it goes back to the user: quantiles from the
distribution of each row, calibrated for its number of shots; labels for codes; all in the kind of table that was asked with.
"""

import abc
from collections.abc import Sequence
from typing import Any

import numpy as np

from upstairs.calibration import interval_factor
from upstairs.errors import UpstairsError
from upstairs.frames import answer
from upstairs.prediction import ClassPrediction, Prediction, quantile

__all__ = ["Answers", "AnswersClasses", "AnswersNumbers", "all_answers"]


class Answers(abc.ABC):
    """The public ways to ask, once for meta-models, adapted models and adapted tasks."""

    @abc.abstractmethod
    def _ask(self, X: Any, groups: Any) -> tuple[Any, Any, np.ndarray]:
        """The fitted meta-model, its (Class)Prediction for each row of X, and the support rows [n] behind each."""

    def predict_all(self, X, coverage: float = 0.9, groups=None) -> dict[str, np.ndarray]:
        """What `predict` and `predict_interval`, or `predict_proba`, say: asked once instead of twice.

        Parameters
        ----------
        X : table of n rows
        coverage : float in (0, 1), default=0.9
            Of no consequence for classes.
        groups : array-like [n], optional
            The task of each row.

        Returns
        -------
        answers : dict of ndarray
            Numbers: ``prediction``, ``std``, ``lower`` and ``upper``, each [n]. Classes: ``prediction`` [n] and ``probability``
            [n, C], in the order of ``classes_``.
        """
        return all_answers(*self._ask(X, groups), coverage)


class AnswersNumbers(Answers):
    def predict(self, X, groups=None, return_std: bool = False):
        """Predict the mean of y.

        Parameters
        ----------
        X : table of n rows with the columns seen in fit
        groups : array-like [n], optional
            The task of each row. Rows of tasks that are not known get the zero-shot prediction.
        return_std : bool, default=False
            Also return the standard deviation.

        Returns
        -------
        mean : [n], in the kind of table that X is
        std : [n], only with ``return_std``
        """
        _, prediction, _ = self._ask(X, groups)
        mean = answer(X, prediction.mean, "prediction")
        return (mean, answer(X, prediction.std, "std")) if return_std else mean

    def predict_interval(self, X, coverage: float = 0.9, groups=None):
        """Predict an interval that covers y with the given probability on unseen tasks.

        Parameters
        ----------
        X : table of n rows
        coverage : float in (0, 1), default=0.9
        groups : array-like [n], optional
            The task of each row.

        Returns
        -------
        interval : [n, 2], columns ``lower`` and ``upper``
        """
        return self._quantiles(X, _ends_of(coverage), groups, ["lower", "upper"])

    def predict_quantiles(self, X, quantiles=(0.1, 0.5, 0.9), groups=None):
        """Predict quantiles of y.

        Parameters
        ----------
        X : table of n rows
        quantiles : sequence of k floats in (0, 1)
        groups : array-like [n], optional
            The task of each row.

        Returns
        -------
        quantiles : [n, k]
        """
        probabilities = np.atleast_1d(np.asarray(quantiles, float))
        if not ((probabilities > 0) & (probabilities < 1)).all():
            raise UpstairsError(f"quantiles must lie between 0 and 1, as 0.5 does, but are {list(probabilities)}.")
        return self._quantiles(X, probabilities, groups, [f"q{p:g}" for p in probabilities])

    def _quantiles(self, X, probabilities, groups, names):
        return answer(X, _quantiles_of(*self._ask(X, groups), probabilities), names)


class AnswersClasses(Answers):
    def predict(self, X, groups=None):
        """Predict the most probable class.

        Parameters
        ----------
        X : table of n rows with the columns seen in fit
        groups : array-like [n], optional
            The task of each row. Rows of tasks that are not known get the zero-shot prediction.

        Returns
        -------
        label : [n], in the kind of table that X is, with the user's own labels
        """
        meta, prediction, _ = self._ask(X, groups)
        return answer(X, meta.classes_[prediction.log_proba.argmax(axis=1)], "prediction")

    def predict_proba(self, X, groups=None):
        """Predict the probability of each class, in the order of ``classes_``.

        Parameters
        ----------
        X : table of n rows
        groups : array-like [n], optional
            The task of each row.

        Returns
        -------
        probability : [n, C]
        """
        meta, prediction, _ = self._ask(X, groups)
        return answer(X, np.exp(prediction.log_proba), [str(label) for label in meta.classes_])


def all_answers(
    meta: Any, prediction: Prediction | ClassPrediction, shots: np.ndarray, coverage: float
) -> dict[str, np.ndarray]:
    """`Answers.predict_all` of what a model said when it was asked."""
    if isinstance(prediction, ClassPrediction):
        labels = meta.classes_[prediction.log_proba.argmax(axis=1)]
        return {"prediction": labels, "probability": np.exp(prediction.log_proba)}
    ends = _quantiles_of(meta, prediction, shots, _ends_of(coverage))
    return {"prediction": prediction.mean, "std": prediction.std, "lower": ends[:, 0], "upper": ends[:, 1]}


def _ends_of(coverage: float) -> list[float]:
    """The probabilities at the ends of a central interval."""
    if not 0 < coverage < 1:
        raise UpstairsError(f"coverage must lie between 0 and 1, as 0.9 does, but is {coverage}.")
    return [(1 - coverage) / 2, (1 + coverage) / 2]


def _quantiles_of(meta: Any, prediction: Prediction, shots: np.ndarray, probabilities: Sequence[float]) -> np.ndarray:
    """Calibrated quantiles [n, k] of y."""
    state = meta.state_
    columns = [
        quantile(prediction, state.scale, p, interval_factor(state.calibration, shots, abs(2 * p - 1))) for p in probabilities
    ]
    return np.column_stack(columns)
