"""Everything auth-service holds about a person, for that person (GDPR article 15)."""

from datetime import datetime

from sqlalchemy import select

from auth_service.accounts.repository import AccountRepository
from auth_service.accounts.schemas import Export, ExportedMailToken, ExportedSession, UserProfile
from auth_service.audit.models import AuditEvent
from auth_service.audit.schemas import AuditEntry
from auth_service.database import Database
from auth_service.one_time_tokens import OneTimeTokenRepository
from auth_service.sessions.models import Session
from service_kit.tokens import InvalidToken


async def export_of(user_id: str, database: Database, now: datetime) -> Export:
    """Raises `InvalidToken` if the account was deleted meanwhile."""
    async with database.transaction() as session:
        user = await AccountRepository(session).get_by_id(user_id)
        if user is None:
            raise InvalidToken
        sessions = await session.scalars(select(Session).where(Session.user_id == user_id).order_by(Session.id))
        concerning = (AuditEvent.user_id == user_id) | (AuditEvent.actor_id == user_id)
        events = await session.scalars(select(AuditEvent).where(concerning).order_by(AuditEvent.id))
        tokens = await OneTimeTokenRepository(session).list_valid(user_id, now)
        return Export(
            exported_at=now,
            profile=UserProfile.model_validate(user),
            tokens_valid_after=user.tokens_valid_after,
            password_changed_at=user.credential.password_changed_at,
            email_verified_at=user.credential.email_verified_at,
            sessions=[ExportedSession.model_validate(each) for each in sessions],
            mail_tokens=[ExportedMailToken.model_validate(each) for each in tokens],
            audit_events=[AuditEntry.model_validate(each) for each in events],
        )
