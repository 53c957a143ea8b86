"""The API of `upstairs serve` from Python, for whoever has tables rather than JSON. Needs httpx (extra ``serve``).

    client = Client("http://127.0.0.1:8000", token="...")
    stores = client.model("stores")
    stores.predict(X_query, support=(X_support, y_support))     # nothing is remembered
    store = stores.task("store 117")
    store.append(X_more, y_more)                                 # committed when it returns, and applied once
    store.predict(X_query)

Requests that the server was too busy for, or that were lost on the way, are sent again; an append carries the same key each
time, so that its rows are never applied twice.
"""

import math
import time
import uuid
from typing import Any
from urllib.parse import quote

import httpx
import numpy as np
import pyarrow as pa

from upstairs.errors import UpstairsError
from upstairs.frames import open_table, plain, read_vector

__all__ = ["Client", "RemoteModel", "RemoteTask"]

ATTEMPTS = 4
_STREAM = "application/vnd.apache.arrow.stream"


class Client:
    """A server.

    Parameters
    ----------
    url : str
    token : str, optional
    timeout : float, default=60
        Seconds for one answer.
    transport : httpx transport, optional
        What carries requests, where it isn't the network.
    """

    def __init__(self, url: str, token: str | None = None, timeout: float = 60.0, transport: Any = None):
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = httpx.Client(base_url=url, headers=headers, timeout=timeout, transport=transport)

    def models(self) -> list[dict]:
        """What is served: name, version, target, columns and more of each model."""
        return self.ask("GET", "/v1/models").json()["models"]

    def model(self, name: str) -> "RemoteModel":
        return RemoteModel(self, name)

    def ask(self, method: str, path: str, **request: Any) -> httpx.Response:
        """Send a request, again where that may help, and return its answer.

        Raises
        ------
        UpstairsError
            The server's own sentence, or that it can't be reached.
        """
        for attempt in range(ATTEMPTS):
            last = attempt == ATTEMPTS - 1
            try:
                answer = self._http.request(method, path, **request)
            except httpx.TransportError as error:
                if last:
                    raise UpstairsError(f"{self._http.base_url} can't be reached: {error}.") from None
                time.sleep(0.2 * 2**attempt)
                continue
            if answer.status_code not in (429, 503) or last:
                break
            time.sleep(min(float(answer.headers.get("Retry-After", 1)), 5.0))
        if answer.is_error:
            raise UpstairsError(_reason(answer))
        return answer

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_) -> None:
        self.close()


class RemoteModel:
    """A model of a server.

    Parameters
    ----------
    client : Client
    name : str
    """

    def __init__(self, client: Client, name: str):
        self.client, self.name, self._path = client, name, f"/v1/models/{quote(name, safe='')}"

    def describe(self) -> dict:
        """Its version, target, columns, classes and more."""
        return self.client.ask("GET", self._path).json()

    def predict(
        self, X: Any, support: tuple[Any, Any] | None = None, coverage: float = 0.9, explain: bool = False,
        novelty: bool = False,
    ) -> dict:  # fmt: skip
        """Predict rows of one task.

        Parameters
        ----------
        X : table of n rows
        support : (table of s rows, array-like [s]), optional
            Rows of the task whose target is known; without them the prediction is zero-shot.
        coverage : float in (0, 1), default=0.9
        explain, novelty : bool, default=False

        Returns
        -------
        answers : dict
            ``prediction`` and, for numbers, ``std``, ``lower`` and ``upper`` as arrays [n]; for classes ``probability``, an
            array [n] for each class; ``novelty``, ``shots``, ``warnings`` and more as the server sends them.
        """
        body = {"query": _columns(X), "coverage": coverage, "explain": explain, "novelty": novelty}
        if support is not None:
            body["support"] = _labelled(*support, self.describe()["target"])
        return _arrays(self.client.ask("POST", f"{self._path}/predict", json=body).json())

    def predict_many(self, table: pa.Table, coverage: float = 0.9) -> pa.Table:
        """Predict rows of many tasks in one request.

        Parameters
        ----------
        table : Arrow table of n rows
            With the target, null where it is to be predicted, and the column that names tasks, if there are several.
        coverage : float in (0, 1), default=0.9

        Returns
        -------
        answers : Arrow table
            A row for each whose target is null, in their order.
        """
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table)
        request = {
            "content": sink.getvalue().to_pybytes(),
            "headers": {"Content-Type": _STREAM},
            "params": {"coverage": coverage},
        }
        answer = self.client.ask("POST", f"{self._path}/predict", **request)
        return pa.ipc.open_stream(answer.content).read_all()

    def task(self, name: str) -> "RemoteTask":
        """A task that the server remembers, or will from its first rows on."""
        return RemoteTask(self, name)


class RemoteTask:
    """A task that a server remembers.

    Parameters
    ----------
    model : RemoteModel
    name : str
    """

    def __init__(self, model: RemoteModel, name: str):
        self.model, self.name, self._path = model, name, f"{model._path}/tasks/{quote(name, safe='')}"
        self._target: str | None = None

    def append(self, X: Any, y: Any) -> int:
        """Have labelled rows remembered; when this returns they are committed.

        Parameters
        ----------
        X : table of n rows
        y : array-like [n]

        Returns
        -------
        n_rows : int
            That the server now remembers of the task.
        """
        self._target = self._target or self.model.describe()["target"]
        body, key = {"rows": _labelled(X, y, self._target)}, str(uuid.uuid4())
        return self.model.client.ask("POST", f"{self._path}/rows", json=body, headers={"Idempotency-Key": key}).json()["rows"]

    def predict(self, X: Any, coverage: float = 0.9, explain: bool = False, novelty: bool = False) -> dict:
        """Predict rows of the task; answers as in `RemoteModel.predict`."""
        body = {"query": _columns(X), "coverage": coverage, "explain": explain, "novelty": novelty}
        return _arrays(self.model.client.ask("POST", f"{self._path}/predict", json=body).json())

    def describe(self) -> dict:
        """Its number of rows, novelty and more."""
        return self.model.client.ask("GET", self._path).json()

    def forget(self) -> None:
        """Have the server delete all rows of the task."""
        self.model.client.ask("DELETE", self._path)


def _columns(X: Any) -> dict[str, list]:
    table = open_table(X)
    return {name: _as_json(table.column(j, mixed=True)) for j, name in enumerate(table.names)}


def _labelled(X: Any, y: Any, target: str) -> dict[str, list]:
    columns = _columns(X)
    if target in columns:
        raise UpstairsError(f"X has a column {target!r}, as the target is called. Leave it out of X, y holds it.")
    return {**columns, target: read_vector(y, len(next(iter(columns.values()))), "y")[0].tolist()}


def _as_json(array: pa.Array) -> list:
    """Numbers, text and None as they are, dates as ISO 8601, durations in seconds."""
    array = plain(array)
    if pa.types.is_duration(array.type):
        return [value and value / 1e6 for value in array.cast(pa.duration("us"), safe=False).cast("int64").to_pylist()]
    if pa.types.is_timestamp(array.type):
        array = array.cast(pa.timestamp("us", array.type.tz), safe=False)
    values = array.to_pylist()
    if pa.types.is_temporal(array.type):
        return [value and value.isoformat() for value in values]
    if pa.types.is_decimal(array.type):
        values = [value and float(value) for value in values]
    return [None if isinstance(value, float) and math.isnan(value) else value for value in values]


def _arrays(answer: dict) -> dict:
    for name in ("prediction", "std", "lower", "upper"):
        if name in answer:
            answer[name] = np.array(answer[name])
    if "probability" in answer:
        answer["probability"] = {label: np.array(column) for label, column in answer["probability"].items()}
    return answer


def _reason(answer: httpx.Response) -> str:
    try:
        return answer.json()["detail"]
    except (ValueError, KeyError, TypeError):
        return f"{answer.request.url} answered with status {answer.status_code}, and not as upstairs does."
