"""What a service answers until its application has started: it is alive, and not ready.

A start takes long where a schema is migrated, a database is unavailable or the machine is busy. Docker and Kubernetes
must not mistake that for a process that hangs.
"""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from service_kit.problems import ServiceUnavailable, problem_response

_REASON = "the service is starting"


async def starting_app(scope: Scope, receive: Receive, send: Send) -> None:
    """An ASGI application: `/healthz` is 200, `/readyz` and all others are 503."""
    response = _response(Request(scope))
    # Otherwise this application would also answer the later requests of the connection.
    response.headers["Connection"] = "close"
    await response(scope, receive, send)


def _response(request: Request) -> Response:
    match request.url.path:
        case "/healthz":
            return JSONResponse({"status": "ok"})
        case "/readyz":
            return JSONResponse({"status": "not ready", "checks": {"start": _REASON}, "remarks": []}, 503)
        case _:
            return problem_response(request, ServiceUnavailable("The service is starting. Try again shortly."))
