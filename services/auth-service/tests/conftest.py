"""The service in this process, with its own schema in a real MySQL and a real mail sink."""

import itertools
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.main import create_app, prepare
from auth_service.settings import Settings
from embedded_stack import Stack
from service_kit.mysql import create_engine
from support.auth_app import AdjustableClock, Form, Mailbox, NewForm, Register, RegisteredUser, client_of, own_schema

PASSWORD = "correct horse battery staple"


_clock = AdjustableClock()


@pytest.fixture(scope="session", autouse=True)
def patience() -> Iterator[None]:
    """On a busy machine requests may take longer than the service permits, and would get a 503."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("auth_service.database.TRANSACTION_SECONDS", 60)
        # The time that a request waits for a connection, too.
        patch.setattr("service_kit.mysql.CONNECT_TIMEOUT_SECONDS", 30)
        patch.setitem(create_engine.__kwdefaults__, "lock_wait_seconds", 60)
        yield


@pytest.fixture
async def clock(app: FastAPI) -> AsyncIterator[AdjustableClock]:
    """The application's clock. It is reset after the test."""
    yield _clock
    _clock.reset()
    await app.state.key_ring.load()


@pytest.fixture(scope="session")
async def engine(mysql_root_url: str) -> AsyncIterator[AsyncEngine]:
    """A direct connection to MySQL as root."""
    engine = create_engine(mysql_root_url)
    yield engine
    await engine.dispose()


@pytest.fixture
async def empty_schema(engine: AsyncEngine, mysql_root_url: str) -> AsyncIterator[str]:
    async with own_schema(engine, mysql_root_url) as url:
        yield url


@pytest.fixture(scope="session")
async def settings(engine: AsyncEngine, mysql_root_url: str, stack: Stack) -> AsyncIterator[Settings]:
    stack.start("mail")
    async with own_schema(engine, mysql_root_url) as url:
        settings = Settings(
            mysql_url=SecretStr(url),
            auth_issuer="http://issuer.test/api/auth",
            auth_smtp_url=SecretStr(stack.addresses["SMTP_URL"]),
            auth_public_url="http://tandem.test",
            trusted_proxies="192.0.2.1, 192.0.2.128/25",
            # The least that is permitted: a test run hashes thousands of passwords. `DEFAULT_HASHING` is the default.
            auth_argon2_memory_kib=8192,
            # All tests have the same address.
            auth_login_attempts_per_address=1_000_000,
            auth_login_failures_overall=1_000_000,
            auth_registrations_per_address=1_000_000,
            auth_mails_per_address=1_000_000,
        )
        await prepare(settings)
        yield settings


@pytest.fixture(scope="session")
async def app(settings: Settings) -> AsyncIterator[FastAPI]:
    app = create_app(settings, _clock)
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(app) as client:
        yield client


@pytest.fixture
async def rows(settings: Settings) -> AsyncIterator[AsyncEngine]:
    """A direct connection to the service's schema."""
    engine = create_engine(settings.mysql_url.get_secret_value())
    yield engine
    await engine.dispose()


_numbers = itertools.count(1)


@pytest.fixture
def new_form() -> NewForm:
    """Creates registrations with unused names."""

    def make() -> Form:
        number = next(_numbers)
        return {
            "username": f"ada_{number}",
            "email": f"ada{number}@example.com",
            "name": "Ada Lovelace",
            "password": PASSWORD,
            "password_confirm": PASSWORD,
        }

    return make


@pytest.fixture
def form(new_form: NewForm) -> Form:
    return new_form()


@pytest.fixture
def register(client: httpx.AsyncClient, new_form: NewForm, rows: AsyncEngine) -> Register:
    """Registers a user and logs in. Returns the response's body with the `form` that was sent."""

    async def sign_up(role: str = "customer", **changes: Any) -> RegisteredUser:
        form = new_form() | changes
        answer = await client.post("/v1/register", json=form)
        assert answer.status_code == 201, answer.text
        if role == "customer":
            return {**answer.json(), "form": form}
        async with rows.begin() as connection:
            given = {"role": role, "id": answer.json()["user"]["id"]}
            await connection.execute(text("UPDATE users SET role = :role WHERE id = :id"), given)
        login = await client.post("/v1/login", json={"login": form["username"], "password": form["password"]})
        return {**answer.json(), **login.json(), "form": form}

    return sign_up


@pytest.fixture
async def registered(register: Register, form: Form) -> RegisteredUser:
    """A registered user."""
    return await register(**form)


@pytest.fixture
async def admin(register: Register) -> RegisteredUser:
    return await register(role="admin")


@pytest.fixture
async def mailbox(stack: Stack) -> AsyncIterator[Mailbox]:
    stack.start("mail")
    async with httpx.AsyncClient(base_url=stack.addresses["MAIL_URL"], timeout=20) as client:
        yield Mailbox(client)
