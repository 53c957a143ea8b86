"""Who computes when: most calls in a few threads, in turn; calls that can be answered together, in one thread of their own.

Adapting to ten rows and predicting ten costs the library about as much for eight tasks as for one. So when the thread that
predicts is free, it takes along all that wait for it, up to ``MOST_BYTES`` of bodies: the more clients there are, the less each
request costs, and with one client nothing waits.
"""

import asyncio
import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import msgspec

from upstairs.serve.operations import Operation
from upstairs.serve.service import Call, Reply, Service

__all__ = ["Turns", "encoded"]

MOST_BYTES = 2**18


class Ticket(NamedTuple):
    """A call that waits to be answered together with others."""

    call: Call
    given_up: threading.Event
    future: Future


class Turns:
    """The threads of one worker."""

    def __init__(self, service: Service, n_threads: int):
        self._service = service
        self._threads = ThreadPoolExecutor(n_threads, thread_name_prefix="upstairs")
        self._one = ThreadPoolExecutor(1, thread_name_prefix="upstairs-together")
        self._waiting: dict[str, deque[Ticket]] = {}

    def submit(self, operation: Operation, call: Call, given_up: threading.Event) -> asyncio.Future:
        """The reply to come; where ``given_up`` is set before its turn, nothing is computed."""
        if operation.together is None or call.media_type != "application/json":
            return asyncio.get_running_loop().run_in_executor(self._threads, self._answer, operation, call, given_up)
        ticket = Ticket(call, given_up, Future())
        self._waiting.setdefault(operation.name, deque()).append(ticket)
        self._one.submit(self._answer_waiting, operation)
        return asyncio.wrap_future(ticket.future)

    def shutdown(self) -> None:
        self._threads.shutdown()
        self._one.shutdown()

    def _answer(self, operation: Operation, call: Call, given_up: threading.Event) -> Reply:
        return Reply(b"", 503) if given_up.is_set() else encoded(operation.handler(self._service, call))

    def _answer_waiting(self, operation: Operation) -> None:
        tickets, size, waiting = [], 0, self._waiting[operation.name]
        while waiting and size < MOST_BYTES:  # none, if the turn before this took all
            ticket = waiting.popleft()
            size += len(ticket.call.body)
            if ticket.given_up.is_set():
                ticket.future.set_result(Reply(b"", 503))
            else:
                tickets.append(ticket)
        try:
            answers = [_attempt(answer) for answer in operation.together(self._service, [ticket.call for ticket in tickets])]
        except Exception as error:
            answers = [error] * len(tickets)
        for ticket, answer in zip(tickets, answers, strict=True):
            if isinstance(answer, Exception):
                ticket.future.set_exception(answer)
            else:
                ticket.future.set_result(answer)


def encoded(answer: Any) -> Reply:
    """An answer as bytes."""
    reply = answer if isinstance(answer, Reply) else Reply(answer)
    if reply.content is None or isinstance(reply.content, bytes):
        return reply._replace(content=reply.content or b"")
    return reply._replace(content=msgspec.json.encode(reply.content))


def _attempt(answer: Any) -> Reply | Exception:
    try:
        return answer if isinstance(answer, Exception) else encoded(answer)
    except Exception as error:
        return error
