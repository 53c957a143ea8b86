"""Predictions without memory: support and query come in one request, as JSON, or in bulk as an Arrow stream.

Requests in JSON that ask the same of the same model are answered together, as many tasks at once. One that can't be answered
spoils nothing for the others: then each is answered alone.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from upstairs.frames import Lists
from upstairs.serve import arrow, messages
from upstairs.serve.models import Model
from upstairs.serve.predicting import label_names, predict, tell
from upstairs.serve.problems import Problem
from upstairs.serve.service import Call, Reply, Service
from upstairs.serve.tables import Table, by_column, read_rows, told_of

__all__ = ["predict_bulk", "predict_rows", "predict_together"]


def predict_rows(service: Service, call: Call) -> messages.Prediction | Reply:
    """Adapt to the support rows, and predict the query rows."""
    if call.media_type == arrow.MEDIA_TYPE:
        return predict_bulk(service, call)
    return _answer(service, _read(service, call))


def predict_together(service: Service, calls: Sequence[Call]) -> list[messages.Prediction | Exception]:
    """`predict_rows` of calls with JSON: the same answers, or the exception of each."""
    answers: list[Any] = [_attempt(_read, service, call) for call in calls]
    alike = defaultdict(list)
    for i, ask in enumerate(answers):
        if not isinstance(ask, Exception):
            alike[_kind_of(ask) or i].append(i)
    for where in alike.values():
        asks = [answers[i] for i in where]
        together = _attempt(_answer_together, service, asks) if len(asks) > 1 else None
        if not isinstance(together, list):
            together = [_attempt(_answer, service, ask) for ask in asks]
        for i, answer in zip(where, together, strict=True):
            answers[i] = answer
    return answers


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
    service.metrics.prediction(model.name, len(support), len(query))
    if model.classifies:
        probability = answers.pop("probability")
        answers |= {f"probability_{label}": probability[:, c] for c, label in enumerate(label_names(model))}
    columns = {name: pa.array(values) for name, values in answers.items()}
    return Reply(arrow.write(pa.table(columns)), media_type=arrow.MEDIA_TYPE)


class Ask(NamedTuple):
    """A request, read: the table of its support is None without any."""

    model: Model
    request: messages.PredictRequest
    support: Table | None
    query: Table


def _read(service: Service, call: Call) -> Ask:
    model, request = service.models[call.path["model"]], call.read(messages.PredictRequest)
    query, support = read_rows(model, by_column(request.query, "query", service.limits), "query", labelled=False), None
    if request.support:
        support = read_rows(model, by_column(request.support, "support", service.limits), "support", labelled=True)
        query.warnings.extend(support.warnings)
    return Ask(model, request, support, query)


def _answer(service: Service, ask: Ask) -> messages.Prediction:
    model, request, support, query = ask
    if support is None:
        return predict(service, model, None, query, request, model.known.get(str(request.task)))
    with told_of("support"):
        adapted = model.meta.adapt(support.X, support.y)
    return predict(service, model, adapted, query, request)


def _kind_of(ask: Ask) -> tuple | None:
    """What requests must share to be answered together; None for those that are answered alone."""
    model, request, support, query = ask
    plain = support is not None and not request.explain and not request.novelty
    if not plain or {support.X.names, query.X.names} != {tuple(model.meta.columns_.names)}:
        return None
    return model.name, model.version, request.coverage


def _answer_together(service: Service, asks: list[Ask]) -> list[messages.Prediction]:
    """Each support is a task of one call of `adapt_tasks`."""
    model, coverage = asks[0].model, asks[0].request.coverage
    supports, queries = [ask.support for ask in asks], [ask.query for ask in asks]
    shots, n_rows = ([table.n_rows for table in tables] for tables in (supports, queries))
    y = [value for support in supports for value in support.y]
    adapted = model.meta.adapt_tasks(_joined(supports), y, np.repeat(np.arange(len(asks)), shots))
    answers = adapted.predict_all(_joined(queries), coverage, np.repeat(np.arange(len(asks)), n_rows))
    edges = np.cumsum(n_rows)[:-1]
    parts = {name: np.split(values, edges) for name, values in answers.items()}
    return [
        tell(
            service, model, {name: part[i] for name, part in parts.items()}, "support", shots[i], coverage, ask.query.warnings
        )
        for i, ask in enumerate(asks)
    ]  # fmt: skip


def _joined(tables: list[Table]) -> Lists:
    columns = zip(*(table.X.lists for table in tables), strict=True)
    return Lists({
        name: [value for part in parts for value in part] for name, parts in zip(tables[0].X.names, columns, strict=True)
    })  # fmt: skip


def _attempt(function: Callable[..., Any], *arguments: Any) -> Any:
    """What it returns, or the exception that it raises."""
    try:
        return function(*arguments)
    except Exception as error:
        return error


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
