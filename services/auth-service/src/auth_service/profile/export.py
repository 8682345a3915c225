"""Collects all data of a user in auth-service (GDPR article 15)."""

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.audit.models import AuditEvent
from auth_service.audit.repository import AuditRepository
from auth_service.audit.schemas import AuditEntry
from auth_service.one_time_tokens.repository import OneTimeTokenRepository
from auth_service.profile.schemas import Export, ExportedMailToken, ExportedSession, ExportedUsername
from auth_service.sessions.repository import SessionRepository
from auth_service.users.models import User
from auth_service.users.repository import HeldUsernameRepository
from auth_service.users.schemas import UserProfile


async def export_of(session: AsyncSession, user: User, now: datetime) -> Export:
    sessions = await SessionRepository(session).list_all(user.id)
    events = await AuditRepository(session).list_concerning(user.id)
    tokens = await OneTimeTokenRepository(session).list_valid(user.id, now)
    usernames = await HeldUsernameRepository(session).list_of(user.id, now)
    return Export(
        exported_at=now,
        profile=UserProfile.model_validate(user),
        tokens_valid_after=user.tokens_valid_after,
        password_changed_at=user.credential.password_changed_at,
        email_verified_at=user.credential.email_verified_at,
        held_usernames=[ExportedUsername.model_validate(each) for each in usernames],
        sessions=[ExportedSession.model_validate(each) for each in sessions],
        mail_tokens=[ExportedMailToken.model_validate(each) for each in tokens],
        audit_events=[_as_seen_by(user.id, each) for each in events],
    )


def _as_seen_by(user_id: str, event: AuditEvent) -> AuditEntry:
    """An event without the actor and the client if another user caused it: those are that user's data."""
    entry = AuditEntry.model_validate(event)
    if event.actor_id in (user_id, None):
        return entry
    return entry.model_copy(update={"actor_id": None, "address": "", "client": "", "request_id": ""})
