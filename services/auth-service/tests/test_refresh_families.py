"""A session stores a constant amount, and continues those that the last release began."""

import asyncio
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from jose import jwt
from sqlalchemy import event, insert, text
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.database import new_id, table_of
from auth_service.opaque_tokens import new_token, token_hash
from auth_service.sessions.models import StoredRefreshToken
from auth_service.sessions.refresh_tokens import family_of, seal_successor
from support.auth_app import AdjustableClock, RegisteredUser, confirmed, lock_waits, log_in
from support.polling import eventually
from support.responses import bearer, problem


async def refresh(client: httpx.AsyncClient, token: str) -> httpx.Response:
    return await client.post("/v1/refresh", json={"refresh_token": token})


async def renewed(client: httpx.AsyncClient, token: str) -> str:
    answer = (await refresh(client, token)).raise_for_status()
    return str(answer.json()["refresh_token"])


def session_of(tokens: dict[str, Any]) -> str:
    return str(jwt.get_unverified_claims(tokens["access_token"])["sid"])


class LastRelease:
    """A replica of the last release, which stores a row for each refresh token."""

    def __init__(self, rows: AsyncEngine, clock: AdjustableClock, user: RegisteredUser) -> None:
        self._rows = rows
        self._clock = clock
        self._user_id = user["user"]["id"]
        self.session_id = new_id()

    async def log_in(self, *, ended_at: datetime | None = None) -> str:
        """Returns the refresh token."""
        now = self._clock()
        values = {"id": self.session_id, "user_id": self._user_id, "now": _naive(now), "ended": _naive(ended_at)}
        async with self._rows.begin() as connection:
            await connection.execute(
                text(
                    "INSERT INTO sessions (id, user_id, client, address, created_at, last_used_at, expires_at,"
                    " is_remembered, ended_at) VALUES (:id, :user_id, '', '', :now, :now, :now + INTERVAL 12 HOUR,"
                    " 0, :ended)"
                ),
                values,
            )
        return await self._add(new_token())

    async def refresh(self, token: str) -> str:
        successor = await self._add(new_token())
        spent = text("UPDATE refresh_tokens SET spent_at = :now, sealed_successor = :sealed WHERE token_hash = :hash")
        given = {
            "now": _naive(self._clock()),
            "sealed": seal_successor(token, successor),
            "hash": token_hash(token),
        }
        async with self._rows.begin() as connection:
            await connection.execute(spent, given)
        return successor

    async def is_spent(self, token: str) -> bool:
        query = text("SELECT spent_at FROM refresh_tokens WHERE token_hash = :hash")
        async with self._rows.connect() as connection:
            return await connection.scalar(query, {"hash": token_hash(token)}) is not None

    async def _add(self, token: str) -> str:
        row = {"token_hash": token_hash(token), "session_id": self.session_id, "created_at": self._clock()}
        async with self._rows.begin() as connection:
            await connection.execute(insert(table_of(StoredRefreshToken)), row)
        return token


def _naive(moment: datetime | None) -> datetime | None:
    return moment and moment.replace(tzinfo=None)


@pytest.fixture
def last_release(rows: AsyncEngine, clock: AdjustableClock, registered: RegisteredUser) -> LastRelease:
    return LastRelease(rows, clock, registered)


async def stored_rows(rows: AsyncEngine, user: RegisteredUser) -> tuple[int, int]:
    """How many sessions the user has, and how many refresh tokens."""
    sessions = "SELECT COUNT(*) FROM sessions WHERE user_id = :id"
    tokens = "SELECT COUNT(*) FROM refresh_tokens JOIN sessions ON session_id = sessions.id WHERE user_id = :id"
    async with rows.connect() as connection:
        counts = [await connection.scalar(text(query), user["user"]) for query in (sessions, tokens)]
    return counts[0] or 0, counts[1] or 0


async def test_refreshes_add_no_rows(client: httpx.AsyncClient, registered: RegisteredUser, rows: AsyncEngine) -> None:
    before, token = await stored_rows(rows, registered), registered["refresh_token"]
    for _ in range(5):
        token = await renewed(client, token)
    assert await stored_rows(rows, registered) == before


@pytest.fixture
def written(app: FastAPI) -> Iterator[list[str]]:
    """Collects the statements that write sessions or their tokens."""
    statements: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if re.match(r"(INSERT INTO|UPDATE|DELETE FROM) (sessions|refresh_tokens|users)\b", statement):
            statements.append(statement)

    engine: AsyncEngine = app.state.database.engine
    event.listen(engine.sync_engine, "before_cursor_execute", note)
    yield statements
    event.remove(engine.sync_engine, "before_cursor_execute", note)


async def test_repeated_refresh_writes_nothing(
    client: httpx.AsyncClient,
    registered: RegisteredUser,
    last_release: LastRelease,
    clock: AdjustableClock,
    written: list[str],
) -> None:
    """A client may repeat it as often as it likes within the grace period, so that no limit is needed."""
    clock.freeze()
    for token in (registered["refresh_token"], await last_release.log_in()):
        written.clear()
        successor = await renewed(client, token)
        assert written, "the exchange itself is written"
        clock.advance(seconds=1)
        written.clear()
        assert {await renewed(client, token) for _ in range(3)} == {successor}
        assert written == []


@pytest.mark.parametrize("call", ["refresh", "logout"])
async def test_any_token_of_a_family_ends_its_session(
    client: httpx.AsyncClient, registered: RegisteredUser, call: str
) -> None:
    """Even one that was never issued: only who had a token of the session knows the family."""
    elsewhere = await log_in(client, registered)
    forged = (family_of(registered["refresh_token"]) or "") + new_token()
    answer = await client.post(f"/v1/{call}", json={"refresh_token": forged})
    if call == "refresh":
        assert problem(answer) == (401, "refresh-token-reused")
    assert problem(await refresh(client, registered["refresh_token"])) == (401, "invalid-refresh-token")
    assert (await refresh(client, elsewhere["refresh_token"])).status_code == 200


async def test_session_of_the_last_release_continues_with_a_family(
    client: httpx.AsyncClient, last_release: LastRelease, clock: AdjustableClock
) -> None:
    token = await last_release.refresh(await last_release.log_in())
    tokens = (await refresh(client, token)).raise_for_status().json()
    assert session_of(tokens) == last_release.session_id
    assert await last_release.is_spent(token)
    assert await renewed(client, token) == tokens["refresh_token"], "a lost response can be repeated"
    clock.advance(hours=1)
    assert (await refresh(client, tokens["refresh_token"])).status_code == 200


async def test_lost_refresh_of_the_last_release_can_be_repeated(
    client: httpx.AsyncClient, last_release: LastRelease, clock: AdjustableClock
) -> None:
    first = await last_release.log_in()
    second = await last_release.refresh(first)
    clock.advance(seconds=9)
    assert await renewed(client, first) == second
    third = await last_release.refresh(second)
    fourth = await renewed(client, third)
    assert (await refresh(client, fourth)).status_code == 200


@pytest.mark.parametrize("continued", [False, True])
@pytest.mark.parametrize("age", [1, 2, 4])
async def test_reused_token_of_the_last_release_ends_its_session(
    client: httpx.AsyncClient, last_release: LastRelease, clock: AdjustableClock, age: int, continued: bool
) -> None:
    issued = [await last_release.log_in()]
    for _ in range(4):
        issued.append(await last_release.refresh(issued[-1]))
    newest = await renewed(client, issued[-1]) if continued else issued[-1]
    clock.advance(seconds=11)
    assert problem(await refresh(client, issued[-1 - age])) == (401, "refresh-token-reused")
    assert problem(await refresh(client, newest)) == (401, "invalid-refresh-token")


@pytest.mark.parametrize("continued", [False, True])
async def test_logout_with_an_old_token_of_the_last_release_ends_its_session(
    client: httpx.AsyncClient, last_release: LastRelease, continued: bool
) -> None:
    first = await last_release.log_in()
    newest = await last_release.refresh(first)
    if continued:
        newest = await renewed(client, newest)
    assert (await client.post("/v1/logout", json={"refresh_token": first})).status_code == 204
    assert problem(await refresh(client, newest)) == (401, "invalid-refresh-token")


async def test_housekeeping_deletes_sessions_soon_after_their_end(
    app: FastAPI,
    client: httpx.AsyncClient,
    registered: RegisteredUser,
    rows: AsyncEngine,
    clock: AdjustableClock,
) -> None:
    ended = LastRelease(rows, clock, registered)
    await ended.refresh(await ended.log_in(ended_at=clock()))
    tokens = await log_in(client, registered)
    await client.post("/v1/logout", json={"refresh_token": tokens["refresh_token"]})
    await app.state.housekeeper.clean_up()
    assert await stored_rows(rows, registered) == (3, 2)
    clock.advance(hours=2, seconds=1)
    await app.state.housekeeper.clean_up()
    assert await stored_rows(rows, registered) == (1, 0)
    assert (await refresh(client, registered["refresh_token"])).status_code == 200


@pytest.mark.parametrize("by", ["user", "admin"])
async def test_deletion_of_an_account_leaves_little_to_its_last_transaction(
    *,
    client: httpx.AsyncClient,
    registered: RegisteredUser,
    admin: RegisteredUser,
    rows: AsyncEngine,
    clock: AdjustableClock,
    monkeypatch: pytest.MonkeyPatch,
    by: str,
) -> None:
    """A transaction that deletes hundreds of thousands of rows does not end in time, and blocks others."""
    monkeypatch.setattr("auth_service.batched_deletion.BATCH_SIZE", 2)
    monkeypatch.setattr("auth_service.sessions.deletion._SESSIONS_AT_A_TIME", 2)
    now = clock()
    for ended_at in (None, None, now - timedelta(seconds=1), *(now - timedelta(hours=2, seconds=1),) * 4):
        session = LastRelease(rows, clock, registered)
        token = await session.log_in(ended_at=ended_at)
        for _ in range(5):
            token = await session.refresh(token)
    assert await stored_rows(rows, registered) == (8, 42)
    path, caller = ("me", registered) if by == "user" else (registered["user"]["id"], admin)
    async with rows.begin() as connection:
        locked = text("SELECT id FROM users WHERE id = :id FOR UPDATE")
        assert await connection.scalar(locked, registered["user"]) is not None
        deletion = asyncio.create_task(
            client.request("DELETE", f"/v1/users/{path}", json=confirmed(caller), headers=bearer(caller))
        )
        await eventually(lambda: lock_waits(rows, "users"))
        assert await stored_rows(rows, registered) == (4, 3), "open and revoked sessions, if it is refused"
    assert (await deletion).status_code == 204
    assert await stored_rows(rows, registered) == (0, 0)
