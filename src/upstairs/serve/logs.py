"""Structured logs: one JSON object a line on stderr, each request with the id that its answer carries.

Neither tokens, rows nor names of tasks are ever logged: tasks are often people.
"""

import datetime
import logging
import re
import secrets
import sys
import traceback
from typing import Any

import msgspec

__all__ = ["log", "request_id", "route_to_stderr"]

_PLAIN_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")


def log(event: str, level: str = "info", **fields: Any) -> None:
    """Write a line."""
    at = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
    line = msgspec.json.encode({"at": at, "level": level, "event": event, **fields}, enc_hook=str)
    sys.stderr.write(line.decode() + "\n")
    sys.stderr.flush()


def request_id(header: bytes | None) -> str:
    """The id that the client, or a proxy before it, gave to a request, if it is plain; else a new one."""
    return header.decode() if header is not None and _PLAIN_ID.fullmatch(header) else secrets.token_hex(8)


def route_to_stderr() -> None:
    """Send what libraries log, uvicorn above all, the same way."""
    root = logging.getLogger()
    root.handlers[:] = [_Lines()]
    root.setLevel(logging.WARNING)
    logging.getLogger("uvicorn.error").setLevel(logging.INFO)


class _Lines(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        fields = {"logger": record.name, "message": record.getMessage()}
        if record.exc_info:
            fields["traceback"] = "".join(traceback.format_exception(*record.exc_info))
        log("server", record.levelname.lower(), **fields)
