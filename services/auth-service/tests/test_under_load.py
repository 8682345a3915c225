"""Hashing passwords can take every core for seconds. Whoever wants something else is answered none the less."""

import asyncio
import itertools
import json
import statistics
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest
from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.passwords.hashing import PasswordHasher
from auth_service.settings import Settings
from embedded_stack import Stack
from support import load
from support.auth_app import Form, NewForm, RegisteredUser, client_of, own_schema, running_app
from support.polling import eventually
from support.replicas import Replica, free_port, running_replicas
from support.responses import bearer, problem

LOGINS = 1000
PEOPLE = 25
INTERVAL_SECONDS = 0.02
PROMPT_SECONDS = 0.05
# Of its connection pool the service has 10.
MORE_THAN_CONNECTIONS = 15


@pytest.fixture
async def replica(engine: AsyncEngine, mysql_root_url: str, stack: Stack) -> AsyncIterator[Replica]:
    """A process with the settings that people get who set none: real parameters of argon2, real limits."""
    async with own_schema(engine, mysql_root_url) as schema, running_replicas(1, stack, schema) as (replica,):
        yield replica


@asynccontextmanager
async def program(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """One of `load`'s programs; it is gone afterwards."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, load.__file__, *arguments, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()


async def delays(port: int, path: str, ended: asyncio.Event) -> list[float]:
    """How late each answer was, in seconds, when it is asked for every `INTERVAL_SECONDS` until the end.

    Counted from the moment when it should have been asked: while one answer keeps us waiting, the next are late too.
    There is no HTTP client in between, for the time that it takes itself would count.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    clock = asyncio.get_running_loop().time
    late, due = [], clock()
    while not ended.is_set():
        writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]))
        late.append(clock() - due)
        due += INTERVAL_SECONDS
        await asyncio.sleep(due - clock())
    writer.close()
    await writer.wait_closed()
    return late


def percentile_95(seconds: list[float]) -> float:
    return statistics.quantiles(seconds, n=20)[-1]


async def test_health_is_answered_promptly_during_many_logins(replica: Replica, new_form: NewForm) -> None:
    """The service, the logins, a control and the questions (here) are four processes, so none waits for another's loop.

    On a machine that others use too, any process waits for a core now and then. How long, the control tells: it is
    asked at the same moments and does nothing but answer. Where its own answers are late, the service's may be so
    many times later; a loop that hashes or waits for MySQL is late by hundreds of times.
    """
    forms = [new_form() for _ in range(PEOPLE)]
    answers = await asyncio.gather(*(replica.client.post("/v1/register", json=form) for form in forms))
    assert {answer.status_code for answer in answers} == {201}
    logins = [credentials(form) for form in itertools.islice(itertools.cycle(forms), LOGINS)]

    control_port, ended = free_port(), asyncio.Event()
    async with program("control", str(control_port)), program("logins", str(replica.client.base_url)) as logging_in:
        await eventually(lambda: is_open(control_port))
        asked = asyncio.gather(
            delays(replica.client.base_url.port or 0, "/healthz", ended), delays(control_port, "/", ended)
        )
        statuses, _ = await logging_in.communicate(json.dumps(logins).encode())
        ended.set()
        service, control = await asked
    told = f"median {statistics.median(service):.4f} s, 95% within {percentile_95(service):.4f} s"
    told += f"; the control {statistics.median(control):.4f} s and {percentile_95(control):.4f} s"
    assert statistics.median(service) < max(PROMPT_SECONDS, 10 * statistics.median(control)), told
    assert percentile_95(service) < max(PROMPT_SECONDS, 10 * percentile_95(control)), told
    assert len(service) > LOGINS / 10, "it was asked too seldom to say anything"
    # A machine that stood still for longer than a transaction may take has some told to come again, once.
    count = json.loads(statuses)
    assert count.pop("200") == LOGINS, told
    assert count.pop("503", 0) <= load.CONCURRENCY, told
    assert count == {}, told


def credentials(form: Form) -> dict[str, str]:
    return {"login": form["username"], "password": form["password"]}


async def is_open(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True


@pytest.fixture
async def app_without_limits(settings: Settings) -> AsyncIterator[FastAPI]:
    """A replica whose pool a test may fill, on the schema of the others."""
    async with running_app(settings, auth_login_attempts_per_account=1_000_000) as app:
        yield app


@contextmanager
def full_pool(hasher: PasswordHasher) -> Iterator[None]:
    """Every thread is busy, until the end: all passwords wait."""
    released = threading.Event()
    for _ in range(hasher._pool._max_workers):
        hasher._pool.submit(released.wait)
    try:
        yield
    finally:
        released.set()


async def test_other_requests_are_served_while_the_hashing_queue_is_full(
    app_without_limits: FastAPI, registered: RegisteredUser
) -> None:
    """No connection to MySQL is held by who waits for a core: ten of them would shut everybody else out."""
    hasher = app_without_limits.state.services.login.hasher
    login = credentials(registered["form"])

    async def waiting() -> int:
        return int(hasher.queued)

    async with client_of(app_without_limits) as client:
        with full_pool(hasher):
            logins = [asyncio.create_task(client.post("/v1/login", json=login)) for _ in range(MORE_THAN_CONNECTIONS)]
            await eventually(waiting, lambda queued: queued == MORE_THAN_CONNECTIONS)
            answers = await asyncio.gather(
                *(client.get("/v1/users/me", headers=bearer(registered)) for _ in range(MORE_THAN_CONNECTIONS))
            )
            assert {answer.status_code for answer in answers} == {200}
            assert await waiting() == MORE_THAN_CONNECTIONS
        assert {answer.status_code for answer in await asyncio.gather(*logins)} == {200}


async def test_full_hashing_queue_refuses_requests_immediately(
    app_without_limits: FastAPI, registered: RegisteredUser, new_form: NewForm, monkeypatch: pytest.MonkeyPatch
) -> None:
    hasher = app_without_limits.state.services.login.hasher
    monkeypatch.setattr(hasher, "_capacity", 3)
    login = credentials(registered["form"])

    async def waiting() -> int:
        return int(hasher.queued)

    async with client_of(app_without_limits) as client:
        with full_pool(hasher):
            logins = [asyncio.create_task(client.post("/v1/login", json=login)) for _ in range(3)]
            await eventually(waiting, lambda queued: queued == 3)
            # Every thread is still busy when these answers are there.
            async with asyncio.timeout(10):
                refused = (
                    await client.post("/v1/login", json=login),
                    await client.post("/v1/token", data={"username": login["login"], "password": login["password"]}),
                    await client.post("/v1/register", json=new_form()),
                )
            for answer in refused:
                assert problem(answer) == (503, "service-unavailable")
                assert int(answer.headers["Retry-After"]) >= 1
            assert await waiting() == 3
        assert {answer.status_code for answer in await asyncio.gather(*logins)} == {200}
        assert (await client.post("/v1/login", json=login)).status_code == 200
