"""Problems of requests that name a route."""

from typing import ClassVar

from service_kit.problems import NotFound, Problem, ValidationFailed


class UnknownRoute(ValidationFailed):
    code, title = "unknown-route", "Route not found."
    parameter: ClassVar[str | None] = "route"


class UnknownRouteInBody(UnknownRoute):
    pointer, parameter = "/route", None


class RouteNotFound(NotFound):
    code, title = "route-not-found", "Route not found."


class RouteNotStopped(Problem):
    status, code, title = 409, "route-not-stopped", "The route is not stopped."


class PauseNotConfirmed(Problem):
    """The route is paused, and a process may still apply events that it has in work."""

    status, code, title = 503, "pause-not-confirmed", "The pause is not confirmed."


class RoutesRefused(Problem):
    """The detail has a line for each error, which names file, line, route and field."""

    status, code, title = 409, "routes-refused", "The routes file is wrong. The former routes stay in force."


class OffsetOutOfRange(ValidationFailed):
    code, title = "offset-out-of-range", "An offset is not between the next event of its partition and its end."
