"""Predictions as messages: a model, asked once, and what it says of the task and of each row."""

from typing import Any

import numpy as np

from upstairs.errors import UpstairsError
from upstairs.frames import Lists
from upstairs.prediction import Explanation
from upstairs.serve import messages
from upstairs.serve.models import Model
from upstairs.serve.service import Service
from upstairs.serve.tables import Table, told_of

__all__ = ["label_names", "next_row", "novelty_of", "predict", "tell"]


def predict(
    service: Service,
    model: Model,
    adapted: Any | None,
    query: Table,
    request: messages.TaskPredictRequest,
    known: int | None = None,
) -> messages.Prediction:
    """Predict the query with an adapted model, or, where that is None, as a known task, or from the columns alone.

    ``known`` is the position of the task among those that the fit knew.
    """
    asked, known = (model.meta, known) if adapted is None else (adapted, None)
    warnings = list(query.warnings)
    with told_of("query"):
        groups = None if known is None else model.meta.known_.ids[np.full(query.n_rows, known)]
        answers = asked.predict_all(query.X, coverage=request.coverage, groups=groups)
        explanation = asked.explain(query.X) if request.explain and known is None else None
    if request.explain and known is not None:
        warnings.append("Tasks known from the fit aren't explained; send support rows, and their predictions are.")
    based_on = "support" if adapted is not None else "columns" if known is None else "known task"
    message = tell(service, model, answers, based_on, _shots(model, adapted, known), request.coverage, warnings)
    message.explanation = None if explanation is None else _explained(model, explanation)
    if request.novelty:
        message.novelty = novelty_of(adapted)
        if message.novelty is not None:
            service.metrics.novelty(model.name, message.novelty)
    return message


def tell(
    service: Service, model: Model, answers: dict[str, np.ndarray], based_on: str, shots: int, coverage: float,
    warnings: list[str],
) -> messages.Prediction:  # fmt: skip
    """What `predict_all` answered about the rows of one task, as a message."""
    service.metrics.prediction(model.name, shots, len(answers["prediction"]))
    message = messages.Prediction(
        model=messages.ModelVersion(model.name, model.version),
        based_on=based_on,
        shots=shots,
        prediction=answers["prediction"].tolist(),
        warnings=warnings,
    )
    if model.classifies:
        message.probability = dict(zip(label_names(model), answers["probability"].T.tolist(), strict=True))
    else:
        message.std, message.lower, message.upper = (answers[name].tolist() for name in ("std", "lower", "upper"))
        message.coverage = coverage
    return message


def novelty_of(adapted: Any | None) -> float | None:
    """The p-value of "this task is like those of the fit"; None without support, or of a model that can't tell."""
    try:
        return None if adapted is None else adapted.novelty_
    except UpstairsError:
        return None


def next_row(model: Model, adapted: Any, X: Lists) -> float | None:
    """The share of the mean standard deviation at the task's own rows that one more row is expected to take away.

    The row that may come is taken to be like the last one, with the target that is predicted for it.
    """
    if model.classifies:
        return None
    last = Lists({name: values[-1:] for name, values in zip(X.names, X.lists, strict=True)})
    more = adapted.update(last, adapted.predict_all(last)["prediction"])
    return float(1 - more.predict_all(X)["std"].mean() / adapted.predict_all(X)["std"].mean())


def label_names(model: Model) -> list[str]:
    return [str(label) for label in model.meta.classes_.tolist()]


def _shots(model: Model, adapted: Any | None, known: int | None) -> int:
    if adapted is not None:
        return len(adapted.support_.y)
    return 0 if known is None else int(model.meta.known_.sizes[known])


def _explained(model: Model, explanation: Explanation | dict[Any, Explanation]) -> dict[str, messages.Explanation]:
    if isinstance(explanation, dict):
        return {str(label): _one_explained(model, one) for label, one in explanation.items()}
    return {label_names(model)[1] if model.classifies else model.target: _one_explained(model, explanation)}


def _one_explained(model: Model, e: Explanation) -> messages.Explanation:
    names = [feature.name for feature in model.meta.columns_.features]
    shared, slopes = (dict(zip(names, np.asarray(part).T.tolist(), strict=True)) for part in (e.shared, e.slopes))
    base, level, scale, local, support = (np.asarray(part).tolist() for part in (e.base, e.level, e.scale, e.local, e.support))
    return messages.Explanation(base, shared, level, scale, slopes, local, support, bool(e.exact))
