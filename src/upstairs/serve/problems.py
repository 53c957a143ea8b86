"""What goes wrong, said in one way: RFC 9457 problem details, each with a kind, a status and one clear sentence.

A `Problem` may be raised anywhere on a request's way; the endpoint makes it the answer. Kinds are data, so that the OpenAPI
document can list them.
"""

from typing import NamedTuple

import msgspec

__all__ = ["KINDS", "MEDIA_TYPE", "Kind", "Problem", "ProblemDetails"]

MEDIA_TYPE = "application/problem+json"


class Kind(NamedTuple):
    """A status of HTTP, and what it means in general."""

    status: int
    title: str


KINDS = {
    "unreadable": Kind(400, "The body can't be read"),
    "no-token": Kind(401, "A token is needed"),
    "not-allowed": Kind(403, "The token doesn't allow this"),
    "unknown-address": Kind(404, "There is nothing at this address"),
    "unknown-model": Kind(404, "There is no such model"),
    "unknown-task": Kind(404, "There is no such task"),
    "wrong-method": Kind(405, "This address doesn't know the method"),
    "slow-client": Kind(408, "The request took too long to arrive"),
    "key-reused": Kind(409, "The idempotency key was used with other rows"),
    "outgrown": Kind(409, "The remembered rows don't fit the model any more"),
    "too-large": Kind(413, "The body is too large"),
    "wrong-media-type": Kind(415, "The body is of a media type that isn't read here"),
    "unusable": Kind(422, "The request can't be used"),
    "too-many": Kind(429, "Too many requests of this client at once"),
    "broken": Kind(500, "The server has a bug"),
    "busy": Kind(503, "The server is busy"),
    "no-database": Kind(503, "The tasks' database can't be reached or written"),
    "not-ready": Kind(503, "The server isn't ready"),
    "too-slow": Kind(503, "The answer took too long to compute"),
}


class ProblemDetails(msgspec.Struct, frozen=True):
    """What went wrong (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    instance: str


class Problem(Exception):
    """A request can't be answered as asked.

    Parameters
    ----------
    kind : str
        A key of ``KINDS``.
    detail : str
        One sentence that names what is wrong and says what to do.
    headers : dict of str, optional
        Of the answer, such as ``Retry-After``.
    """

    def __init__(self, kind: str, detail: str, headers: dict[str, str] | None = None):
        super().__init__(detail)
        self.kind, self.detail, self.headers = kind, detail, headers or {}
        self.status = KINDS[kind].status

    def encode(self, request_id: str) -> bytes:
        details = ProblemDetails(
            f"urn:upstairs:problem:{self.kind}", KINDS[self.kind].title, self.status, self.detail, f"urn:request:{request_id}"
        )
        return msgspec.json.encode(details)
