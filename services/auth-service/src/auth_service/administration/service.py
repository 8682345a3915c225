"""Rules of administration."""

from collections.abc import Sequence
from dataclasses import dataclass

from auth_service.accounts.models import Role, User
from auth_service.accounts.problems import UserNotFound
from auth_service.accounts.repository import AccountRepository
from auth_service.accounts.service import keep_an_admin
from auth_service.administration.schemas import UserChange
from auth_service.audit.models import Event
from auth_service.audit.service import AuditTrail
from auth_service.database import Clock, Database
from auth_service.origin import Origin
from auth_service.sessions.service import SessionService


@dataclass(frozen=True)
class AdministrationService:
    database: Database
    sessions: SessionService
    audit: AuditTrail
    clock: Clock

    async def list_users(
        self, *, query: str | None, role: Role | None, is_active: bool | None, before_id: str | None, limit: int
    ) -> Sequence[User]:
        async with self.database.reading() as session:
            return await AccountRepository(session).list_newest(
                query=query, role=role, is_active=is_active, before_id=before_id, limit=limit
            )

    async def get(self, user_id: str) -> User:
        """Raises `UserNotFound`."""
        async with self.database.reading() as session:
            user = await AccountRepository(session).get_by_id(user_id)
        if user is None:
            raise UserNotFound
        return user

    async def change(self, user_id: str, change: UserChange, by: User, origin: Origin) -> User:
        """Another role revokes the tokens that name the old one; who is deactivated is out at once.

        Raises `UserNotFound`, `LastAdmin`.
        """
        async with self.database.transaction() as session:
            accounts = AccountRepository(session)
            admins = await accounts.lock_active_admins()
            user = await self._locked(accounts, user_id)
            has_new_role = change.role is not None and change.role != user.role
            is_deactivated = change.is_active is False and user.is_active
            if is_deactivated or has_new_role:
                keep_an_admin(admins, user)
            if has_new_role and change.role is not None:
                await self.audit.record(
                    session,
                    Event.AUTHZ_CHANGE,
                    origin,
                    user_id=user.id,
                    actor_id=by.id,
                    former=user.role,
                    role=change.role,
                )
                user.role = change.role
                user.tokens_valid_after = self.clock()
            if change.is_active is not None:
                user.is_active = change.is_active
            if is_deactivated:
                await self.sessions.revoke(session, user)
            if change.name is not None:
                user.name = change.name
            user.updated_at = self.clock()
            fields = sorted(name for name, value in change if value is not None)
            await self.audit.record(session, Event.AUTHZ_ADMIN, origin, user_id=user.id, actor_id=by.id, fields=fields)
        return user

    async def delete(self, user_id: str, by: User, origin: Origin) -> None:
        """Raises `UserNotFound`, `LastAdmin`."""
        async with self.database.transaction() as session:
            accounts = AccountRepository(session)
            admins = await accounts.lock_active_admins()
            user = await self._locked(accounts, user_id)
            keep_an_admin(admins, user)
            await accounts.delete(user)
            await self.audit.record(session, Event.USER_DELETED, origin, user_id=user_id, actor_id=by.id)

    async def _locked(self, accounts: AccountRepository, user_id: str) -> User:
        user = await accounts.lock(user_id)
        if user is None:
            raise UserNotFound
        return user
