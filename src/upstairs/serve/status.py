"""What a server says of itself and its models: health in the words of the Open Inference Protocol, models, metrics."""

import datetime

from upstairs.serve import messages, metrics
from upstairs.serve.models import Model
from upstairs.serve.predicting import label_names
from upstairs.serve.problems import Problem
from upstairs.serve.service import Call, Reply, Service

__all__ = ["list_models", "live", "one_model", "platform_model", "ready", "ready_model", "show_metrics"]


def live(service: Service, call: Call) -> messages.Health:
    """The process answers."""
    return messages.Health(live=True)


def ready(service: Service, call: Call) -> messages.Health:
    """There is a model, and the tasks' database answers; notes tell of model files that aren't served as they are."""
    if not service.models.all():
        raise Problem("not-ready", "No model is loaded.", {"Retry-After": "2"})
    service.memory.check()
    return messages.Health(ready=True, notes=dict(service.models.notes))


def list_models(service: Service, call: Call) -> messages.ModelList:
    """All models."""
    served = service.models.all()
    refused = {name: note for name, note in service.models.notes.items() if name not in {model.name for model in served}}
    return messages.ModelList([_described(service, model) for model in served], refused)


def one_model(service: Service, call: Call) -> messages.ModelDescription:
    """One model."""
    return _described(service, service.models[call.path["model"]])


def platform_model(service: Service, call: Call) -> messages.PlatformModel:
    """One model, in the words of the Open Inference Protocol."""
    model = service.models[call.path["model"]]
    datatypes = {"number": "FP64", "duration": "FP64"}
    inputs = [messages.Tensor(c.name, datatypes.get(c.kind, "BYTES"), [-1]) for c in model.meta.columns_.columns]
    if model.classifies:
        outputs = [messages.Tensor("prediction", "BYTES", [-1])]
        outputs += [messages.Tensor(f"probability_{label}", "FP64", [-1]) for label in label_names(model)]
    else:
        outputs = [messages.Tensor(name, "FP64", [-1]) for name in ("prediction", "std", "lower", "upper")]
    return messages.PlatformModel(model.name, [model.version], f"upstairs_{type(model.meta).__name__}", inputs, outputs)


def ready_model(service: Service, call: Call) -> messages.ModelReady:
    """One model is served."""
    return messages.ModelReady(service.models[call.path["model"]].name, True)


def show_metrics(service: Service, call: Call) -> Reply:
    """Metrics of all workers."""
    return Reply(service.metrics.text(), media_type=metrics.MEDIA_TYPE)


def _described(service: Service, model: Model) -> messages.ModelDescription:
    meta = model.meta
    return messages.ModelDescription(
        name=model.name,
        version=model.version,
        learner=type(meta).__name__,
        target=model.target,
        task=meta.names_.task,
        columns=[messages.Column(column.name, column.kind) for column in meta.columns_.columns],
        classes=meta.classes_.tolist() if model.classifies else None,
        known_tasks=len(model.known),
        loaded=datetime.datetime.fromtimestamp(model.loaded, datetime.UTC).isoformat(timespec="seconds"),
        note=service.models.notes.get(model.name),
    )
