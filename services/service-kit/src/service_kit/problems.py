"""Errors as RFC 9457 `application/problem+json`.

    Problem                      status and code are set by each subclass
    ├── BadRequest               400
    ├── Unauthorized             401
    ├── Forbidden                403
    ├── NotFound                 404
    ├── PayloadTooLarge          413
    ├── UnsupportedMediaType     415
    ├── ValidationFailed         422
    ├── TooManyRequests          429
    └── ServiceUnavailable       503

A service derives its own problems, raises them where they are known, and hands the classes to
`problem_responses` so that OpenAPI shows each with an example.
"""

from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, ClassVar
from urllib.parse import quote

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.routing import Match

from service_kit.error_texts import error_text
from service_kit.rate_limit import RateLimit
from service_kit.request_context import REQUEST_ID_HEADER, current_request_id

log = structlog.get_logger(__name__)

MEDIA_TYPE = "application/problem+json"
# Of one answer, so that a wrong request costs little more than a right one.
MAX_ERRORS = 20
_MAX_NAME_LENGTH = 100


class FieldError(BaseModel):
    """One invalid field: `pointer` names a field of the body, `parameter` one of the path, query or headers."""

    detail: str
    code: str
    pointer: str | None = None
    parameter: str | None = None


class ProblemDocument(BaseModel):
    """RFC 9457 §3, with a stable `code` and the invalid fields."""

    type: str = Field(json_schema_extra={"format": "uri"})
    title: str
    status: int = Field(ge=400, le=599)
    detail: str
    instance: str = Field(description="The path of the request.", json_schema_extra={"format": "uri-reference"})
    code: str
    request_id: str
    errors: list[FieldError] | None = Field(default=None, description=f"The first {MAX_ERRORS} invalid fields.")


class Problem(Exception):  # noqa: N818 - RFC 9457's own word
    """An error response. `code` is kebab-case and never changes; `title` is for people.

    `pointer` or `parameter` names the field that the problem is about, if it is always the same, as in `FieldError`.

    With `commits_transaction` the transaction in which the problem is raised is committed, not rolled back: a failed
    login, for example, is recorded in the audit trail.
    """

    status: ClassVar[int]
    code: ClassVar[str]
    title: ClassVar[str]
    pointer: ClassVar[str | None] = None
    parameter: ClassVar[str | None] = None
    commits_transaction: ClassVar[bool] = False

    def __init__(
        self,
        detail: str | None = None,
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail or self.title)
        self.detail = detail or self.title
        self.errors = list(errors)
        if not errors and (self.pointer or self.parameter):
            self.errors = [
                FieldError(detail=self.title, code=self.code, pointer=self.pointer, parameter=self.parameter)
            ]
        self.headers = dict(headers or {})


class BadRequest(Problem):
    status, code, title = 400, "bad-request", "The request can't be parsed."


class Unauthorized(Problem):
    """RFC 6750 §3: every 401 names the scheme, and the error if a token was sent."""

    status, code, title = 401, "not-authenticated", "A bearer token is required."
    challenge: ClassVar[str] = "Bearer"

    def __init__(self, detail: str | None = None) -> None:
        super().__init__(detail, headers={"WWW-Authenticate": self.challenge})


class Forbidden(Problem):
    status, code, title = 403, "forbidden", "Permission denied."


class NotFound(Problem):
    status, code, title = 404, "not-found", "Resource not found."


class PayloadTooLarge(Problem):
    status, code, title = 413, "payload-too-large", "The request body is too large."


class UnsupportedMediaType(Problem):
    status, code, title = 415, "unsupported-media-type", "Send the body as application/json, without compression."


class ValidationFailed(Problem):
    status, code, title = 422, "validation-failed", "Some fields are invalid."


class TooManyRequests(Problem):
    """RFC 6585 §4, with the headers of draft-ietf-httpapi-ratelimit-headers.

    It commits, which keeps the rows that count attempts: InnoDB reports a deadlock if several transactions wait for a
    row whose insert is rolled back.
    """

    status, code, title = 429, "too-many-requests", "Rate limit exceeded. Try again later."
    commits_transaction = True

    def __init__(self, limit: RateLimit | None = None) -> None:
        headers = {} if limit is None else {**limit.headers(), "Retry-After": str(limit.reset_seconds)}
        super().__init__(headers=headers)


class ServiceUnavailable(Problem):
    status, code, title = 503, "service-unavailable", "A dependency is unavailable. Try again shortly."

    def __init__(self, detail: str | None = None, *, retry_after_seconds: int = 2) -> None:
        super().__init__(detail, headers={"Retry-After": str(retry_after_seconds)})


def problem_document(
    request_path: str, *, status: int, code: str, title: str, detail: str, errors: Sequence[FieldError] = ()
) -> dict[str, Any]:
    document = ProblemDocument(
        type=f"urn:tandem:problem:{code}",
        title=title,
        status=status,
        detail=detail,
        instance=quote(request_path, safe="/:@!$&'()*+,;=~"),
        code=code,
        request_id=current_request_id(),
        errors=list(errors) or None,
    )
    return document.model_dump(exclude_none=True)


def problem_headers(request: Request, problem: Problem) -> dict[str, str]:
    """Those of the problem, and the limit that the request has come nearest to."""
    limit: RateLimit | None = getattr(request.state, "rate_limit", None)
    return {**(limit.headers() if limit else {}), **problem.headers}


def problem_response(request: Request, problem: Problem) -> JSONResponse:
    document = problem_document(
        request.scope["path"],
        status=problem.status,
        code=problem.code,
        title=problem.title,
        detail=problem.detail,
        errors=problem.errors,
    )
    return JSONResponse(document, problem.status, problem_headers(request, problem), MEDIA_TYPE)


# Headers of responses with this status; `openapi` describes them.
_HEADERS = {
    401: ("WWW-Authenticate",),
    429: ("Retry-After", "RateLimit", "RateLimit-Policy"),
    503: ("Retry-After",),
}


# Not a header of every 403: not every one is about a scope.
_INSUFFICIENT_SCOPE = {"WWW-Authenticate": {"$ref": "#/components/headers/InsufficientScope"}}


def header_references(*names: str) -> dict[str, Any]:
    """OpenAPI `headers` of a response."""
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _headers_of(status: int) -> dict[str, Any]:
    return _INSUFFICIENT_SCOPE if status == HTTPStatus.FORBIDDEN else header_references(*_HEADERS.get(status, ()))


def problem_responses(*problems: type[Problem]) -> dict[int | str, dict[str, Any]]:
    """OpenAPI `responses` for the problems of a route, with one example each."""
    responses: dict[int | str, dict[str, Any]] = {}
    for problem in problems:
        response = responses.setdefault(
            problem.status,
            {
                "description": HTTPStatus(problem.status).phrase,
                "headers": _headers_of(problem.status),
                "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDocument"}, "examples": {}}},
            },
        )
        example = {
            "type": f"urn:tandem:problem:{problem.code}",
            "title": problem.title,
            "status": problem.status,
            "detail": problem.title,
            "instance": "/v1/example",
            "code": problem.code,
            "request_id": "01a20aed-ba0e-79f0-8b83-c5bb8662bc58",
        }
        if problem is ValidationFailed:
            example |= {
                "detail": "#/name: Field required",
                "errors": [{"detail": "Field required", "code": "missing", "pointer": "#/name"}],
            }
        response["content"][MEDIA_TYPE]["examples"][problem.code] = {"summary": problem.title, "value": example}
    return responses


def _pointer(location: Sequence[str | int]) -> str:
    """RFC 6901, as a URI fragment as in the example of RFC 9457 §3.

    Names come from the client: they may be long, and may contain half of a surrogate pair, which can't be encoded.
    """
    names = (_shortened(str(part)).encode(errors="backslashreplace").decode() for part in location)
    return "#" + "".join("/" + name.replace("~", "~0").replace("/", "~1") for name in names)


def _shortened(name: str) -> str:
    return name if len(name) <= _MAX_NAME_LENGTH else f"{name[:_MAX_NAME_LENGTH]}…"


def _field_error(error: Mapping[str, Any]) -> FieldError:
    where, *location = error["loc"]
    code = str(error["type"]).replace("_", "-")
    if where == "body":
        # If the body is not JSON, the location is an offset, not a field.
        pointer = "#" if error["type"] == "json_invalid" else _pointer(location)
        return FieldError(detail=error["msg"], code=code, pointer=pointer)
    return FieldError(detail=error["msg"], code=code, parameter=".".join(map(str, location)))


async def _on_problem(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Problem)  # noqa: S101 - registered for this class
    return problem_response(request, error)


def validation_failed(error: RequestValidationError) -> ValidationFailed:
    """The problem with the first invalid fields."""
    found = error.errors()
    errors = [_field_error(each) for each in found[:MAX_ERRORS]]
    detail = "; ".join(f"{each.pointer or each.parameter}: {each.detail}" for each in errors)
    if len(found) > MAX_ERRORS:
        detail += f"; and {len(found) - MAX_ERRORS} more"
    return ValidationFailed(detail, errors=errors)


async def _on_validation_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this class
    if error.body and not _is_json(request) and any(each["loc"] == ("body",) for each in error.errors()):
        return problem_response(request, UnsupportedMediaType())
    return problem_response(request, validation_failed(error))


def _is_json(request: Request) -> bool:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return media_type.startswith("application/") and media_type.endswith(("/json", "+json"))


_BY_STATUS = {problem.status: problem for problem in (BadRequest, NotFound, PayloadTooLarge)}


_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def _allowed_methods(request: Request) -> str:
    """`Allow` (RFC 9110 §10.2.1) for all routes of this path; the framework considers only the first one."""
    routes = request.app.routes
    asked = ((method, {**request.scope, "method": method}) for method in _METHODS)
    allowed = {method for method, scope in asked if any(route.matches(scope)[0] is Match.FULL for route in routes)}
    if "GET" in allowed:
        allowed.add("HEAD")  # by `HeadMiddleware`
    return ", ".join(method for method in _METHODS if method in allowed)


async def _on_http_exception(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this class
    if problem := _BY_STATUS.get(error.status_code):
        return problem_response(request, problem())
    status = HTTPStatus(error.status_code)
    document = problem_document(
        request.scope["path"],
        status=status,
        code=status.phrase.lower().replace(" ", "-"),
        title=status.description or status.phrase,
        detail=error.detail,
    )
    headers = {"Allow": _allowed_methods(request)} if status == HTTPStatus.METHOD_NOT_ALLOWED else error.headers
    return JSONResponse(document, status, headers, MEDIA_TYPE)


async def _on_unexpected_error(request: Request, error: Exception) -> JSONResponse:
    log.error("unexpected error", exc_info=error)
    document = problem_document(
        request.scope["path"],
        status=500,
        code="internal-error",
        title="Internal server error.",
        detail="The error was logged with the request id.",
    )
    # This response bypasses the middleware that adds the request id.
    return JSONResponse(document, 500, {REQUEST_ID_HEADER: current_request_id()}, MEDIA_TYPE)


def install_problem_handlers(
    app: FastAPI,
    unavailable_on: Sequence[type[Exception]] = (),
    unavailable_if: Mapping[type[Exception], Callable[[Any], bool]] | None = None,
) -> None:
    """Send every error as problem+json.

    Driver errors in `unavailable_on` become a 503, and those in `unavailable_if` for which the function is true.
    """

    async def on_unavailable(request: Request, error: Exception) -> JSONResponse:
        log.warning("dependency unavailable", error=error_text(error))
        return problem_response(request, ServiceUnavailable())

    app.add_exception_handler(Problem, _on_problem)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(Exception, _on_unexpected_error)
    for error in unavailable_on:
        app.add_exception_handler(error, on_unavailable)

    def add_conditional_handler(error: type[Exception], is_unavailable: Callable[[Any], bool]) -> None:
        async def on_error(request: Request, error: Exception) -> JSONResponse:
            if not is_unavailable(error):
                raise error
            return await on_unavailable(request, error)

        app.add_exception_handler(error, on_error)

    for kind, condition in (unavailable_if or {}).items():
        add_conditional_handler(kind, condition)
