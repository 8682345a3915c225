"""Storage of attempts."""

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

from sqlalchemy import bindparam, delete, func, select, text, update
from sqlalchemy.dialects.mysql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.database import table_of
from auth_service.limits.backoff import Attempts
from auth_service.limits.budget import Budget
from auth_service.limits.models import LoginAttempts

# Earlier than any attempt.
_NEVER = datetime.fromisoformat("2000-01-01T00:00:00+00:00")


_ROW = insert(table_of(LoginAttempts)).values(
    subject=bindparam("subject"),
    attempts=bindparam("attempts"),
    last_at=bindparam("last_at"),
    blocked_until=bindparam("blocked_until"),
    forgotten_at=bindparam("forgotten_at"),
)
# Built once, because building a statement takes longer than executing it.
_INSERT_MISSING = _ROW.on_duplicate_key_update(subject=_ROW.inserted.subject)
_UPSERT = _ROW.on_duplicate_key_update(
    {name: _ROW.inserted[name] for name in ("attempts", "last_at", "blocked_until", "forgotten_at")}
)
_SELECT = select(
    LoginAttempts.subject, LoginAttempts.attempts, LoginAttempts.last_at, LoginAttempts.blocked_until
).where(LoginAttempts.subject.in_(bindparam("subjects", expanding=True)))


_TIME = table_of(LoginAttempts).c.last_at.type
# One statement, because all failed logins change this row. MySQL assigns from left to right.
_SPEND = text(
    "INSERT INTO login_attempts (subject, attempts, last_at, blocked_until, forgotten_at)"
    " VALUES (:subject, 1, :now, :restored_at, :restored_at) AS new"
    " ON DUPLICATE KEY UPDATE last_at = new.last_at,"
    " blocked_until = LEAST(GREATEST(login_attempts.blocked_until, new.last_at) + INTERVAL :interval MICROSECOND,"
    " :latest), forgotten_at = login_attempts.blocked_until"
).bindparams(*(bindparam(name, type_=_TIME) for name in ("now", "restored_at", "latest")))


class AttemptRepository:
    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def lock(self, subjects: Collection[bytes]) -> dict[bytes, Attempts]:
        """The states of `subjects`, locked until the transaction ends.

        Rows are locked in one order, which prevents deadlocks. A missing row is inserted first, because MySQL can lock
        existing rows only.
        """
        empty = {"attempts": 0, "last_at": _NEVER, "blocked_until": _NEVER, "forgotten_at": _NEVER}
        await self._session.execute(_INSERT_MISSING, [{"subject": subject, **empty} for subject in sorted(subjects)])
        return await self.get(subjects)

    async def get(self, subjects: Collection[bytes]) -> dict[bytes, Attempts]:
        rows = await self._session.execute(_SELECT, {"subjects": list(subjects)})
        return {subject: Attempts(count, last_at, blocked) for subject, count, last_at, blocked in rows}

    async def put(self, states: Mapping[bytes, tuple[Attempts, timedelta]]) -> None:
        """Store the state of each subject. It expires the given time after the last attempt."""
        await self._session.execute(
            _UPSERT,
            [
                {
                    "subject": subject,
                    "attempts": state.count,
                    "last_at": state.last_at,
                    "blocked_until": state.blocked_until,
                    "forgotten_at": state.last_at + window,
                }
                for subject, (state, window) in sorted(states.items())
            ],
        )

    async def spend(self, subject: bytes, budget: Budget, now: datetime) -> None:
        """Count an event of a budget. `blocked_until` is the time at which all of the budget will be restored."""
        await self._session.execute(
            _SPEND,
            {
                "subject": subject,
                "now": now,
                "restored_at": now + budget.interval,
                "interval": budget.interval // timedelta(microseconds=1),
                "latest": now + budget.latest,
            },
        )

    async def refund(self, *, reset: bytes, decremented: bytes) -> None:
        """Reset the attempts of one subject, and subtract one from another's."""
        table = LoginAttempts
        one_less = func.greatest(table.attempts - 1, 0)
        await self._session.execute(
            update(table)
            .where(table.subject.in_((reset, decremented)))
            .values(attempts=func.if_(table.subject == reset, 0, one_less), blocked_until=table.last_at)
        )

    async def delete(self, subjects: Collection[bytes]) -> None:
        await self._session.execute(delete(LoginAttempts).where(LoginAttempts.subject.in_(subjects)))
