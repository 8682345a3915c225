"""Dependencies of the endpoints. The lifespan (`main`) creates the objects that they return."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import Depends, Security, params

from service_kit.authorization import ScopedCaller
from service_kit.roles import Scope
from service_kit.tokens import AccessToken

_caller = ScopedCaller()

# The caller of an endpoint that reads, or that writes.
SyncReader = Annotated[AccessToken, Security(_caller, scopes=[Scope.SYNC_READ])]
SyncWriter = Annotated[AccessToken, Security(_caller, scopes=[Scope.SYNC_WRITE])]

# Of endpoints that are public where there are accounts, and not where the operator is the only caller.
FOR_READERS: Sequence[params.Depends] = [Security(_caller, scopes=[Scope.SYNC_READ])]


async def _reads_personal(caller: SyncReader) -> bool:
    return Scope.USERS_READ in caller.scopes


# May the caller read the personal fields of users, as they are in auth-service?
ReadsPersonal = Annotated[bool, Depends(_reads_personal)]
