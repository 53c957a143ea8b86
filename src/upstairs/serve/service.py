"""What the handlers of one worker share, and one request as they see it."""

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar

import msgspec

from upstairs.serve.cache import Cache
from upstairs.serve.memory import Memory
from upstairs.serve.metrics import Metrics
from upstairs.serve.models import Models
from upstairs.serve.problems import Problem
from upstairs.serve.settings import Limits

__all__ = ["Call", "Reply", "Service"]

T = TypeVar("T")


class Service(NamedTuple):
    """The parts of a worker."""

    models: Models
    memory: Memory
    cache: Cache
    metrics: Metrics
    limits: Limits


class Reply(NamedTuple):
    """An answer that isn't plain JSON with status 200."""

    content: Any
    status: int = 200
    media_type: str = "application/json"


class Call(NamedTuple):
    """One request: names in its path, its query parameters, headers that an operation reads, and its body."""

    path: Mapping[str, str]
    parameters: Mapping[str, str]
    headers: Mapping[str, str]
    media_type: str
    body: bytes

    def read(self, message: type[T]) -> T:
        """The JSON body as a message, or the Problem why it is none."""
        try:
            return msgspec.json.decode(self.body, type=message)
        except msgspec.ValidationError as error:
            raise Problem("unusable", f"The body isn't what is read here: {error}.") from None
        except RecursionError:
            raise Problem("unusable", "The body is nested too deeply; rows are flat.") from None
        except (msgspec.DecodeError, ValueError) as error:
            raise Problem("unreadable", f"The body is no JSON: {error}.") from None
