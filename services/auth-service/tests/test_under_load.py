"""Hashing passwords can occupy all cores for seconds. Other requests are answered nevertheless."""

import asyncio
import itertools
import json
import statistics
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.passwords.hashing import PasswordHasher
from auth_service.settings import Settings
from embedded_stack import Stack
from support import load
from support.auth_app import Form, Mailbox, NewForm, RegisteredUser, client_of, own_schema, running_app
from support.polling import eventually
from support.ports import free_port
from support.replicas import Replica, running_replicas
from support.responses import bearer, problem, served

# The hashing queue is full from the first requests on (`load.CONCURRENCY`): more logins than these prove nothing more.
LOGINS = 300
USERS = 25
INTERVAL_SECONDS, SAMPLES = 0.02, 100
PROMPT_SECONDS = 0.05
# The service's connection pool has 10.
MORE_THAN_CONNECTIONS = 15


@pytest.fixture
async def replica(engine: AsyncEngine, mysql_root_url: str, stack: Stack) -> AsyncIterator[Replica]:
    """A process with the default settings, including argon2's parameters and the limits."""
    async with own_schema(engine, mysql_root_url) as schema, running_replicas(1, stack, schema) as (replica,):
        yield replica


@asynccontextmanager
async def program(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """One of `load`'s programs, terminated at the end."""
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
    """The delay of each response in seconds, to a request every `INTERVAL_SECONDS` until the end.

    A delay counts from the time when the request was due, so that a late response delays the following ones, too. It
    uses no HTTP client, whose own time would count.
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


@pytest.mark.long
async def test_health_is_answered_promptly_during_many_logins(replica: Replica, new_form: NewForm) -> None:
    """The service, the logins, a control and this test are four processes, so that their event loops are independent.

    On a busy machine every process waits for a core sometimes. The control shows for how long: it gets the same
    requests and only answers them. The service may be ten times as late as the control. An event loop that hashes or
    waits for MySQL would be hundreds of times as late.
    """
    forms = [new_form() for _ in range(USERS)]

    async def register(form: Form) -> httpx.Response:
        return await served(lambda: replica.client.post("/v1/register", json=form))

    answers = await asyncio.gather(*map(register, forms))
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
    message = f"median {statistics.median(service):.4f} s, 95% within {percentile_95(service):.4f} s"
    message += f"; the control {statistics.median(control):.4f} s and {percentile_95(control):.4f} s"
    assert statistics.median(service) < max(PROMPT_SECONDS, 10 * statistics.median(control)), message
    assert percentile_95(service) < max(PROMPT_SECONDS, 10 * percentile_95(control)), message
    assert len(service) > SAMPLES, "too few samples"
    # On a machine that stalls for longer than a transaction may take, some requests get a 503 once.
    count = json.loads(statuses)
    assert count.pop("200") == LOGINS, message
    assert count.pop("503", 0) <= load.CONCURRENCY, message
    assert count == {}, message


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
    """A replica with its own hashing pool, which a test may fill."""
    async with running_app(settings, auth_login_attempts_per_account=1_000_000) as app:
        yield app


@contextmanager
def full_pool(hasher: PasswordHasher) -> Iterator[None]:
    """Keep every thread busy for the length of the block, so that all passwords wait."""
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
    """A login that waits for a thread holds no connection to MySQL. Otherwise ten would block all other requests."""
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
    keep_short(hasher, monkeypatch, 3)
    login = credentials(registered["form"])

    async def waiting() -> int:
        return int(hasher.queued)

    async def log_in_from(number: int) -> httpx.Response:
        async with client_of(app_without_limits, f"198.51.100.7{number}") as client:
            return await client.post("/v1/login", json=login)

    async with client_of(app_without_limits) as client:
        with full_pool(hasher):
            logins = [asyncio.create_task(log_in_from(number)) for number in range(3)]
            await eventually(waiting, lambda queued: queued == 3)
            # Every thread is still busy when these responses arrive.
            async with asyncio.timeout(120):
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


async def reset_token(client: httpx.AsyncClient, mailbox: Mailbox, user: RegisteredUser) -> str:
    email = user["form"]["email"]
    assert (await client.post("/v1/password/forgot", json={"email": email})).status_code == 202
    return await mailbox.token(email, "choose a new password")


async def test_one_reset_token_costs_one_hash(
    app_without_limits: FastAPI, registered: RegisteredUser, mailbox: Mailbox
) -> None:
    hasher = app_without_limits.state.services.login.hasher

    async def waiting() -> int:
        return int(hasher.queued)

    async with client_of(app_without_limits) as client:
        reset = {"token": await reset_token(client, mailbox, registered), "new_password": "another good passphrase"}
        with full_pool(hasher):
            resets = [asyncio.create_task(client.post("/v1/password/reset", json=reset)) for _ in range(8)]
            await eventually(lambda: are_done(resets, 7))
            assert await waiting() == 1
        answers = await asyncio.gather(*resets)
    assert sorted(answer.status_code for answer in answers) == [204] + [422] * 7
    assert {problem(answer)[1] for answer in answers if answer.is_error} == {"invalid-reset-token"}


async def test_reset_that_a_full_hashing_queue_refuses_does_not_use_up_the_token(
    app_without_limits: FastAPI, registered: RegisteredUser, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    hasher = app_without_limits.state.services.login.hasher
    keep_short(hasher, monkeypatch, 1)

    async def waiting() -> int:
        return int(hasher.queued)

    async with client_of(app_without_limits) as client:
        reset = {"token": await reset_token(client, mailbox, registered), "new_password": "another good passphrase"}
        with full_pool(hasher):
            login = asyncio.create_task(client.post("/v1/login", json=credentials(registered["form"])))
            await eventually(waiting, lambda queued: queued == 1)
            refused = await client.post("/v1/password/reset", json=reset)
            assert problem(refused) == (503, "service-unavailable")
        assert (await login).status_code == 200
        assert (await client.post("/v1/password/reset", json=reset)).status_code == 204


async def test_flood_that_fills_the_hashing_queue_gives_way_to_a_new_client(
    app_without_limits: FastAPI, registered: RegisteredUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    hasher = app_without_limits.state.services.login.hasher
    keep_short(hasher, monkeypatch, 10)

    async def waiting() -> int:
        return int(hasher.queued)

    async with (
        client_of(app_without_limits, "203.0.113.90") as attacker,
        client_of(app_without_limits, "198.51.100.79") as newcomer,
    ):
        with full_pool(hasher):
            wrong = {"login": "nobody_here", "password": "wrong password"}
            guesses = [asyncio.create_task(attacker.post("/v1/login", json=wrong)) for _ in range(20)]
            await eventually(waiting, lambda queued: queued == 10)
            await asyncio.wait(guesses, return_when=asyncio.FIRST_COMPLETED)
            right = asyncio.create_task(newcomer.post("/v1/login", json=credentials(registered["form"])))
            await eventually(lambda: are_done(guesses, 11))
        assert (await right).status_code == 200
        statuses = sorted(answer.status_code for answer in await asyncio.gather(*guesses))
    assert statuses == [401] * 9 + [503] * 11


async def are_done(tasks: list[asyncio.Task[httpx.Response]], number: int) -> bool:
    return sum(task.done() for task in tasks) >= number


def keep_short(hasher: PasswordHasher, monkeypatch: pytest.MonkeyPatch, length: int) -> None:
    """Let the queue of the passwords be no longer than this, one of them being hashed."""
    monkeypatch.setattr(hasher._queue, "_places", 1)
    monkeypatch.setattr(hasher._queue, "_max_waiting", length - 1)
