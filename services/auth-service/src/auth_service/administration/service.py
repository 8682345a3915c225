"""Rules of administration."""

from collections.abc import Sequence
from dataclasses import dataclass

from auth_service.administration.schemas import UserChange
from auth_service.audit.models import Event
from auth_service.audit.service import AuditTrail
from auth_service.client_info import ClientInfo
from auth_service.database import Clock, Database
from auth_service.limits.policies import Limits
from auth_service.limits.service import AttemptLimiter, Subject
from auth_service.one_time_tokens.repository import OneTimeTokenRepository
from auth_service.passwords.problems import ReauthenticationRequired
from auth_service.passwords.reauthentication import Reauthenticator
from auth_service.sessions.deletion import prepare_deletion
from auth_service.sessions.service import SessionService
from auth_service.users.models import User
from auth_service.users.problems import UserNotFound
from auth_service.users.repository import UserRepository
from auth_service.users.service import ensure_admin_remains, is_active_admin
from auth_service.users.usernames import Usernames
from service_kit.roles import Role


@dataclass(frozen=True)
class UserFilter:
    """`query` is a prefix of a username, a name or an email address. None stands for all users."""

    query: str | None = None
    role: Role | None = None
    is_active: bool | None = None

    @property
    def names(self) -> str:
        """The filters that are set, as the audit trail has them: their values may be personal data."""
        given = {"query": self.query, "role": self.role, "active": self.is_active}
        names = [name for name, value in given.items() if value is not None]
        return f" by {', '.join(names)}" if names else ""


@dataclass(frozen=True)
class AdministrationService:
    database: Database
    reauthenticator: Reauthenticator
    sessions: SessionService
    usernames: Usernames
    limiter: AttemptLimiter
    limits: Limits
    audit: AuditTrail
    clock: Clock

    async def list_users(
        self, wanted: UserFilter, actor: User, client: ClientInfo, *, before_id: str | None, limit: int
    ) -> Sequence[User]:
        """Newest first. The audit trail records who reads, and by which filters."""
        async with self.database.transaction(actor.id) as session:
            await self.audit.record_repeated(
                session, Event.SENSITIVE_READ, client, actor_id=actor.id, what=f"users{wanted.names}"
            )
            return await UserRepository(session).list_newest(
                query=wanted.query, role=wanted.role, is_active=wanted.is_active, before_id=before_id, limit=limit
            )

    async def read(self, user_id: str, actor: User, client: ClientInfo) -> User:
        """The audit trail records who reads whom. Raises `UserNotFound`."""
        async with self.database.transaction(actor.id) as session:
            user = await UserRepository(session).get_by_id(user_id)
            if user is None:
                raise UserNotFound
            await self.audit.record_repeated(
                session, Event.SENSITIVE_READ, client, user_id=user_id, actor_id=actor.id, what="user"
            )
        return user

    async def change(self, user_id: str, change: UserChange, actor: User, client: ClientInfo) -> User:
        """Change an account. A new role revokes access tokens with the old one. A deactivation ends all sessions,
        a change of the address that is not confirmed yet, and all one-time tokens except those that undo a change.

        Another role, a deactivation and a reactivation need the actor's password: a stolen token must not be enough.
        A request that changes nothing writes nothing.
        Raises `UserNotFound`, `ReauthenticationRequired`, `TooManyRequests`, `LastAdmin`, and `InvalidToken` if the
        actor was demoted in the meantime.
        """
        verified_hash, present = None, await self._present(user_id, actor)
        if is_sensitive := _is_sensitive(_changed_fields(change, present)):
            verified_hash = await self.reauthenticator.verify(actor, change.current_password, client)
        async with self.database.transaction(actor.id) as session:
            users = UserRepository(session)
            admins = await users.lock_active_admins() if is_sensitive and is_active_admin(present) else set()
            if verified_hash is not None:
                await self.reauthenticator.accept_from(session, actor, verified_hash)
            user = await self._locked(users, user_id)
            fields = _changed_fields(change, user)
            if verified_hash is None and _is_sensitive(fields):
                raise ReauthenticationRequired  # another admin changed the account in the meantime
            if not fields:
                return user
            await self.limiter.take(session, [Subject(self.limits.profile_account, f"by admins\0{user.id}")])
            is_deactivated = change.is_active is False and user.is_active
            if is_deactivated or "role" in fields:
                ensure_admin_remains(admins, user)
            if "role" in fields and change.role is not None:
                await self.audit.record(
                    session,
                    Event.AUTHZ_CHANGE,
                    client,
                    user_id=user.id,
                    actor_id=actor.id,
                    former=user.role,
                    role=change.role,
                )
                user.role = change.role
                user.tokens_valid_after = self.clock()
            if change.is_active is not None:
                user.is_active = change.is_active
            if is_deactivated:
                await self.sessions.revoke(session, user)
                # An intruder may have caused them, and would use them after a reactivation.
                user.credential.end_change()
                await OneTimeTokenRepository(session).withdraw_all(user.id)
            if change.name is not None:
                user.name = change.name
            user.updated_at = self.clock()
            await self.audit.record(
                session, Event.AUTHZ_ADMIN, client, user_id=user.id, actor_id=actor.id, fields=fields
            )
        return user

    async def delete(self, user_id: str, password: str | None, actor: User, client: ClientInfo) -> None:
        """Delete an account permanently, with the actor's password.

        Raises `UserNotFound`, `ReauthenticationRequired`, `TooManyRequests`, `LastAdmin`, `InvalidToken` as `change`.
        """
        present = await self._present(user_id, actor)
        verified_hash = await self.reauthenticator.verify(actor, password, client)
        await prepare_deletion(self.database, user_id, actor.id, self.clock())
        async with self.database.transaction(actor.id) as session:
            users = UserRepository(session)
            admins = await users.lock_active_admins() if is_active_admin(present) else set()
            await self.reauthenticator.accept_from(session, actor, verified_hash)
            user = await self._locked(users, user_id)
            ensure_admin_remains(admins, user)
            await self.usernames.delete(session, user)
            await self.audit.record(session, Event.USER_DELETED, client, user_id=user_id, actor_id=actor.id)

    async def _present(self, user_id: str, actor: User) -> User:
        async with self.database.reading(actor.id) as session:
            user = await UserRepository(session).get_by_id(user_id)
        if user is None:
            raise UserNotFound
        return user

    async def _locked(self, users: UserRepository, user_id: str) -> User:
        user = await users.lock(user_id)
        if user is None:
            raise UserNotFound
        return user


def _changed_fields(change: UserChange, user: User) -> list[str]:
    """The fields that a change would change, sorted: clients may send the whole account."""
    names = ("is_active", "name", "role")
    return [name for name in names if getattr(change, name) not in (None, getattr(user, name))]


def _is_sensitive(fields: Sequence[str]) -> bool:
    """Whether a change of these fields gives or takes rights."""
    return "role" in fields or "is_active" in fields
