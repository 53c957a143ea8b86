"""Predictions without memory: support and query come in one request, as JSON, or in bulk as an Arrow stream."""

import numpy as np
import pyarrow as pa

from upstairs.serve import arrow, messages
from upstairs.serve.predicting import label_names, predict
from upstairs.serve.problems import Problem
from upstairs.serve.service import Call, Reply, Service
from upstairs.serve.tables import by_column, read_rows, told_of

__all__ = ["predict_bulk", "predict_rows"]


def predict_rows(service: Service, call: Call) -> messages.Prediction | Reply:
    """Adapt to the support rows, and predict the query rows."""
    if call.media_type == arrow.MEDIA_TYPE:
        return predict_bulk(service, call)
    model, request = service.models[call.path["model"]], call.read(messages.PredictRequest)
    query = read_rows(model, by_column(request.query, "query", service.limits), "query", labelled=False)
    if request.support is None or not request.support:
        known = model.known.get(str(request.task))
        return predict(service, model, None, query, request, known)
    support = read_rows(model, by_column(request.support, "support", service.limits), "support", labelled=True)
    with told_of("support"):
        adapted = model.meta.adapt(support.X, support.y)
    query.warnings.extend(support.warnings)
    return predict(service, model, adapted, query, request)


def predict_bulk(service: Service, call: Call) -> Reply:
    """Rows of many tasks: those with a target are support, and those without are predicted, in their order.

    A column with the model's name of the task tells tasks apart; without it all rows are one task.
    """
    model, table = service.models[call.path["model"]], arrow.read(call.body, service.limits)
    coverage = _coverage(call.parameters.get("coverage", "0.9"))
    names, task = model.meta.columns_.names, model.meta.names_.task
    if missing := [name for name in names if name not in table.column_names]:
        raise Problem("unusable", f"The stream lacks the column {missing[0]!r}. Send all columns that the model was fitted on.")
    labelled = _labelled(table, model.target)
    X, support, query = table.select(names), np.flatnonzero(labelled), np.flatnonzero(~labelled)
    if not len(query):
        raise Problem("unusable", f"Every row has a {model.target!r}; rows to predict are those where it is null.")
    groups = arrow.tasks_of(table[task], model) if task in table.column_names else np.zeros(len(labelled), int)
    with told_of("the stream"):
        adapted = None
        if len(support):
            adapted = model.meta.adapt_tasks(X.take(support), table[model.target].take(support), groups[support])
        answers = _many(model, adapted, X.take(query), groups[query], coverage)
    service.metrics.prediction(model.name, len(support), len(query), None)
    if model.classifies:
        probability = answers.pop("probability")
        answers |= {f"probability_{label}": probability[:, c] for c, label in enumerate(label_names(model))}
    columns = {name: pa.array(values) for name, values in answers.items()}
    return Reply(arrow.write(pa.table(columns)), media_type=arrow.MEDIA_TYPE)


def _many(model, adapted, X: pa.Table, groups: np.ndarray, coverage: float) -> dict[str, np.ndarray]:
    """Answers for rows of many tasks: by their support, by what the fit knew of them, or from their columns alone."""
    own = np.array([adapted is not None and task in adapted for task in groups.tolist()], bool)
    order = np.argsort(np.argsort(~own, kind="stable"))
    parts = [
        source.predict_all(X.take(rows), coverage=coverage, groups=groups[rows])
        for source, rows in ((adapted, np.flatnonzero(own)), (model.meta, np.flatnonzero(~own)))
        if len(rows)
    ]
    return {name: np.concatenate([part[name] for part in parts])[order] for name in parts[0]}


def _labelled(table: pa.Table, target: str) -> np.ndarray:
    if target not in table.column_names:
        return np.zeros(table.num_rows, bool)
    return ~table[target].is_null(nan_is_null=True).to_numpy()


def _coverage(text: str) -> float:
    try:
        coverage = float(text)
    except ValueError:
        coverage = 0.0
    if not 0 < coverage < 1:
        raise Problem("unusable", f"The parameter coverage must lie between 0 and 1, as 0.9 does, but is {text!r}.")
    return coverage
