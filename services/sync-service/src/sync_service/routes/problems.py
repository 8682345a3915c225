"""Problems of requests that name a route."""

from typing import ClassVar

from service_kit.problems import ValidationFailed


class UnknownRoute(ValidationFailed):
    code, title = "unknown-route", "Route not found."
    parameter: ClassVar[str | None] = "route"


class UnknownRouteInBody(UnknownRoute):
    pointer, parameter = "/route", None
