"""Additions to the OpenAPI document that FastAPI generates."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from service_kit.problems import (
    MEDIA_TYPE,
    BadRequest,
    PayloadTooLarge,
    ProblemDocument,
    UnsupportedMediaType,
    ValidationFailed,
    header_references,
    problem_responses,
)
from service_kit.request_context import REQUEST_ID_HEADER
from service_kit.roles import Scope

# `openapi_extra` of an operation with an optional bearer token, which FastAPI documents as required.
TOKEN_IS_OPTIONAL: dict[str, Any] = {"security": [{}]}

# A field of operations: scopes that some requests need as well, each with the condition.
MORE_SCOPES = "x-more-scopes"


def also_needs(scope: Scope, condition: str) -> dict[str, Any]:
    """`openapi_extra` of an operation of which some requests need another scope."""
    return {MORE_SCOPES: {str(scope): condition}}


# The texts of requests have no NUL (`RequestBody`, `QueryTextMiddleware`).
_TEXT = "^[^\\u0000]*$"

_SCHEMAS = "#/components/schemas/{model}"
_LIMITED = ("RateLimit", "RateLimit-Policy")

HEADERS: dict[str, dict[str, Any]] = {
    REQUEST_ID_HEADER: {
        "description": "The client's id if well-formed, else a new one. Every log line of the request has it.",
        "required": True,
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,128}$"},
        "example": "01a20aed-ba0e-79f0-8b83-c5bb8662bc58",
    },
    "WWW-Authenticate": {
        "description": "RFC 6750 §3.",
        "required": True,
        "schema": {"type": "string"},
        "example": 'Bearer error="invalid_token"',
    },
    "InsufficientScope": {
        "description": "RFC 6750 §3.1, if the token lacks a scope.",
        "schema": {"type": "string"},
        "example": 'Bearer error="insufficient_scope", scope="users:read"',
    },
    "Retry-After": {
        "description": "Seconds.",
        "required": True,
        "schema": {"type": "integer", "minimum": 0},
        "example": 2,
    },
    "RateLimit": {
        "description": "The limit that is reached first: attempts left, and seconds until more are allowed.",
        "schema": {"type": "string", "pattern": '^"[a-z-]+";r=[0-9]+;t=[0-9]+$'},
        "example": '"login-account";r=9;t=900',
    },
    "RateLimit-Policy": {
        "description": "The limit that is reached first: attempts allowed in a window, and the window in seconds.",
        "schema": {"type": "string", "pattern": '^"[a-z-]+";q=[0-9]+;w=[0-9]+$'},
        "example": '"login-account";q=10;w=900',
    },
}


def describe_responses(app: FastAPI) -> None:
    """Document the errors of every request body, our 422 instead of FastAPI's, and the headers of all responses."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
            components = schema.setdefault("components", {})
            components["headers"] = HEADERS
            _replace_validation_error(components.setdefault("schemas", {}))
            for operations in schema["paths"].values():
                for operation in operations.values():
                    _describe_texts(operation, components["schemas"])
                    _complete(operation)
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend the schema


def _replace_validation_error(schemas: dict[str, Any]) -> None:
    document = ProblemDocument.model_json_schema(ref_template=_SCHEMAS)
    schemas.update(document.pop("$defs", {}))
    schemas["ProblemDocument"] = document
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)


def _complete(operation: dict[str, Any]) -> None:
    responses = operation["responses"]
    if "requestBody" in operation:
        for status, response in problem_responses(BadRequest, PayloadTooLarge, UnsupportedMediaType).items():
            responses.setdefault(str(status), response)
    if MEDIA_TYPE not in responses.get("422", {}).get("content", {MEDIA_TYPE: None}):
        responses["422"] = problem_responses(ValidationFailed)[422]
    headers = header_references(REQUEST_ID_HEADER, *(_LIMITED if "429" in responses else ()))
    for status, response in responses.items():
        responses[status] = {**response, "headers": {**headers, **response.get("headers", {})}}


def _describe_texts(operation: dict[str, Any], schemas: dict[str, Any]) -> None:
    """Exclude NUL from the texts of an operation's query and body."""
    queries = (each["schema"] for each in operation.get("parameters", ()) if each["in"] == "query")
    bodies = (content["schema"] for content in operation.get("requestBody", {}).get("content", {}).values())
    pending: list[Any] = [*queries, *bodies]
    seen = set()
    while pending:
        schema = pending.pop()
        if not isinstance(schema, dict) or id(schema) in seen:
            continue
        seen.add(id(schema))
        if _is_any_text(schema):
            schema["pattern"] = _TEXT
        if "$ref" in schema:
            pending.append(schemas[schema["$ref"].removeprefix(_SCHEMAS.format(model=""))])
        pending += [*schema.get("anyOf", ()), *schema.get("properties", {}).values(), schema.get("items")]


def _is_any_text(schema: dict[str, Any]) -> bool:
    is_unformatted = schema.get("type") == "string" and schema.get("format", "password") == "password"
    return is_unformatted and schema.keys().isdisjoint({"pattern", "enum", "const"})
