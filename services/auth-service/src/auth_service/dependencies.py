"""What endpoints ask for, named after what it gives. All of it is made in the lifespan (`services`).

They are `async` without awaiting anything: FastAPI would run a plain function in a thread.
"""

from typing import Annotated

from fastapi import Depends, Request

from auth_service.accounts.service import AccountService
from auth_service.administration.service import AdministrationService
from auth_service.audit.service import AuditTrail
from auth_service.database import Clock, Database
from auth_service.email_addresses.service import EmailAddressService
from auth_service.passwords.service import PasswordService
from auth_service.services import Services
from auth_service.sessions.login import LoginService
from auth_service.sessions.service import SessionService


async def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


_ServicesDep = Annotated[Services, Depends(_services)]


async def _database(services: _ServicesDep) -> Database:
    return services.database


async def _clock(services: _ServicesDep) -> Clock:
    return services.clock


async def _audit(services: _ServicesDep) -> AuditTrail:
    return services.audit


async def _login(services: _ServicesDep) -> LoginService:
    return services.login


async def _sessions(services: _ServicesDep) -> SessionService:
    return services.sessions


async def _accounts(services: _ServicesDep) -> AccountService:
    return services.accounts


async def _addresses(services: _ServicesDep) -> EmailAddressService:
    return services.addresses


async def _passwords(services: _ServicesDep) -> PasswordService:
    return services.passwords


async def _administration(services: _ServicesDep) -> AdministrationService:
    return services.administration


DatabaseDep = Annotated[Database, Depends(_database)]
ClockDep = Annotated[Clock, Depends(_clock)]
AuditTrailDep = Annotated[AuditTrail, Depends(_audit)]
LoginServiceDep = Annotated[LoginService, Depends(_login)]
SessionServiceDep = Annotated[SessionService, Depends(_sessions)]
AccountServiceDep = Annotated[AccountService, Depends(_accounts)]
EmailAddressServiceDep = Annotated[EmailAddressService, Depends(_addresses)]
PasswordServiceDep = Annotated[PasswordService, Depends(_passwords)]
AdministrationServiceDep = Annotated[AdministrationService, Depends(_administration)]
