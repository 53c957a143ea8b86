"""Every address of the API as data: method, path, scope, messages, problems, example. Routes and OpenAPI are made of it."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

from upstairs.serve import messages, metrics, remembering, stateless, status
from upstairs.serve.service import Call, Service

__all__ = ["MODEL", "OPERATIONS", "TASK", "Operation", "Parameter"]


class Parameter(NamedTuple):
    """A name in the path, a query parameter or a header."""

    name: str
    where: Literal["path", "query", "header"]
    description: str
    schema: dict[str, Any]
    example: Any


class Operation(NamedTuple):
    """What one method of one address does.

    Attributes
    ----------
    name, method, path, summary : str
    scope : str or None
        That a token must have; None needs no token.
    handler : (service, call) -> message or Reply
    runs : "here", "aside" or "queued"
        On the event loop, for what takes no time; in a thread at once; or in turn, among what computes.
    reply : type or None
        Of the answer's message; None for other media.
    problems : tuple of str
        Kinds that it may answer with, beside those of every operation.
    request : type, optional
    parameters : tuple of Parameter
    example : object, optional
        Of a request.
    together : (service, calls) -> list of messages, replies or exceptions, optional
        Answers calls with JSON in one go.
    bulk : bool
        Takes Arrow streams as well.
    media_type : str or None
        Of an answer that is no JSON.
    """

    name: str
    method: str
    path: str
    summary: str
    scope: Literal["read", "write", "admin"] | None
    handler: Callable[[Service, Call], Any]
    runs: Literal["here", "aside", "queued"]
    reply: type | None
    problems: tuple[str, ...] = ()
    request: Any = None
    parameters: tuple[Parameter, ...] = ()
    example: Any = None
    together: Callable[[Service, Sequence[Call]], list[Any]] | None = None
    bulk: bool = False
    media_type: str | None = None

    @property
    def status(self) -> int:
        return 204 if self.reply is None and self.media_type is None else 200


_NAME = {"type": "string", "minLength": 1, "maxLength": 200}
MODEL = Parameter("model", "path", "Name of a model, as /v1/models lists it.", _NAME, "stores")
TASK = Parameter("task", "path", "Your own name of a task: printable characters, no slash.", _NAME, "store 117")
COVERAGE = Parameter(
    "coverage",
    "query",
    "Of the intervals in answer to an Arrow stream.",
    {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
    0.9,
)
KEY = Parameter(
    "Idempotency-Key",
    "header",
    "Draw one at random for each append and repeat it when you repeat the append: rows with a key are applied once.",
    {"type": "string", "pattern": "^[!-~]{1,200}$"},
    "5f0c4c1e-8a55-4f5e-9f0f-2b8a3c6d1e07",
)

_SUPPORT = [{"price": 2.5, "kind": "mall", "sales": 31.0}, {"price": 1.9, "kind": "mall", "sales": 37.5}]
_QUERY = [{"price": 2.1, "kind": "mall"}]
_COMPUTES = ("unreadable", "slow-client", "too-large", "wrong-media-type", "unusable", "too-many", "busy", "too-slow")
_ONE = ("unknown-model",)
_KEPT = (*_ONE, "no-database", "unusable")
_QUEUED = ("too-many", "busy", "too-slow")

OPERATIONS = (
    Operation(
        "predict", "POST", "/v1/models/{model}/predict", "Adapt to the support rows of a task and predict its query rows.",
        "read", stateless.predict_rows, "queued", messages.Prediction, (*_COMPUTES, *_ONE), messages.PredictRequest,
        (MODEL, COVERAGE), {"support": _SUPPORT, "query": _QUERY, "coverage": 0.9}, stateless.predict_together, bulk=True,
    ),
    Operation(
        "appendRows", "POST", "/v1/models/{model}/tasks/{task}/rows", "Remember labelled rows of a task.",
        "write", remembering.append, "queued", messages.Appended, (*_COMPUTES, *_KEPT, "key-reused"), messages.AppendRequest,
        (MODEL, TASK, KEY), {"rows": _SUPPORT},
    ),
    Operation(
        "predictTask", "POST", "/v1/models/{model}/tasks/{task}/predict", "Predict rows of a remembered task.",
        "read", remembering.predict_task, "queued", messages.Prediction, (*_COMPUTES, *_KEPT, "outgrown", "unknown-task"),
        messages.TaskPredictRequest, (MODEL, TASK), {"query": _QUERY},
    ),
    Operation(
        "describeTask", "GET", "/v1/models/{model}/tasks/{task}", "What is remembered of a task.",
        "read", remembering.describe, "queued", messages.TaskDescription, (*_QUEUED, *_KEPT, "outgrown", "unknown-task"),
        parameters=(MODEL, TASK),
    ),
    Operation(
        "forgetTask", "DELETE", "/v1/models/{model}/tasks/{task}", "Forget a task: its rows, its keys and its adapted model.",
        "write", remembering.forget, "queued", None, (*_QUEUED, *_KEPT, "unknown-task"), parameters=(MODEL, TASK),
    ),
    Operation("listModels", "GET", "/v1/models", "All models.", "read", status.list_models, "here", messages.ModelList),
    Operation(
        "describeModel", "GET", "/v1/models/{model}", "What a model predicts, and from what.",
        "read", status.one_model, "here", messages.ModelDescription, _ONE, parameters=(MODEL,),
    ),
    Operation("live", "GET", "/v2/health/live", "The process answers.", None, status.live, "here", messages.Health),
    Operation(
        "ready", "GET", "/v2/health/ready", "There is a model, and the tasks' database answers.",
        None, status.ready, "aside", messages.Health, ("not-ready", "no-database"),
    ),
    Operation(
        "platformModel", "GET", "/v2/models/{model}", "A model in the words of the Open Inference Protocol.",
        "read", status.platform_model, "here", messages.PlatformModel, _ONE, parameters=(MODEL,),
    ),
    Operation(
        "platformModelReady", "GET", "/v2/models/{model}/ready", "A model is served.",
        "read", status.ready_model, "here", messages.ModelReady, _ONE, parameters=(MODEL,),
    ),
    Operation(
        "metrics", "GET", "/metrics", "Metrics in Prometheus's format.",
        "admin", status.show_metrics, "aside", None, media_type=metrics.MEDIA_TYPE,
    ),
)  # fmt: skip
