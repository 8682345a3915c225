"""Collects all data of a user in auth-service (GDPR article 15)."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Protocol

from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.audit.models import AuditEvent
from auth_service.audit.repository import AuditRepository
from auth_service.audit.schemas import AuditEntry
from auth_service.database import Database
from auth_service.one_time_tokens.repository import OneTimeTokenRepository
from auth_service.profile.schemas import ExportedMailToken, ExportedProfile, ExportedSession, ExportedUsername
from auth_service.sessions.repository import SessionRepository
from auth_service.users.models import User
from auth_service.users.repository import HeldUsernameRepository
from auth_service.users.schemas import UserProfile

# Rows of one query. An export has any number of them and is not built in memory.
PAGE_SIZE = 500


async def exported_profile(session: AsyncSession, user: User, now: datetime) -> ExportedProfile:
    tokens = await OneTimeTokenRepository(session).list_valid(user.id, now)
    usernames = await HeldUsernameRepository(session).list_of(user.id, now)
    return ExportedProfile(
        exported_at=now,
        profile=UserProfile.model_validate(user),
        tokens_valid_after=user.tokens_valid_after,
        password_changed_at=user.credential.password_changed_at,
        email_verified_at=user.credential.email_verified_at,
        held_usernames=[ExportedUsername.model_validate(each) for each in usernames],
        mail_tokens=[ExportedMailToken.model_validate(each) for each in tokens],
    )


async def export_chunks(database: Database, profile: ExportedProfile) -> AsyncIterator[str]:
    """The JSON of an `Export`, page by page. An error ends it early, so that the JSON is not complete."""
    user_id = profile.profile.id

    async def sessions(session: AsyncSession, after_id: str) -> Sequence[ExportedSession]:
        found = await SessionRepository(session).list_after(user_id, after_id, PAGE_SIZE)
        return [ExportedSession.model_validate(each) for each in found]

    async def events(session: AsyncSession, after_id: str) -> Sequence[AuditEntry]:
        found = await AuditRepository(session).list_concerning(user_id, after_id, PAGE_SIZE)
        return [_as_seen_by(user_id, each) for each in found]

    yield profile.model_dump_json().removesuffix("}")
    for name, read in (("sessions", sessions), ("audit_events", events)):
        yield f',"{name}":['
        async for chunk in _items(database, user_id, read):
            yield chunk
        yield "]"
    yield "}"


class _Read(Protocol):
    async def __call__(
        self, session: AsyncSession, after_id: str
    ) -> Sequence[ExportedSession] | Sequence[AuditEntry]: ...


async def _items(database: Database, user_id: str, read: _Read) -> AsyncIterator[str]:
    """The items of a list, a page a chunk."""
    after_id, separator = "", ""
    while True:
        async with database.reading(user_id) as session:
            page = await read(session, after_id)
        if page:
            yield separator + ",".join(each.model_dump_json() for each in page)
            after_id, separator = page[-1].id, ","
        if len(page) < PAGE_SIZE:
            return


def _as_seen_by(user_id: str, event: AuditEvent) -> AuditEntry:
    """An event without the actor and the client if another user caused it: those are that user's data."""
    entry = AuditEntry.model_validate(event)
    if event.actor_id in (user_id, None):
        return entry
    return entry.model_copy(update={"actor_id": None, "address": "", "client": "", "request_id": ""})
