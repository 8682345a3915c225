"""Problems of requests that name a route."""

from typing import ClassVar

from service_kit.problems import FieldError, ValidationFailed


class UnknownRoute(ValidationFailed):
    code, title = "unknown-route", "Route not found."
    place: ClassVar = {"parameter": "route"}

    def __init__(self) -> None:
        super().__init__(errors=[FieldError(**self.place, code=self.code, detail=self.title)])


class UnknownRouteInBody(UnknownRoute):
    place: ClassVar = {"pointer": "/route"}
