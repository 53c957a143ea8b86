"""Predictions with memory: rows of a task are appended as their labels arrive, and the task's model follows."""

import datetime
import re

import msgspec
import numpy as np

from upstairs.errors import UpstairsError
from upstairs.serve import messages
from upstairs.serve.memory import Task
from upstairs.serve.models import Model
from upstairs.serve.predicting import next_row, novelty_of, predict
from upstairs.serve.problems import Problem
from upstairs.serve.service import Call, Reply, Service
from upstairs.serve.tables import Table, by_column, read_rows, told_of

__all__ = ["append", "describe", "forget", "predict_task"]

_ODD = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_PLAIN_KEY = re.compile(r"[\x21-\x7e]{1,200}")
LONGEST = 200


def append(service: Service, call: Call) -> messages.Appended:
    """Commit labelled rows of a task; with an Idempotency-Key, once, however often they are sent."""
    model, task = service.models[call.path["model"]], _task_name(call)
    columns = by_column(call.read(messages.AppendRequest).rows, "rows", service.limits)
    table = read_rows(model, columns, "rows", labelled=True)
    with told_of("rows"):
        model.meta.adapt(table.X, table.y)  # what the model can't take is refused now, not remembered
    done = service.memory.append(model.name, task, _key_of(call), msgspec.json.encode(columns), table.n_rows)
    if not done.replayed:
        _compare_with_labels(service, model, task, table)
    return messages.Appended(task, done.n_rows, done.replayed, table.warnings)


def predict_task(service: Service, call: Call) -> messages.Prediction:
    """Predict rows of a remembered task; one without rows is predicted as the fit knew it, or from the columns alone."""
    model, name = service.models[call.path["model"]], _task_name(call)
    request = call.read(messages.TaskPredictRequest)
    query = read_rows(model, by_column(request.query, "query", service.limits), "query", labelled=False)
    task = service.memory.find(model.name, name)
    adapted = None if task is None else _adapted(service, model, name, task)
    return predict(service, model, adapted, query, request, model.known.get(name))


def describe(service: Service, call: Call) -> messages.TaskDescription:
    """What is remembered of a task."""
    model, name = service.models[call.path["model"]], _task_name(call)
    task = service.memory.find(model.name, name)
    if task is None:
        raise _unknown(name)
    adapted = _adapted(service, model, name, task)
    rows = _rows_of(model, service.memory.read(task))
    return messages.TaskDescription(
        model=messages.ModelVersion(model.name, model.version),
        task=name,
        rows=task.n_rows,
        created=_iso(task.created),
        changed=_iso(task.changed),
        novelty=novelty_of(adapted),
        next_row=next_row(model, adapted, rows.X),
    )


def forget(service: Service, call: Call) -> Reply:
    """Delete a task: its rows, its keys and its adapted model."""
    model, name = service.models[call.path["model"]], _task_name(call)
    known = service.memory.forget(model.name, name)
    service.cache.drop((model.name, model.version, name))
    if not known:
        raise _unknown(name)
    return Reply(None, 204)


def _adapted(service: Service, model: Model, name: str, task: Task):
    """The model adapted to all rows of the task: from the cache, brought up to date by the appends that came since."""
    key = (model.name, model.version, name)
    entry = service.cache.get(key)
    if entry is not None and entry.task_id == task.id and entry.n_appends == task.n_appends:
        return entry.adapted
    current = entry is not None and entry.task_id == task.id and entry.n_appends < task.n_appends
    contents = service.memory.read(task, entry.n_appends if current else 0)
    if not contents:  # forgotten since it was found
        raise _unknown(name)
    try:
        rows = _rows_of(model, contents)
        adapted = entry.adapted.update(rows.X, rows.y) if current else model.meta.adapt(rows.X, rows.y)
    except (UpstairsError, Problem) as error:
        reason = error.detail if isinstance(error, Problem) else str(error)
        raise Problem(
            "outgrown", f"The rows remembered of the task don't fit version {model.version} of the model: {reason}"
        ) from None
    service.cache.put(key, task.id, task.n_appends, adapted)
    return adapted


def _rows_of(model: Model, contents: list[bytes]) -> Table:
    """The rows of several appends; a column that one of them lacks is missing there."""
    batches = [msgspec.json.decode(content) for content in contents]
    names = dict.fromkeys(name for batch in batches for name in batch)
    lengths = [len(next(iter(batch.values()))) for batch in batches]
    columns = {
        name: [value for batch, n in zip(batches, lengths, strict=True) for value in batch.get(name, [None] * n)]
        for name in names
    }
    return read_rows(model, columns, "the remembered rows", labelled=True)


def _compare_with_labels(service: Service, model: Model, task: str, table: Table) -> None:
    """Tell the metrics how well labels that arrived had been predicted, where the task's model is at hand."""
    entry = service.cache.get((model.name, model.version, task))
    if entry is None:
        return
    answers = entry.adapted.predict_all(table.X, coverage=0.9)
    if model.classifies:
        residuals, met = None, np.array([p == y for p, y in zip(answers["prediction"].tolist(), table.y, strict=True)])
    else:
        y = np.array(table.y, float)
        residuals = (y - answers["prediction"]) / answers["std"]
        met = (answers["lower"] <= y) & (y <= answers["upper"])
    service.metrics.labels_arrived(model.name, residuals, met)


def _task_name(call: Call) -> str:
    name = call.path["task"]
    if len(name) > LONGEST or _ODD.search(name):
        raise Problem("unusable", f"A task's name has 1 to {LONGEST} characters, and none that can't be printed.")
    return name


def _key_of(call: Call) -> str | None:
    key = call.headers.get("idempotency-key")
    if key is not None and not _PLAIN_KEY.fullmatch(key):
        raise Problem("unusable", "An Idempotency-Key has 1 to 200 printable ASCII characters, and no spaces.")
    return key


def _unknown(name: str) -> Problem:
    return Problem(
        "unknown-task", f"Nothing is remembered of a task {name!r}. It begins with the first rows that are appended."
    )


def _iso(time: datetime.datetime) -> str:
    return (time if time.tzinfo else time.replace(tzinfo=datetime.UTC)).astimezone(datetime.UTC).isoformat()
