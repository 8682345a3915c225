"""Authorisation of the caller of a request by scope (`service_kit.authorization`)."""

from typing import Annotated

from fastapi import Request, Security
from fastapi.security import SecurityScopes

from auth_service.audit.dependencies import AuditTrailDep
from auth_service.audit.models import Event
from auth_service.client_info import ClientInfoDep
from auth_service.dependencies import DatabaseDep
from auth_service.sessions.authentication import Caller, CurrentCaller
from service_kit.authorization import InsufficientScope, require_scopes
from service_kit.problems import ServiceUnavailable, Unauthorized
from service_kit.roles import Scope
from service_kit.tokens import InvalidToken

# The problems of every endpoint that needs a scope.
SCOPE_PROBLEMS = (Unauthorized, InvalidToken, InsufficientScope, ServiceUnavailable)


async def _scoped_caller(
    *,
    request: Request,
    needed: SecurityScopes,
    caller: CurrentCaller,
    database: DatabaseDep,
    audit: AuditTrailDep,
    client: ClientInfoDep,
) -> Caller:
    """Raises `SCOPE_PROBLEMS`. The audit trail records what is refused for want of a scope."""
    try:
        require_scopes(caller.scopes, needed.scopes)
    except InsufficientScope:
        async with database.transaction(caller.user.id) as session:
            wanted = f"{request.method} {request.scope['route'].path}"
            await audit.record_repeated(
                session, Event.AUTHZ_FAIL, client, user_id=caller.user.id, actor_id=caller.user.id, wanted=wanted
            )
        raise
    return caller


CallerMayWriteProfile = Annotated[Caller, Security(_scoped_caller, scopes=[Scope.PROFILE_WRITE])]
CallerMayReadUsers = Annotated[Caller, Security(_scoped_caller, scopes=[Scope.USERS_READ])]
CallerMayWriteUsers = Annotated[Caller, Security(_scoped_caller, scopes=[Scope.USERS_WRITE])]
CallerMayReadAudit = Annotated[Caller, Security(_scoped_caller, scopes=[Scope.AUDIT_READ])]
