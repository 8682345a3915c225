"""Two real processes on one schema: shared state, concurrent requests, and a kill."""

import asyncio
import math
import re
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from jose import jwt
from pydantic import SecretStr
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.database import utc_now
from auth_service.limits.backoff import BackoffPolicy
from auth_service.limits.service import AttemptLimiter, Subject
from auth_service.main import prepare
from auth_service.settings import Settings
from embedded_stack import Stack
from service_kit.mysql import create_engine
from support.auth_app import Form, NewForm, kid_of, own_schema
from support.commands import run_command
from support.polling import eventually
from support.replicas import Replica, running_replicas
from support.responses import bearer, problem

QUOTA = 5
VARIABLES = {
    "AUTH_LOGIN_ATTEMPTS_PER_ACCOUNT": str(QUOTA),
    # Every test comes from the same address.
    "AUTH_LOGIN_ATTEMPTS_PER_ADDRESS": "1000000",
    "AUTH_LOGIN_FAILURES_OVERALL": "1000000",
    "AUTH_REGISTRATIONS_PER_ADDRESS": "1000000",
}

Pair = tuple[Replica, Replica]
Ask = Callable[[httpx.AsyncClient, int], Awaitable[httpx.Response]]


@pytest.fixture(scope="module")
async def schema(engine: AsyncEngine, mysql_root_url: str) -> AsyncIterator[str]:
    async with own_schema(engine, mysql_root_url) as url:
        yield url


@asynccontextmanager
async def starting_line(engine: AsyncEngine, schema: str, *, hold: str, release: str) -> AsyncIterator[None]:
    """Hold a resource that two processes need until both wait for it or for each other. Then they race."""
    waiting = text(
        "SELECT COUNT(*) FROM performance_schema.processlist "
        "WHERE db = :schema AND (state LIKE 'Waiting for%' OR state = 'User lock')"
    )

    async with engine.connect() as holder, engine.connect() as watcher:

        async def are_both_waiting() -> bool:
            return await watcher.scalar(waiting, {"schema": make_url(schema).database}) == 2

        async def start_them() -> None:
            try:
                await eventually(are_both_waiting)
            finally:
                await holder.execute(text(release))

        await holder.execute(text(hold))
        starting = asyncio.create_task(start_them())
        yield
        await starting


@pytest.fixture(scope="module")
async def replicas(engine: AsyncEngine, stack: Stack, schema: str) -> AsyncIterator[Pair]:
    """Two processes that start at the same time on an empty schema."""
    tables = starting_line(engine, schema, hold="LOCK INSTANCE FOR BACKUP", release="UNLOCK INSTANCE")
    async with tables, running_replicas(2, stack, schema, **VARIABLES) as (one, other):
        yield one, other


@pytest.fixture(scope="module")
async def shared_rows(schema: str) -> AsyncIterator[AsyncEngine]:
    """A direct connection to the schema of both."""
    engine = create_engine(schema)
    yield engine
    await engine.dispose()


async def count(rows: AsyncEngine, query: str, **parameters: Any) -> int:
    async with rows.connect() as connection:
        return int(await connection.scalar(text(query), parameters) or 0)


async def concurrently(replicas: Pair, times: int, ask: Ask) -> list[httpx.Response]:
    """Send `times` requests concurrently, alternately to one and the other replica."""
    return await asyncio.gather(*(ask(replicas[number % 2].client, number) for number in range(times)))


async def register(replica: Replica, form: Form) -> dict[str, Any]:
    answer = await replica.client.post("/v1/register", json=form)
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def log_in(replica: Replica, form: Form) -> httpx.Response:
    login = {"login": form["username"], "password": form["password"]}
    return await replica.client.post("/v1/login", json=login)


async def refuses(replica: Replica, tokens: dict[str, Any]) -> bool:
    answer = await replica.client.get("/v1/users/me", headers=bearer(tokens))
    return answer.status_code == 401


async def test_replicas_that_start_together_create_one_schema(replicas: Pair, shared_rows: AsyncEngine) -> None:
    one, other = [(await each.client.get("/.well-known/jwks.json")).json()["keys"] for each in replicas]
    assert len(one) == 1
    assert one == other
    assert await count(shared_rows, "SELECT COUNT(*) FROM alembic_version") == 1
    # No warning: neither had to retry because of the other's tables.
    assert not [line for replica in replicas for line in replica.log.read_text().splitlines() if "warning" in line]


async def test_one_of_two_replicas_creates_the_first_key(engine: AsyncEngine, empty_schema: str) -> None:
    settings = Settings(mysql_url=SecretStr(empty_schema))
    await prepare(settings)
    rows = create_engine(empty_schema)
    async with rows.begin() as connection:
        await connection.execute(text("DELETE FROM signing_keys"))
    async with starting_line(rows, empty_schema, hold="LOCK TABLES signing_keys WRITE", release="UNLOCK TABLES"):
        await asyncio.gather(prepare(settings), prepare(settings))
    assert await count(rows, "SELECT COUNT(*) FROM signing_keys") == 1
    await rows.dispose()


@pytest.mark.parametrize("unique", ["username", "email"])
async def test_exactly_one_of_concurrent_registrations_at_two_replicas_succeeds(
    replicas: Pair, shared_rows: AsyncEngine, new_form: NewForm, unique: str
) -> None:
    contested = new_form()
    forms = [{**new_form(), unique: contested[unique]} for _ in range(16)]
    answers = await concurrently(replicas, 16, lambda client, number: client.post("/v1/register", json=forms[number]))
    winners = [form for form, answer in zip(forms, answers, strict=True) if answer.status_code == 201]
    losers = [answer for answer in answers if answer.status_code != 201]
    assert len(winners) == 1
    assert {problem(answer) for answer in losers} == {(409, f"{unique}-taken")}
    stored = "SELECT COUNT(*) FROM users WHERE :value IN (username, email)"
    assert await count(shared_rows, stored, value=contested[unique]) == 1
    for replica in replicas:
        assert (await log_in(replica, winners[0])).status_code == 200


async def test_refresh_token_used_at_two_replicas_has_one_successor(
    replicas: Pair, shared_rows: AsyncEngine, new_form: NewForm
) -> None:
    tokens = await register(replicas[0], new_form())
    rounds = 25
    for _ in range(rounds):
        spent = {"refresh_token": tokens["refresh_token"]}
        answers = await concurrently(replicas, 4, lambda client, _, body=spent: client.post("/v1/refresh", json=body))
        assert [answer.status_code for answer in answers] == [200] * 4
        assert len({answer.json()["refresh_token"] for answer in answers}) == 1
        tokens = answers[0].json()
        assert tokens["refresh_token"] != spent["refresh_token"]
    session = jwt.get_unverified_claims(tokens["access_token"])["sid"]
    exchanges = "SELECT refreshes FROM sessions WHERE id = :session"
    assert await count(shared_rows, exchanges, session=session) == rounds
    for replica in replicas:
        assert (await replica.client.get("/v1/users/me", headers=bearer(tokens))).status_code == 200


async def test_replicas_share_sessions(replicas: Pair, new_form: NewForm) -> None:
    one, other = replicas
    tokens = await register(one, new_form())
    assert (await other.client.get("/v1/users/me", headers=bearer(tokens))).status_code == 200
    assert (await other.client.post("/v1/logout", headers=bearer(tokens))).status_code == 204
    assert problem(await one.client.get("/v1/users/me", headers=bearer(tokens))) == (401, "invalid-token")


async def test_all_replicas_refuse_tokens_of_a_withdrawn_key(
    replicas: Pair, new_form: NewForm, stack: Stack, schema: str
) -> None:
    form = new_form()
    signed_before = await register(replicas[0], form)
    rotate = ("keys", "rotate", "--withdraw-others")
    code, output, errors = await run_command("auth-service", *rotate, **replicas[0].variables)
    assert code == 0, errors
    (line,) = output.splitlines()
    new_kid = line.split()[0]

    # A replica that starts now has the new key only. The others see the key first in its token.
    async with running_replicas(1, stack, schema, **VARIABLES) as (third,):
        assert await refuses(third, signed_before)
        signed_after = (await log_in(third, form)).json()
    assert kid_of(signed_after) == new_kid
    for replica in replicas:

        async def accepts(replica: Replica = replica) -> bool:
            return not await refuses(replica, signed_after)

        await eventually(accepts)
        assert problem(await replica.client.get("/v1/users/me", headers=bearer(signed_before))) == (
            401,
            "invalid-token",
        )
        assert kid_of((await log_in(replica, form)).json()) == new_kid
        published = (await replica.client.get("/.well-known/jwks.json")).json()["keys"]
        assert [key["kid"] for key in published] == [new_kid]


async def test_failures_at_both_are_counted_together(replicas: Pair, new_form: NewForm) -> None:
    form = new_form()
    await register(replicas[0], form)
    wrong = {"login": form["username"], "password": "not the password"}
    remaining = []
    for number in range(QUOTA):
        answer = await replicas[number % 2].client.post("/v1/login", json=wrong)
        assert problem(answer) == (401, "invalid-credentials")
        remaining.append(re.findall(r'"login-account";r=(\d+)', answer.headers["RateLimit"]))
    assert remaining == [["4"], ["3"], ["2"], ["1"], ["0"]]

    # On a machine that is slow enough the first delay, a second, is over by now; but every delay is twice as long.
    async def answers_of_both() -> list[httpx.Response]:
        return await concurrently(replicas, 2, lambda client, _: client.post("/v1/login", json=wrong))

    refused = await eventually(answers_of_both, lambda both: {answer.status_code for answer in both} == {429})
    for answer in refused:
        assert problem(answer) == (429, "too-many-requests")
        assert int(answer.headers["Retry-After"]) >= 1
    right = await log_in(replicas[1], form)
    assert right.status_code == 429, "a delayed login must not reveal whether the password is correct"


@pytest.mark.parametrize("over", [1, 2], ids=["one", "both"])
async def test_burst_of_guesses_does_not_exceed_the_quota(
    replicas: Pair, shared_rows: AsyncEngine, new_form: NewForm, over: int
) -> None:
    """Per replica: MySQL does not contain the other's pending attempts yet. Later attempts wait for all of them."""
    form = new_form()
    user_id = (await register(replicas[0], form))["user"]["id"]
    guesses = [{"login": form["username"], "password": f"guess number {number}"} for number in range(40)]
    asked = (replicas[0], replicas[over - 1])
    began = time.monotonic()
    answers = await concurrently(asked, 40, lambda client, number: client.post("/v1/login", json=guesses[number]))
    seconds = time.monotonic() - began
    tried = [answer for answer in answers if answer.status_code == 401]
    refused = [answer for answer in answers if answer.status_code != 401]
    # After the quota one more is let through after 1 s, another 2 s later, then 4 s …
    assert QUOTA <= len(tried) <= over * QUOTA + math.floor(math.log2(seconds + 1))
    for answer in refused:
        assert problem(answer) == (429, "too-many-requests")
        assert int(answer.headers["Retry-After"]) >= 1
    failures = "SELECT COUNT(*) FROM audit_events WHERE user_id = :id AND event = 'authn_login_fail'"
    assert await count(shared_rows, failures, id=user_id) == len(tried)


@pytest.mark.parametrize("is_taken", [False, True])
async def test_concurrent_guess_is_counted(app: FastAPI, is_taken: bool) -> None:
    policy = BackoffPolicy("guesses", quota=1, window=timedelta(minutes=1), max_delay=timedelta(minutes=1))
    limiter, subject = AttemptLimiter(utc_now), Subject(policy, "all")
    async with app.state.database.reading() as session:
        snapshot = await limiter.snapshot(session, [subject])
        assert limiter.check(snapshot, [subject]) is not None
        with limiter.pending([subject], is_taken=is_taken):
            assert limiter.check(snapshot, [subject]) is None
        assert limiter.check(snapshot, [subject]) is None, "it has ended after the snapshot, and may have failed"
        assert limiter.check(await limiter.snapshot(session, [subject]), [subject]) is not None


async def test_acknowledged_registrations_survive_a_kill(
    replicas: Pair, shared_rows: AsyncEngine, new_form: NewForm
) -> None:
    victim, survivor = replicas
    acknowledged: list[Form] = []
    enough = asyncio.Event()

    async def register_until_it_dies() -> None:
        while True:
            form = new_form()
            try:
                answer = await victim.client.post("/v1/register", json=form)
            except httpx.TransportError:
                return
            assert answer.status_code == 201, answer.text
            acknowledged.append(form)
            if len(acknowledged) >= 20:
                enough.set()

    async def kill() -> None:
        await enough.wait()
        await victim.end(signal.SIGKILL)

    try:
        await asyncio.gather(kill(), *(register_until_it_dies() for _ in range(6)))
        for form in acknowledged:
            answer = await log_in(survivor, form)
            assert answer.status_code == 200, f"{form['username']}: {answer.text}"
        halves = "SELECT COUNT(*) FROM users LEFT JOIN credentials ON user_id = id WHERE user_id IS NULL"
        assert await count(shared_rows, halves) == 0
    finally:
        await victim.start()
    assert (await log_in(victim, acknowledged[-1])).status_code == 200
