"""Rules of accounts: they are opened, changed, shown and deleted by their owners."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.accounts.export import export_of
from auth_service.accounts.models import Credential, Permission, Role, User
from auth_service.accounts.problems import EmailTaken, LastAdmin, PasswordsDoNotMatch, UsernameReserved, UsernameTaken
from auth_service.accounts.repository import AccountRepository
from auth_service.accounts.schemas import Export, ProfileChange, Registration
from auth_service.accounts.usernames import is_reserved
from auth_service.audit.models import Event
from auth_service.audit.service import AuditTrail
from auth_service.database import Clock, Database, new_id
from auth_service.email_addresses.service import EmailAddressService
from auth_service.limits.policies import Limits
from auth_service.limits.service import AttemptLimiter, Subject
from auth_service.metrics import AuthMetrics
from auth_service.origin import Origin
from auth_service.passwords.hashing import PasswordHasher
from auth_service.passwords.policy import weakness
from auth_service.passwords.problems import PasswordTooWeak
from auth_service.sessions.schemas import Tokens
from auth_service.sessions.service import SessionService
from service_kit.problems import Forbidden
from service_kit.rate_limit import RateLimit
from service_kit.tokens import InvalidToken

# Several times as long as it takes to store an account.
_QUIET_SECONDS = 0.05


@contextlib.asynccontextmanager
async def lasting_a_multiple_of(seconds: float) -> AsyncIterator[None]:
    """Wait at the end, unless by an exception, so that how long it took can't be told from without."""
    began = time.monotonic()
    yield
    await asyncio.sleep((began - time.monotonic()) % seconds)


def check_registration(registration: Registration, by: User | None) -> None:
    """Raises `PasswordsDoNotMatch`, `PasswordTooWeak`, `UsernameReserved`; `Forbidden` if `by` can't give the role."""
    if registration.password != registration.password_confirm:
        raise PasswordsDoNotMatch
    if reason := weakness(registration.password, username=registration.username, email=registration.email):
        raise PasswordTooWeak(reason)
    may_give = by is not None and by.may(Permission.WRITE_USERS)
    if registration.role is not Role.CUSTOMER and not may_give:
        raise Forbidden("Only an admin can give a role other than customer.")
    if is_reserved(registration.username) and not may_give:
        raise UsernameReserved


def new_account(registration: Registration, password_hash: str, now: datetime) -> User:
    return User(
        id=new_id(),
        username=registration.username,
        name=registration.name,
        email=registration.email,
        role=registration.role,
        created_at=now,
        updated_at=now,
        credential=Credential(password_hash=password_hash, password_changed_at=now),
    )


def keep_an_admin(active_admins: AbstractSet[str], user: User) -> None:
    """Before somebody is taken away from the active admins, which are locked: raises `LastAdmin` if nobody is left."""
    if active_admins <= {user.id} and user.id in active_admins:
        raise LastAdmin


@dataclass(frozen=True)
class AccountService:
    database: Database
    passwords: PasswordHasher
    sessions: SessionService
    addresses: EmailAddressService
    limiter: AttemptLimiter
    limits: Limits
    audit: AuditTrail
    clock: Clock
    metrics: AuthMetrics
    require_verified_email: bool

    async def take_registration(self, origin: Origin) -> RateLimit:
        """Raises `TooManyRequests`."""
        async with self.database.transaction() as session:
            return await self.limiter.take(session, [Subject(self.limits.registration_address, origin.network)])

    async def register(self, registration: Registration, by: User | None, origin: Origin) -> tuple[User, Tokens] | None:
        """Open an account. `by` is who asks for it, if that person is logged in.

        Returns None if the address has to be confirmed first, whether it is new or not. Raises what
        `check_registration` does, `UsernameTaken`, `EmailTaken`.
        """
        check_registration(registration, by)
        if self.require_verified_email:
            await self._register_quietly(registration, by, origin)
            return None
        async with self.database.transaction() as session:
            # What is taken anyway is not worth a hash; whoever is faster meanwhile is found by the unique indexes.
            accounts = AccountRepository(session)
            if await accounts.get_by_username(registration.username):
                raise UsernameTaken
            if await accounts.get_by_email(registration.email):
                raise EmailTaken
        password_hash = await self.passwords.hash(registration.password)
        async with self.database.transaction() as session:
            user = await self._create(session, registration, password_hash, by, origin)
            tokens = await self.sessions.start(session, user, origin)
            mail = await self.addresses.confirmation(session, user)
        self.addresses.send_soon(mail)
        return user, tokens

    async def _register_quietly(self, registration: Registration, by: User | None, origin: Origin) -> None:
        """The same work and answer for an address that has an account: its owner is told by mail.

        But for what is stored, which takes some milliseconds more for a new one.
        """
        password_hash = await self.passwords.hash(registration.password)
        async with lasting_a_multiple_of(_QUIET_SECONDS):
            try:
                async with self.database.transaction() as session:
                    user = await self._create(session, registration, password_hash, by, origin)
                    mail = await self.addresses.confirmation(session, user)
            except EmailTaken:
                self.addresses.tell_owner_of_registration(registration.email)
            else:
                self.addresses.send_soon(mail)

    async def _create(
        self, session: AsyncSession, registration: Registration, password_hash: str, by: User | None, origin: Origin
    ) -> User:
        user = new_account(registration, password_hash, self.clock())
        await AccountRepository(session).create(user)
        actor_id = by.id if by else user.id
        await self.audit.record(session, Event.USER_CREATED, origin, user_id=user.id, actor_id=actor_id, role=user.role)
        self.metrics.registrations.inc()
        return user

    async def change(self, user_id: str, change: ProfileChange, origin: Origin) -> User:
        """Change one's own profile; a new address has to be confirmed before it replaces the old one.

        Raises `UsernameTaken`, `UsernameReserved`, `EmailTaken`.
        """
        mails = []
        async with self.database.transaction() as session:
            accounts = AccountRepository(session)
            user = await _existing(accounts, user_id)
            if change.username is not None and change.username != user.username:
                if is_reserved(change.username):
                    raise UsernameReserved
                user.username = change.username
                await accounts.flush()  # before the next query sends it, whose errors nobody translates
            if change.name is not None:
                user.name = change.name
            if change.email is not None:
                mails = await self.addresses.change(session, user, change.email)
            user.updated_at = self.clock()
            await accounts.flush()
            fields = sorted(name for name, value in change if value is not None)
            await self.audit.record(session, Event.USER_UPDATED, origin, user_id=user.id, fields=fields)
        for mail in mails:
            self.addresses.send_soon(mail)
        return user

    async def export(self, user_id: str, origin: Origin) -> Export:
        """Everything that is held about somebody, for him."""
        async with self.database.transaction() as session:
            user = await _existing(AccountRepository(session), user_id)
            export = await export_of(session, user, self.clock())
            await self.audit.record(session, Event.SENSITIVE_READ, origin, user_id=user_id, what="export")
        return export

    async def delete(self, user_id: str, origin: Origin) -> None:
        """Delete one's own account for good. Raises `LastAdmin`."""
        async with self.database.transaction() as session:
            accounts = AccountRepository(session)
            admins = await accounts.lock_active_admins()
            user = await _existing(accounts, user_id)
            keep_an_admin(admins, user)
            await accounts.delete(user)
            await self.audit.record(session, Event.USER_DELETED, origin, user_id=user_id)


async def _existing(accounts: AccountRepository, user_id: str) -> User:
    """Somebody who was there when the request began. Raises `InvalidToken` if not any more."""
    user = await accounts.lock(user_id)
    if user is None:
        raise InvalidToken
    return user
