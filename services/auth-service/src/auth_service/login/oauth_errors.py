"""Errors of the token endpoint, for OAuth2 clients (RFC 6749 §5.2): `error` beside the members of a problem.

Libraries decide by `error`; without it some of them take the document for a token. Their media type is the RFC's.
"""

from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import Field
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from auth_service.login.problems import EmailNotVerified, InvalidCredentials
from auth_service.sessions.problems import InvalidRefreshToken
from auth_service.sessions.schemas import NO_STORE
from service_kit.problems import (
    MEDIA_TYPE,
    BadRequest,
    Problem,
    ProblemDocument,
    ServiceUnavailable,
    TooManyRequests,
    problem_document,
    problem_headers,
    problem_responses,
    validation_failed,
)

_JSON = "application/json"


class UnsupportedGrantType(BadRequest):
    code, title = "unsupported-grant-type", "This grant type is not supported: use password or refresh_token."


class OAuthErrorDocument(ProblemDocument):
    """RFC 6749 §5.2, and the members of a problem."""

    error: str = Field(examples=["invalid_grant"])
    error_description: str = Field(examples=[InvalidCredentials.title])


class TokenRoute(APIRoute):
    """A route that answers a refused request with an `OAuthErrorDocument`; server errors stay problems."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_with_oauth_errors(request: Request) -> Response:
            try:
                return await handle(request)
            except RequestValidationError as error:
                names = {str(name) for each in error.errors() for name in each["loc"]}
                wrong = UnsupportedGrantType() if "grant_type" in names else validation_failed(error)
                return _refusal(request, wrong)
            except HTTPException as error:
                if error.status_code != BadRequest.status:
                    raise
                return _refusal(request, BadRequest())
            except Problem as problem:
                if isinstance(problem, ServiceUnavailable):
                    raise
                return _refusal(request, problem)

        return handle_with_oauth_errors


def oauth_error_responses(*problems: type[Problem]) -> dict[int | str, dict[str, Any]]:
    """OpenAPI `responses` for the problems of a `TokenRoute`, with one example each."""
    responses: dict[int | str, dict[str, Any]] = {}
    for problem in problems:
        ((_, described),) = problem_responses(problem).items()
        content = described["content"][MEDIA_TYPE]
        ((code, example),) = content["examples"].items()
        status = _status(problem)
        members = {"status": status, "error": _error(problem), "error_description": problem.title}
        headers = described["headers"] if status == TooManyRequests.status else {}
        response = responses.setdefault(
            status,
            {
                "model": OAuthErrorDocument,
                "description": HTTPStatus(status).phrase,
                "headers": headers,
                "content": {_JSON: {"examples": {}}},
            },
        )
        response["content"][_JSON]["examples"][code] = {**example, "value": {**example["value"], **members}}
    return responses


def _status(problem: type[Problem]) -> int:
    """RFC 6749 has 400 for all that a client can correct, also for wrong credentials."""
    return problem.status if issubclass(problem, TooManyRequests) else BadRequest.status


def _error(problem: type[Problem]) -> str:
    if issubclass(problem, InvalidCredentials | EmailNotVerified | InvalidRefreshToken):
        return "invalid_grant"
    if issubclass(problem, UnsupportedGrantType):
        return "unsupported_grant_type"
    # The RFC has no error for a limit: this one is of its other endpoint.
    return "temporarily_unavailable" if issubclass(problem, TooManyRequests) else "invalid_request"


def _refusal(request: Request, problem: Problem) -> Response:
    status, error = _status(type(problem)), _error(type(problem))
    document = problem_document(
        request.scope["path"],
        status=status,
        code=problem.code,
        title=problem.title,
        detail=problem.detail,
        errors=problem.errors,
    )
    headers = {**problem_headers(request, problem), **NO_STORE}
    headers.pop("WWW-Authenticate", None)
    return JSONResponse(document | {"error": error, "error_description": problem.title}, status, headers)
