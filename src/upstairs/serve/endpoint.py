"""One way for every request: token, place, body, handler, answer; then metrics and a line in the log.

Handlers are plain functions. Those that compute run in threads, in turn (`turns`), so that the event loop stays free for health
checks and slow clients; a request whose time is up is told so, and its place stays taken until the thread is done with it.
"""

import asyncio
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from upstairs.serve import arrow, problems
from upstairs.serve.limits import Places
from upstairs.serve.logs import log, request_id
from upstairs.serve.operations import Operation
from upstairs.serve.problems import Problem
from upstairs.serve.service import Call, Reply, Service
from upstairs.serve.tokens import Client, Tokens
from upstairs.serve.turns import Turns, encoded

__all__ = ["Address", "Door", "send_problem"]

_JSON = "application/json"


class Door(NamedTuple):
    """What requests pass on their way to the service."""

    service: Service
    tokens: Tokens
    places: Places
    turns: Turns


class Request(NamedTuple):
    """A request before its body is read."""

    id: str
    scope: dict[str, Any]
    headers: dict[bytes, bytes]
    receive: Callable[..., Any]


class Address:
    """An ASGI application for one path: an operation for each method."""

    def __init__(self, operations: dict[str, Operation], door: Door):
        self._operations, self._door = operations, door

    async def __call__(self, scope, receive, send) -> None:
        start, headers = time.perf_counter(), dict(scope["headers"])
        request = Request(request_id(headers.get(b"x-request-id")), scope, headers, receive)
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        operation, client = self._operations.get(method), None
        reply: Reply | Problem
        fields: dict[str, Any] = {}
        try:
            if operation is None:
                allowed = ", ".join(self._operations)
                raise Problem("wrong-method", f"{method} isn't known here; {allowed} is.", {"Allow": allowed})
            client = self._client_of(request, operation)
            reply = await self._answer(request, operation, client)
        except ConnectionError:
            return  # the client went away before it had asked
        except Problem as problem:
            reply, fields = problem, {"problem": problem.kind}
        except Exception as error:
            log("bug", "error", id=request.id, traceback="".join(traceback.format_exception(error)))
            reply = Problem("broken", "The server failed on this request; its log says why, under the id of the request.")
        seconds, name = time.perf_counter() - start, operation.name if operation else "none"
        self._door.service.metrics.request(name, reply.status, seconds)
        fields |= {"client": client.name} if client else {}
        model = scope.get("path_params", {}).get("model")
        log("request", id=request.id, operation=name, model=model, status=reply.status, ms=round(seconds * 1e3, 2), **fields)
        if isinstance(reply, Problem):
            await send_problem(send, reply, request.id)
        else:
            await _send(send, reply.status, reply.media_type, reply.content, request.id)

    def _client_of(self, request: Request, operation: Operation) -> Client:
        address = (request.scope.get("client") or ("unknown",))[0]
        if operation.scope is None:
            return Client(address, "read")
        authorization = request.headers.get(b"authorization")
        client = self._door.tokens.client_of(authorization, address)
        if client is None:
            what = "The token is none that is known here" if authorization else "There is no token"
            raise Problem("no-token", f"{what}. Send the header Authorization: Bearer TOKEN.", {"WWW-Authenticate": "Bearer"})
        if not client.may(operation.scope):
            raise Problem(
                "not-allowed", f"This takes the scope {operation.scope}, and the token of {client.name!r} has {client.scope}."
            )
        return client

    async def _answer(self, request: Request, operation: Operation, client: Client) -> Reply:
        service, places = self._door.service, self._door.places
        if operation.runs == "here":
            return encoded(operation.handler(service, await self._call(request, operation)))
        if operation.runs == "aside":
            call = await self._call(request, operation)
            return await asyncio.to_thread(lambda: encoded(operation.handler(service, call)))
        places.take(client.name)
        try:
            call = await self._call(request, operation)
            given_up = threading.Event()
            future = self._door.turns.submit(operation, call, given_up)
        except BaseException:
            places.give_back(client.name)
            raise

        def leave(done: asyncio.Future) -> None:
            places.give_back(client.name)
            if not done.cancelled():
                done.exception()  # of one that nobody waits for, asyncio would complain that nobody looked

        future.add_done_callback(leave)
        try:
            return await asyncio.wait_for(asyncio.shield(future), service.limits.seconds)
        except TimeoutError:
            given_up.set()
            told = f"The answer takes longer than {service.limits.seconds:g} s; send fewer rows, or try again later."
            raise Problem("too-slow", told, {"Retry-After": "5"}) from None

    async def _call(self, request: Request, operation: Operation) -> Call:
        media_type, body = "", b""
        if operation.request is not None:
            media_type = _media_type(request, operation)
            body = await self._read_body(request, media_type)
        headers = {}
        parameters = {}
        for parameter in operation.parameters:
            value = request.headers.get(parameter.name.lower().encode()) if parameter.where == "header" else None
            if value is not None:
                headers[parameter.name.lower()] = value.decode("latin-1")
        if request.scope["query_string"]:
            parameters = _query_of(request.scope["query_string"])
        return Call(request.scope.get("path_params", {}), parameters, headers, media_type, body)

    async def _read_body(self, request: Request, media_type: str) -> bytes:
        limits = self._door.service.limits
        most = limits.bulk_bytes if media_type == arrow.MEDIA_TYPE else limits.body_bytes
        claimed = request.headers.get(b"content-length", b"0")
        if claimed.isdigit() and int(claimed) > most:
            raise _too_large(most)
        chunks, size = [], 0
        try:
            async with asyncio.timeout(limits.body_seconds):
                while True:
                    message = await request.receive()
                    if message["type"] == "http.disconnect":
                        raise ConnectionError
                    chunks.append(message.get("body", b""))
                    size += len(chunks[-1])
                    if size > most:
                        raise _too_large(most)
                    if not message.get("more_body"):
                        return b"".join(chunks)
        except TimeoutError:
            told = f"The body took longer than {limits.body_seconds:g} s to arrive."
            raise Problem("slow-client", told, {"Connection": "close"}) from None


async def send_problem(send, problem: Problem, identity: str) -> None:
    await _send(send, problem.status, problems.MEDIA_TYPE, problem.encode(identity), identity, problem.headers)


async def _send(send, status: int, media_type: str, body: bytes, identity: str, headers: dict[str, str] | None = None) -> None:
    lines = [(b"x-request-id", identity.encode()), (b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store")]
    if status != 204:
        lines += [(b"content-type", media_type.encode()), (b"content-length", str(len(body)).encode())]
    lines += [(name.lower().encode(), value.encode("latin-1", "replace")) for name, value in (headers or {}).items()]
    await send({"type": "http.response.start", "status": status, "headers": lines})
    await send({"type": "http.response.body", "body": body})


def _media_type(request: Request, operation: Operation) -> str:
    media_type = request.headers.get(b"content-type", _JSON.encode()).decode("latin-1").partition(";")[0].strip().lower()
    known = [_JSON, arrow.MEDIA_TYPE] if operation.bulk else [_JSON]
    if media_type not in known:
        raise Problem("wrong-media-type", f"The body is {media_type!r}; send {' or '.join(known)}.")
    if request.headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise Problem("wrong-media-type", "The body is compressed, which isn't read here; send it as it is.")
    return media_type


def _query_of(query: bytes) -> dict[str, str]:
    try:
        return dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True, max_num_fields=20))
    except ValueError:
        raise Problem("unusable", "There are more than 20 parameters in the address.") from None


def _too_large(most: int) -> Problem:
    return Problem("too-large", f"The body has more than {most:,} bytes; send fewer rows at once.", {"Connection": "close"})
