"""What goes over the wire, as types: msgspec reads and checks bodies along them, and the OpenAPI document is made of them."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

__all__ = [
    "AppendRequest",
    "Appended",
    "Explanation",
    "Health",
    "ModelDescription",
    "ModelList",
    "PlatformModel",
    "PredictRequest",
    "Prediction",
    "Rows",
    "TaskDescription",
    "TaskPredictRequest",
]

Cell = float | int | str | bool | None
Rows = list[dict[str, Cell]] | dict[str, list[Cell]]
Coverage = Annotated[float, Meta(gt=0, lt=1, description="Probability that the interval covers the truth.")]
Query = Annotated[
    Rows, Meta(description="Rows to predict: a list of records, or an object of columns. null is a missing value.")
]


class TaskPredictRequest(Struct, forbid_unknown_fields=True):
    """Rows of a remembered task to predict."""

    query: Query
    coverage: Coverage = 0.9
    explain: Annotated[bool, Meta(description="Also say what each prediction is made of.")] = False
    novelty: Annotated[bool, Meta(description="Also say how like the tasks of the fit this one is; many times the work.")] = (
        False
    )


class PredictRequest(TaskPredictRequest, forbid_unknown_fields=True):
    """Rows to predict, and rows of the same task whose target is known."""

    support: Annotated[
        Rows | None, Meta(description="Labelled rows of the task, with the target among their columns; none is zero-shot.")
    ] = None
    task: Annotated[
        str | int | None, Meta(description="A task known from the fit; it counts only where there are no support rows.")
    ] = None


class AppendRequest(Struct, forbid_unknown_fields=True):
    """Labelled rows of a task."""

    rows: Annotated[Rows, Meta(description="With the target among their columns.")]


class ModelVersion(Struct, frozen=True):
    """Which model answered."""

    name: str
    version: Annotated[str, Meta(description="The first digits of its file's SHA-256.")]


class Explanation(Struct):
    """Predictions of n rows as sums on the learner's own scale: base + shared + level + scale + slopes + local."""

    base: list[float]
    shared: Annotated[dict[str, list[float]], Meta(description="What the meta-model says of such rows, by column.")]
    level: Annotated[list[float], Meta(description="The task's own level.")]
    scale: Annotated[list[float], Meta(description="How much stronger or weaker the shared effects are in this task.")]
    slopes: Annotated[dict[str, list[float]], Meta(description="The task's own effects, by column.")]
    local: Annotated[list[float], Meta(description="What support rows near the query row add.")]
    support: Annotated[list[list[float]], Meta(description="How far each support row moved each prediction.")]
    exact: bool


class Prediction(Struct, omit_defaults=True):
    """Answers, one for each query row, in their order."""

    model: ModelVersion
    based_on: Annotated[str, Meta(description="support, known task, or columns (zero-shot).")]
    shots: Annotated[int, Meta(description="Support rows behind the answers.")]
    prediction: Annotated[list[Cell], Meta(description="The mean, or the most probable class.")]
    std: Annotated[list[float] | None, Meta(description="Numbers only.")] = None
    lower: list[float] | None = None
    upper: list[float] | None = None
    coverage: float | None = None
    probability: Annotated[dict[str, list[float]] | None, Meta(description="Classes only: by class.")] = None
    novelty: Annotated[
        float | None,
        Meta(
            description="p-value of 'this task is like those of the fit'; small is novel. Absent without support, and unasked."
        ),
    ] = None
    explanation: Annotated[
        dict[str, Explanation] | None, Meta(description="Of the target; for classes, of each class (of two, of the second).")
    ] = None
    warnings: list[str] = []


class Appended(Struct):
    """Rows are committed: they survive whatever happens now."""

    task: str
    rows: Annotated[int, Meta(description="Rows of the task after this request was applied.")]
    replayed: Annotated[bool, Meta(description="The same key had come before; nothing was applied again.")]
    warnings: list[str] = []


class TaskDescription(Struct):
    """What is remembered of a task."""

    model: ModelVersion
    task: str
    rows: int
    created: Annotated[str, Meta(description="Time of the first row, ISO 8601 in UTC.")]
    changed: Annotated[str, Meta(description="Time of the last row.")]
    novelty: float | None
    next_row: Annotated[
        float | None,
        Meta(description="Value of the next row: the share of the mean standard deviation that it is expected to take away."),
    ]


class Column(Struct):
    """A column that a model reads."""

    name: str
    holds: Annotated[str, Meta(description="number, category, date, time or duration. Dates are text in ISO 8601.")]


class ModelDescription(Struct):
    """What a model predicts, and from what."""

    name: str
    version: str
    learner: str
    target: str
    task: str | None
    columns: list[Column]
    classes: list[Cell] | None
    known_tasks: int
    loaded: Annotated[str, Meta(description="ISO 8601 in UTC.")]
    note: Annotated[str | None, Meta(description="Why the file, as it is now, isn't served; an older version is.")]


class ModelList(Struct):
    """All models that are served, and why others aren't."""

    models: list[ModelDescription]
    refused: Annotated[
        dict[str, str], Meta(description="Files that can't be loaded and have no older version: reasons by name.")
    ]


class Health(Struct, omit_defaults=True):
    """Of the server, in the words of the Open Inference Protocol."""

    live: bool | None = None
    ready: bool | None = None
    notes: Annotated[dict[str, str], Meta(description="What is wrong although the server is ready, by model.")] = {}


class Tensor(Struct):
    """An input or output in the words of the Open Inference Protocol."""

    name: str
    datatype: str
    shape: list[int]


class PlatformModel(Struct):
    """A model in the words of the Open Inference Protocol."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[Tensor]
    outputs: list[Tensor]


class ModelReady(Struct):
    """Whether a model is served, in the words of the Open Inference Protocol."""

    name: str
    ready: bool


Schema = dict[str, Any]


def schemas(types: list[type]) -> tuple[list[Schema], dict[str, Schema]]:
    """JSON schemas of the given types, and of what they refer to, as an OpenAPI document holds them."""
    found, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    return list(found), components
