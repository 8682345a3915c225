"""Dependencies of endpoints: settings, database, clock and services.

They are `async` without awaiting anything: FastAPI would run a plain function in a thread.
"""

from typing import Annotated, Any

from fastapi import Depends, Request

from auth_service.database import Clock, Database
from auth_service.settings import Settings


async def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


async def _database(request: Request) -> Database:
    database: Database = request.app.state.database
    return database


async def _clock(request: Request) -> Clock:
    clock: Clock = request.app.state.clock
    return clock


def service(name: str) -> Any:
    """Depends on a service of `services.Services`, by the name of its field."""

    async def service_of(request: Request) -> Any:
        return getattr(request.app.state.services, name)

    return Depends(service_of)


SettingsDep = Annotated[Settings, Depends(_settings)]
DatabaseDep = Annotated[Database, Depends(_database)]
ClockDep = Annotated[Clock, Depends(_clock)]
