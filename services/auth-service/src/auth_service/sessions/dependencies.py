"""Dependency of endpoints that begin, renew or end sessions."""

from typing import Annotated

from auth_service.dependencies import service
from auth_service.sessions.service import SessionService

SessionServiceDep = Annotated[SessionService, service("sessions")]
