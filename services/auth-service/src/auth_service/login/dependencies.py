"""Dependency of endpoints that log users in."""

from typing import Annotated

from auth_service.dependencies import service
from auth_service.login.service import LoginService

LoginServiceDep = Annotated[LoginService, service("login")]
