"""Rules of accounts."""

from dataclasses import dataclass

from auth_service.accounts.models import Role, User
from auth_service.accounts.problems import PasswordsDoNotMatch
from auth_service.accounts.repository import AccountRepository
from auth_service.accounts.schemas import Registration
from auth_service.passwords import PasswordHasher
from service_kit.problems import Forbidden


@dataclass(frozen=True)
class AccountService:
    accounts: AccountRepository
    passwords: PasswordHasher

    async def register(self, registration: Registration, by: User | None) -> User:
        """Open an account. `by` is who asks for it, if that person is logged in.

        Raises `PasswordsDoNotMatch`, `Forbidden` (a role other than customer is given by an admin),
        `UsernameTaken`, `EmailTaken`.
        """
        if registration.password != registration.password_confirm:
            raise PasswordsDoNotMatch
        if registration.role is not Role.CUSTOMER and (by is None or by.role != Role.ADMIN):
            raise Forbidden("Only an admin can give a role other than customer.")
        user = User(
            username=registration.username, name=registration.name, email=registration.email, role=registration.role
        )
        await self.accounts.create(user, await self.passwords.hash(registration.password))
        return user
