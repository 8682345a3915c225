"""Deletes sessions that have ended, and the refresh tokens that an earlier release stored for them."""

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, select

from auth_service.batched_deletion import delete_in_batches
from auth_service.database import Database
from auth_service.sessions.models import Session, StoredRefreshToken
from service_kit.tokens import MAX_TOKEN_SECONDS

_SESSIONS_AT_A_TIME = 100
# As long as an access token of the session may be valid, `users.ended_sessions` is made from these rows. (The limit of
# logins counts them for 15 minutes.)
RETENTION = 2 * timedelta(seconds=MAX_TOKEN_SECONDS)


async def delete_past_sessions(database: Database, now: datetime) -> None:
    """Delete the sessions that ended or expired before `RETENTION`."""
    for column in (Session.ended_at, Session.expires_at):
        await _delete_sessions(database, column < now - RETENTION)


async def prepare_deletion(database: Database, user_id: str, caller_id: str, now: datetime) -> None:
    """Delete most of what an account's sessions have stored, before the transaction that deletes the account.

    The rest is limited: open sessions, and those that ended within `RETENTION`, each with one refresh token. They stay,
    in case that the deletion is refused: the account would keep them, and revoke the tokens of those that ended.
    """
    of_user = Session.user_id == user_id
    await _delete_sessions(database, of_user & (Session.ended_at < now - RETENTION), caller_id)
    after_id = ""
    while True:
        page = select(Session.id).where(of_user, Session.id > after_id).order_by(Session.id).limit(_SESSIONS_AT_A_TIME)
        async with database.reading(caller_id) as session:
            ids = (await session.scalars(page)).all()
        if not ids:
            return
        spent = StoredRefreshToken.session_id.in_(ids) & StoredRefreshToken.spent_at.is_not(None)
        await delete_in_batches(database, StoredRefreshToken, spent, caller_id)
        after_id = ids[-1]


async def _delete_sessions(database: Database, which: ColumnElement[bool], caller_id: str | None = None) -> None:
    """After their stored tokens: a long session has more of them than one statement may delete."""
    while True:
        async with database.reading(caller_id) as session:
            ids = (await session.scalars(select(Session.id).where(which).limit(_SESSIONS_AT_A_TIME))).all()
        if not ids:
            return
        await delete_in_batches(database, StoredRefreshToken, StoredRefreshToken.session_id.in_(ids), caller_id)
        await delete_in_batches(database, Session, Session.id.in_(ids), caller_id)
