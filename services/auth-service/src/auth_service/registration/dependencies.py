"""Dependency of endpoints that create accounts."""

from typing import Annotated

from auth_service.dependencies import service
from auth_service.registration.service import RegistrationService

RegistrationServiceDep = Annotated[RegistrationService, service("registration")]
