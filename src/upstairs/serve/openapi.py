"""The OpenAPI document, made of the operations and their messages, so that it can't tell anything else than what is served."""

from typing import Any

import msgspec

from upstairs import __version__
from upstairs.serve import arrow
from upstairs.serve.messages import schemas
from upstairs.serve.operations import Operation, Parameter
from upstairs.serve.problems import KINDS, MEDIA_TYPE, ProblemDetails

__all__ = ["describe"]

_DESCRIPTION = (
    "Meta-models that learned across many tasks adapt to a task from few rows, inside a request or with the rows of a task "
    "remembered. Problems are told as RFC 9457 has it; bearer tokens have a scope of read, write or admin."
)


def describe(operations: tuple[Operation, ...]) -> bytes:
    """The document as JSON."""
    types = [*{t: None for o in operations for t in (o.request, o.reply) if t is not None}, ProblemDetails]
    found, components = schemas(types)
    schema_of = dict(zip(types, found, strict=True))
    paths: dict[str, dict] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, schema_of)
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {
                "title": "Upstairs",
                "version": __version__,
                "description": _DESCRIPTION,
                "license": {"name": "Apache-2.0"},
            },
            "paths": paths,
            "components": {"schemas": components, "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
        }
    )


def _operation(operation: Operation, schema_of: dict[Any, dict]) -> dict:
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "description": f"Needs a token with the scope {operation.scope}." if operation.scope else "Needs no token.",
        "security": [{"token": []}] if operation.scope else [],
        "parameters": [_parameter(parameter) for parameter in operation.parameters],
        "responses": _responses(operation, schema_of),
    }
    if operation.request is not None:
        content: dict[str, Any] = {"application/json": {"schema": schema_of[operation.request], "example": operation.example}}
        if operation.bulk:
            content[arrow.MEDIA_TYPE] = {"schema": {"type": "string", "contentMediaType": arrow.MEDIA_TYPE}}
        described["requestBody"] = {"required": True, "content": content}
    return described


def _parameter(parameter: Parameter) -> dict:
    return {
        "name": parameter.name,
        "in": parameter.where,
        "description": parameter.description,
        "required": parameter.where == "path",
        "schema": parameter.schema,
        "example": parameter.example,
    }


def _responses(operation: Operation, schema_of: dict[Any, dict]) -> dict[str, dict]:
    content: dict[str, Any] = {}
    if operation.reply is not None:
        content["application/json"] = {"schema": schema_of[operation.reply]}
    if operation.bulk:
        content[arrow.MEDIA_TYPE] = {"schema": {"type": "string", "contentMediaType": arrow.MEDIA_TYPE}}
    if operation.media_type is not None:
        content[operation.media_type] = {"schema": {"type": "string"}}
    responses: dict[str, dict] = {str(operation.status): {"description": "Done."} | ({"content": content} if content else {})}
    kinds = (*operation.problems, *(("no-token", "not-allowed") if operation.scope else ()), "broken")
    for status in sorted({KINDS[kind].status for kind in kinds}):
        titles = dict.fromkeys(KINDS[kind].title for kind in kinds if KINDS[kind].status == status)
        responses[str(status)] = {
            "description": "; or: ".join(titles) + ".",
            "content": {MEDIA_TYPE: {"schema": schema_of[ProblemDetails]}},
        }
    return responses
