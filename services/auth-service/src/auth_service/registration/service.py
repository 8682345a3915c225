"""Rules of a registration."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.audit.models import Event
from auth_service.audit.service import AuditTrail
from auth_service.client_info import ClientInfo
from auth_service.database import Clock, new_id
from auth_service.email_addresses.service import EmailAddressService
from auth_service.limits.anonymous_database import AnonymousDatabase
from auth_service.limits.policies import Limits
from auth_service.limits.service import AttemptLimiter, Subject
from auth_service.metrics import AuthMetrics
from auth_service.passwords.hashing import PasswordHasher
from auth_service.passwords.policy import weakness
from auth_service.passwords.problems import PasswordTooWeak
from auth_service.passwords.reauthentication import Reauthenticator
from auth_service.registration.problems import PasswordsDoNotMatch
from auth_service.registration.schemas import Registration
from auth_service.sessions.authentication import Caller
from auth_service.sessions.schemas import Tokens
from auth_service.sessions.service import SessionService
from auth_service.users.models import Credential, User
from auth_service.users.problems import EmailTaken, UsernameReserved, UsernameTaken
from auth_service.users.repository import UserRepository
from auth_service.users.service import is_reserved
from auth_service.users.usernames import Usernames
from service_kit.authorization import InsufficientScope
from service_kit.rate_limit import RateLimit
from service_kit.roles import Role, Scope

# Several times the duration of storing an account.
_PADDING_SECONDS = 0.05


@contextlib.asynccontextmanager
async def pad_duration(seconds: float) -> AsyncIterator[None]:
    """Wait at the end of the block until its duration is a multiple of `seconds`, so that it reveals nothing.

    An exception is not delayed.
    """
    began = time.monotonic()
    yield
    await asyncio.sleep((began - time.monotonic()) % seconds)


def check_registration(registration: Registration, actor: Caller | None) -> None:
    """Raises `PasswordsDoNotMatch`, `PasswordTooWeak`.

    Raises `UsernameReserved` and, for a role, `InsufficientScope` unless the actor has `users:write`.
    """
    if registration.password != registration.password_confirm:
        raise PasswordsDoNotMatch
    if reason := weakness(registration.password, username=registration.username, email=registration.email):
        raise PasswordTooWeak(reason)
    may_write_users = actor is not None and Scope.USERS_WRITE in actor.scopes
    if registration.role is not Role.CUSTOMER and not may_write_users:
        raise InsufficientScope(Scope.USERS_WRITE, "A role other than customer needs the scope users:write.")
    if is_reserved(registration.username) and not may_write_users:
        raise UsernameReserved


def new_user(registration: Registration, password_hash: str, now: datetime) -> User:
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


@dataclass(frozen=True)
class _Creator:
    """The logged-in user who creates an account. `verified_hash`: of the password, if the account gets a role."""

    user: User
    verified_hash: str | None


@dataclass(frozen=True)
class RegistrationService:
    database: AnonymousDatabase
    hasher: PasswordHasher
    reauthenticator: Reauthenticator
    sessions: SessionService
    addresses: EmailAddressService
    usernames: Usernames
    limiter: AttemptLimiter
    limits: Limits
    audit: AuditTrail
    clock: Clock
    metrics: AuthMetrics
    require_verified_email: bool

    async def take_attempt(self, client: ClientInfo) -> RateLimit:
        """Raises `TooManyRequests`."""
        async with self.database.transaction(client) as session:
            return await self.limiter.take(session, [Subject(self.limits.registration_address, client.network)])

    async def register(
        self, registration: Registration, actor: Caller | None, client: ClientInfo, *, rank: int = 0
    ) -> tuple[User, Tokens] | None:
        """Create an account. `actor` is the logged-in user who requests it, if any; `rank` as in `PasswordHasher`.

        Returns None if the address must be confirmed first, whether or not it has an account. A role needs the actor's
        password. Raises the problems of `check_registration` and `Reauthenticator`, `UsernameTaken`, `EmailTaken`,
        `TooManyRequests`.
        """
        check_registration(registration, actor)
        verified_hash = None
        if actor is not None and registration.role is not Role.CUSTOMER:
            verified_hash = await self.reauthenticator.verify(actor.user, registration.current_password, client)
        creator = _Creator(actor.user, verified_hash) if actor else None
        if self.require_verified_email:
            await self._register_privately(registration, creator, client, rank)
            return None
        async with self.database.transaction(client) as session:
            # Saves a hash if a value is taken. The unique indexes find a concurrent registration.
            await self._ensure_username_is_free(session, registration.username)
            if await UserRepository(session).get_by_email(registration.email):
                raise EmailTaken
        password_hash = await self.hasher.hash(registration.password, rank=rank)
        async with self.database.transaction(client) as session:
            user = await self._create(session, registration, password_hash, creator, client)
            tokens = await self.sessions.start(session, user, client)
            await self.addresses.ask_to_confirm(session, user)
        return user, tokens

    async def _register_privately(
        self, registration: Registration, creator: _Creator | None, client: ClientInfo, rank: int
    ) -> None:
        """Do the same work and respond alike if the address has an account. Its owner gets a mail.

        Only storing a new account takes some milliseconds longer, which the padding hides.
        """
        async with self.database.transaction(client) as session:
            # Before the address: otherwise a username that is not free would reveal whether the address is.
            await self._ensure_username_is_free(session, registration.username)
        password_hash = await self.hasher.hash(registration.password, rank=rank)
        async with pad_duration(_PADDING_SECONDS):
            try:
                async with self.database.transaction(client) as session:
                    user = await self._create(session, registration, password_hash, creator, client)
                    await self.addresses.ask_to_confirm(session, user)
            except EmailTaken:
                await self.addresses.notify_owner_of_registration(registration.email, client)

    async def _ensure_username_is_free(self, session: AsyncSession, username: str) -> None:
        """Raises `UsernameTaken`."""
        if await self.usernames.is_held(session, username) or await UserRepository(session).get_by_username(username):
            raise UsernameTaken

    async def _create(
        self,
        session: AsyncSession,
        registration: Registration,
        password_hash: str,
        creator: _Creator | None,
        client: ClientInfo,
    ) -> User:
        if creator is not None and creator.verified_hash is not None:
            await self.reauthenticator.accept_from(session, creator.user, creator.verified_hash)
        user = new_user(registration, password_hash, self.clock())
        await self.usernames.create(session, user)
        await self.addresses.ensure_not_held(session, user)
        actor_id = creator.user.id if creator else user.id
        await self.audit.record(session, Event.USER_CREATED, client, user_id=user.id, actor_id=actor_id, role=user.role)
        self.metrics.registrations.inc()
        return user
