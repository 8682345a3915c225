"""Checks the permissions of the caller of a request."""

from typing import Annotated

from fastapi import Depends, Request

from auth_service.audit.dependencies import AuditTrailDep
from auth_service.audit.models import Event
from auth_service.client_info import ClientInfoDep
from auth_service.dependencies import DatabaseDep
from auth_service.sessions.authentication import Caller, CurrentCaller
from auth_service.users.models import Permission
from service_kit.problems import Forbidden


class _Requires:
    """A dependency: the caller, if the account's present role has the permission. Raises `Forbidden`."""

    def __init__(self, permission: Permission) -> None:
        self._permission = permission

    async def __call__(
        self,
        request: Request,
        caller: CurrentCaller,
        database: DatabaseDep,
        audit: AuditTrailDep,
        client: ClientInfoDep,
    ) -> Caller:
        if caller.user.has_permission(self._permission):
            return caller
        async with database.transaction() as session:
            wanted = f"{request.method} {request.scope['route'].path}"
            await audit.record(session, Event.AUTHZ_FAIL, client, user_id=caller.user.id, wanted=wanted)
        raise Forbidden


CallerMayReadUsers = Annotated[Caller, Depends(_Requires(Permission.READ_USERS))]
CallerMayWriteUsers = Annotated[Caller, Depends(_Requires(Permission.WRITE_USERS))]
CallerMayReadAudit = Annotated[Caller, Depends(_Requires(Permission.READ_AUDIT))]
