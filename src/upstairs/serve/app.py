"""The application of one worker: its parts put together, its addresses, and what goes on beside requests."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from upstairs.serve import openapi, page
from upstairs.serve.cache import Cache
from upstairs.serve.endpoint import Address, Door
from upstairs.serve.limits import Places
from upstairs.serve.logs import log, request_id, route_to_stderr
from upstairs.serve.memory import Memory
from upstairs.serve.metrics import Metrics
from upstairs.serve.models import Models
from upstairs.serve.operations import OPERATIONS
from upstairs.serve.problems import MEDIA_TYPE, Problem
from upstairs.serve.service import Service
from upstairs.serve.settings import Settings
from upstairs.serve.tokens import Tokens
from upstairs.serve.turns import Turns

__all__ = ["create", "from_environment"]


def from_environment() -> Starlette:
    """What uvicorn calls in every worker."""
    route_to_stderr()
    return create(Settings.from_environment())


def create(settings: Settings) -> Starlette:
    """An ASGI application for these settings.

    Parameters
    ----------
    settings : Settings

    Returns
    -------
    app : Starlette

    Raises
    ------
    UpstairsError
        Where tokens or the database's URL can't be used.
    """
    limits, metrics = settings.limits, Metrics()
    service = Service(
        Models(settings.models, metrics, settings.shared),
        Memory(settings.database, limits.rows_per_task),
        Cache(limits.cache_bytes),
        metrics,
        limits,
    )
    turns = Turns(service, limits.threads)
    door = Door(service, Tokens.find(settings.tokens), Places(limits), turns)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        await asyncio.to_thread(service.models.look)
        looking = asyncio.create_task(_keep_looking(service, settings.reload_seconds))
        yield
        looking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await looking
        turns.shutdown()
        service.memory.close()

    app = Starlette(routes=_routes(door), lifespan=lifespan, exception_handlers={HTTPException: _nothing_here})
    app.state.door = door
    return app


async def _keep_looking(service: Service, seconds: float) -> None:
    while True:
        await asyncio.sleep(seconds)
        try:
            await asyncio.to_thread(service.models.look)
        except Exception as error:  # it must not be the last look
            log("look failed", "error", reason=repr(error))
        service.cache.keep({(model.name, model.version) for model in service.models.all()})


def _routes(door: Door) -> list[Route]:
    addresses: dict[str, dict] = {}
    for operation in OPERATIONS:
        addresses.setdefault(operation.path, {})[operation.method] = operation
    document = openapi.describe(OPERATIONS)
    return [
        *(Route(path, Address(operations, door)) for path, operations in addresses.items()),
        Route("/openapi.json", lambda request: Response(document, media_type="application/json")),
        *page.routes(),
    ]


async def _nothing_here(request: Request, error: Exception) -> Response:
    identity = request_id(request.headers.get("x-request-id", "").encode("latin-1") or None)
    kind, detail = "unknown-address", "There is nothing at this address; /openapi.json lists what there is."
    headers: dict[str, Any] = dict(getattr(error, "headers", None) or {})
    if getattr(error, "status_code", 404) == 405:
        kind, detail = "wrong-method", f"{request.method} isn't known here; {headers.get('Allow', 'GET')} is."
    problem = Problem(kind, detail)
    return Response(problem.encode(identity), problem.status, {**headers, "x-request-id": identity}, MEDIA_TYPE)
