"""Dependency of endpoints that record audit events."""

from typing import Annotated

from auth_service.audit.service import AuditTrail
from auth_service.dependencies import service

AuditTrailDep = Annotated[AuditTrail, service("audit")]
