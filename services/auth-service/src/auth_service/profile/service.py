"""Rules of a user's own account."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from auth_service.audit.models import Event
from auth_service.audit.service import AuditTrail
from auth_service.client_info import ClientInfo
from auth_service.database import Clock, Database
from auth_service.email_addresses.service import EmailAddressService
from auth_service.limits.policies import Limits
from auth_service.limits.service import AttemptLimiter, Subject
from auth_service.passwords.problems import ReauthenticationRequired
from auth_service.passwords.reauthentication import Reauthenticator
from auth_service.profile.export import export_chunks, exported_profile
from auth_service.profile.schemas import ProfileChange
from auth_service.sessions.deletion import prepare_deletion
from auth_service.users.models import User
from auth_service.users.repository import UserRepository
from auth_service.users.service import ensure_admin_remains, is_active_admin
from auth_service.users.usernames import Usernames
from service_kit.rate_limit import RateLimit, ReportRateLimit
from service_kit.tokens import InvalidToken


@dataclass(frozen=True)
class ProfileService:
    database: Database
    reauthenticator: Reauthenticator
    addresses: EmailAddressService
    usernames: Usernames
    limiter: AttemptLimiter
    limits: Limits
    audit: AuditTrail
    clock: Clock

    async def change(self, caller: User, change: ProfileChange, client: ClientInfo, report: ReportRateLimit) -> User:
        """Change the account. A new address must be confirmed before it replaces the old one.

        A request that changes nothing writes nothing. `report` gets the nearest limit of changes. Raises
        `UsernameTaken`, `UsernameReserved`, `ReauthenticationRequired`, `TooManyRequests`.
        """
        fields = _changed_fields(change, caller)
        if not fields:
            return caller
        verified_hash = None
        if "email" in fields:
            verified_hash = await self.reauthenticator.verify(caller, change.current_password, client)
            if change.email != caller.email:
                report(await self.addresses.take_change(caller, client))
        async with self.database.transaction(caller.id) as session:
            users = UserRepository(session)
            user = await _existing(users, caller.id)
            fields = _changed_fields(change, user)
            if not fields:
                return user  # a concurrent request has changed it
            if verified_hash is not None:
                await self.reauthenticator.accept(session, user, verified_hash)
            else:
                report(await self.limiter.take(session, [Subject(self.limits.profile_account, user.id)]))
            if change.username is not None and change.username != user.username:
                await self.usernames.rename(session, user, change.username)
            if change.name is not None:
                user.name = change.name
            if change.email is not None and "email" in fields:
                if verified_hash is None:
                    raise ReauthenticationRequired  # the address was changed in the meantime
                await self.addresses.change(session, user, change.email)
            user.updated_at = self.clock()
            await users.flush()
            await self.audit.record(session, Event.USER_UPDATED, client, user_id=user.id, fields=fields)
        return user

    async def export(self, user_id: str, client: ClientInfo) -> tuple[AsyncIterator[str], RateLimit]:
        """The JSON of an `Export` in chunks. Raises `TooManyRequests`."""
        async with self.database.transaction(user_id) as session:
            limit = await self.limiter.take(session, [Subject(self.limits.export_account, user_id)])
            user = await _existing(UserRepository(session), user_id)
            profile = await exported_profile(session, user, self.clock())
            await self.audit.record(session, Event.SENSITIVE_READ, client, user_id=user_id, what="export")
        return export_chunks(self.database, profile), limit

    async def delete(self, caller: User, password: str | None, client: ClientInfo) -> None:
        """Delete the account permanently. Raises `ReauthenticationRequired`, `TooManyRequests`, `LastAdmin`."""
        verified_hash = await self.reauthenticator.verify(caller, password, client)
        await prepare_deletion(self.database, caller.id, caller.id, self.clock())
        async with self.database.transaction(caller.id) as session:
            users = UserRepository(session)
            admins = await users.lock_active_admins() if is_active_admin(caller) else set()
            user = await _existing(users, caller.id)
            await self.reauthenticator.accept(session, user, verified_hash)
            ensure_admin_remains(admins, user)
            await self.usernames.delete(session, user)
            await self.audit.record(session, Event.USER_DELETED, client, user_id=user.id)


def _changed_fields(change: ProfileChange, user: User) -> list[str]:
    """The fields that a change would change, sorted. The present address ends a change that is not confirmed yet."""
    fields = [name for name in ("name", "username") if getattr(change, name) not in (None, getattr(user, name))]
    if change.email is not None and (change.email != user.email or user.pending_email is not None):
        fields.append("email")
    return sorted(fields)


async def _existing(users: UserRepository, user_id: str) -> User:
    """Lock the caller's account. Raises `InvalidToken` if it was deactivated or deleted in the meantime."""
    user = await users.lock(user_id)
    if user is None or not user.is_active:
        raise InvalidToken
    return user
