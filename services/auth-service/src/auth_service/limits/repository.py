"""Storage of attempts."""

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

from sqlalchemy import bindparam, delete, func, select, update
from sqlalchemy.dialects.mysql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.database import table_of
from auth_service.limits.models import LoginAttempts
from auth_service.limits.policy import Attempts

# Before anything this service has counted.
_NEVER = datetime.fromisoformat("2000-01-01T00:00:00+00:00")


_ROW = insert(table_of(LoginAttempts)).values(
    subject=bindparam("subject"),
    attempts=bindparam("attempts"),
    last_at=bindparam("last_at"),
    blocked_until=bindparam("blocked_until"),
    forgotten_at=bindparam("forgotten_at"),
)
# Built once, as building them takes longer than MySQL does.
_MAKE = _ROW.on_duplicate_key_update(subject=_ROW.inserted.subject)
_PUT = _ROW.on_duplicate_key_update(
    {name: _ROW.inserted[name] for name in ("attempts", "last_at", "blocked_until", "forgotten_at")}
)
_GET = select(LoginAttempts.subject, LoginAttempts.attempts, LoginAttempts.last_at, LoginAttempts.blocked_until).where(
    LoginAttempts.subject.in_(bindparam("subjects", expanding=True))
)


class AttemptRepository:
    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def lock(self, subjects: Collection[bytes], also: Collection[bytes] = ()) -> dict[bytes, Attempts]:
        """The states of these subjects, locked until the transaction ends, and `also` of others, not locked.

        Always in one order: no deadlocks. A subject without a row gets one first, as nothing can be locked that is
        not there.
        """
        nothing = {"attempts": 0, "last_at": _NEVER, "blocked_until": _NEVER, "forgotten_at": _NEVER}
        await self._session.execute(_MAKE, [{"subject": subject, **nothing} for subject in sorted(subjects)])
        return await self.get([*subjects, *also])

    async def get(self, subjects: Collection[bytes]) -> dict[bytes, Attempts]:
        rows = await self._session.execute(_GET, {"subjects": list(subjects)})
        return {subject: Attempts(count, last_at, blocked) for subject, count, last_at, blocked in rows}

    async def put(self, states: Mapping[bytes, tuple[Attempts, timedelta]]) -> None:
        """Store each subject's state, to be forgotten so long after its last attempt."""
        await self._session.execute(
            _PUT,
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

    async def give_back(self, *, cleared: bytes, eased: bytes) -> None:
        """Forget the attempts of one subject, and take back one of another's."""
        table = LoginAttempts
        one_less = func.greatest(table.attempts - 1, 0)
        await self._session.execute(
            update(table)
            .where(table.subject.in_((cleared, eased)))
            .values(attempts=func.if_(table.subject == cleared, 0, one_less), blocked_until=table.last_at)
        )

    async def forget(self, subjects: Collection[bytes]) -> None:
        await self._session.execute(delete(LoginAttempts).where(LoginAttempts.subject.in_(subjects)))
