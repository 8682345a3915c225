"""Start: concurrent replicas, wrong secrets, migrations, an unavailable database, and housekeeping."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from contextvars import ContextVar

import httpx
import pytest
from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from fastapi import FastAPI
from passlib.hash import argon2
from pydantic import SecretStr
from sqlalchemy import Connection, func, insert, select, table, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from auth_service.audit.models import AuditEvent
from auth_service.database import TRANSACTION_SECONDS, migrations_folder
from auth_service.keys.encryption import WrongSecret
from auth_service.main import create_app, prepare
from auth_service.opaque_tokens import new_token, token_hash
from auth_service.outbox.models import OutboxMail
from auth_service.sessions.models import Session, StoredRefreshToken
from auth_service.settings import Settings
from embedded_stack import Stack
from service_kit.mysql import create_engine
from service_kit.time_limits import time_limit
from support.auth_app import AdjustableClock, Form, NewForm, client_of, log_in, running_app
from support.commands import run_command
from support.ports import free_port
from support.responses import bearer, problem

PASSWORD = "correct horse battery staple"


def settings_for(schema: str, secret: str = "local-only-of-the-tests") -> Settings:
    return Settings(mysql_url=SecretStr(schema), auth_key_encryption_secret=SecretStr(secret))


async def upgrade(schema: str, to: str) -> None:
    """Migrate as far as a certain revision."""

    def migrate_to(connection: Connection) -> None:
        config = Config()
        config.set_main_option("script_location", str(migrations_folder()))
        config.attributes["connection"] = connection
        command.upgrade(config, to)

    engine = create_engine(schema)
    async with engine.begin() as connection:
        await connection.run_sync(migrate_to)
    await engine.dispose()


async def test_replicas_that_start_together_agree_on_schema_and_key(empty_schema: str) -> None:
    shared = settings_for(empty_schema)
    await asyncio.gather(*(prepare(shared) for _ in range(4)))
    kids = set()
    for app in (create_app(shared), create_app(shared)):
        async with app.router.lifespan_context(app):
            kids |= {key["kid"] for key in app.state.key_ring.public_keys()}
    assert len(kids) == 1


async def test_key_of_another_replica_is_found(empty_schema: str) -> None:
    await prepare(settings_for(empty_schema))
    app = create_app(settings_for(empty_schema))
    async with app.router.lifespan_context(app):
        (known,) = app.state.key_ring.public_keys()
        assert await app.state.key_ring.key("unknown") is None
        found = await app.state.key_ring.key(known["kid"])
        assert found.to_dict()["x"] == known["x"]


async def start(**variables: str) -> tuple[int, str, str]:
    """Not on the default port, which a stack may have."""
    return await run_command("auth-service", "run", PORT=str(free_port()), **variables)


async def test_start_with_a_wrong_secret_fails_with_one_sentence(empty_schema: str) -> None:
    await prepare(settings_for(empty_schema))
    with pytest.raises(WrongSecret):
        await prepare(settings_for(empty_schema, "another secret altogether"))
    code, _, errors = await start(MYSQL_URL=empty_schema, AUTH_KEY_ENCRYPTION_SECRET="another secret altogether")
    assert code == 1
    assert errors.startswith("error: AUTH_KEY_ENCRYPTION_SECRET is not the secret")
    assert "Traceback" not in errors


@pytest.mark.integration
async def test_default_secret_refuses_to_start_in_production() -> None:
    code, _, errors = await start(MYSQL_URL="mysql://a:b@127.0.0.1:1/auth", ENVIRONMENT="production")
    assert code == 1
    assert "AUTH_KEY_ENCRYPTION_SECRET" in errors
    assert "Traceback" not in errors


@pytest.mark.integration
@pytest.mark.parametrize(
    "variables",
    [
        {"MYSQL_URL": "nonsense"},
        {
            "MYSQL_URL": "mysql://a:local-only-password@127.0.0.1:1/auth",
            "AUTH_KEY_ENCRYPTION_SECRET": "a secret of ours",
        },
    ],
)
async def test_address_of_the_database_is_checked_like_every_setting(variables: dict[str, str]) -> None:
    code, _, errors = await start(ENVIRONMENT="production", **variables)
    assert code == 1
    assert errors.startswith("error: the configuration is not valid: ")
    assert "MYSQL_URL" in errors


async def test_start_with_a_newer_schema_fails_with_one_sentence(empty_schema: str) -> None:
    await prepare(settings_for(empty_schema))
    engine = create_engine(empty_schema)
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    await engine.dispose()
    code, _, errors = await start(MYSQL_URL=empty_schema)
    assert code == 1
    assert "9999" in errors
    assert "Traceback" not in errors


async def test_requests_fail_with_503_while_mysql_is_down_and_recover(
    client: httpx.AsyncClient, app: FastAPI, stack: Stack
) -> None:
    login = {"login": "unknown", "password": "any password"}
    assert (await client.post("/v1/login", json=login)).status_code == 401
    stack.kill("mysql")
    answer = await client.post("/v1/login", json=login)
    assert (answer.status_code, answer.json()["code"]) == (503, "service-unavailable")
    assert "retry-after" in answer.headers
    assert (await client.get("/readyz")).json()["checks"]["mysql"] != "ok"
    assert (await client.get("/.well-known/jwks.json")).status_code == 200
    await asyncio.to_thread(stack.start, "mysql")
    assert (await client.post("/v1/login", json=login)).status_code == 401
    assert (await client.get("/readyz")).status_code == 200


class LimitedWaits:
    """Adds the time limits of the waits for the database that a request has had, without those in another one."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._depth = 0

    @asynccontextmanager
    async def limit(self, seconds: float) -> AsyncIterator[None]:
        self.seconds += 0 if self._depth else seconds
        self._depth += 1
        try:
            async with time_limit(seconds):
                yield
        finally:
            self._depth -= 1


# Of the request of this context.
_waits: ContextVar[LimitedWaits] = ContextVar("_waits")


async def test_requests_fail_with_503_while_mysql_hangs(
    client: httpx.AsyncClient, form: Form, stack: Stack, rows: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("auth_service.database.TRANSACTION_SECONDS", TRANSACTION_SECONDS)
    assert (await client.post("/v1/register", json=form)).status_code == 201
    requests = [
        ("/v1/login", {"login": form["username"], "password": form["password"]}),
        ("/v1/register", form | {"username": "late", "email": "late@example.com"}),
        ("/v1/password/forgot", {"email": form["email"]}),
    ] * 6

    async def send(path: str, body: Mapping[str, str]) -> tuple[httpx.Response, float]:
        _waits.set(waits := LimitedWaits())
        return await client.post(path, json=body), waits.seconds

    monkeypatch.setattr("auth_service.database.time_limit", lambda seconds: _waits.get(LimitedWaits()).limit(seconds))
    stack.pause("mysql")
    try:
        answers = await asyncio.gather(*(send(path, body) for path, body in requests))
    finally:
        stack.resume("mysql")
    assert {answer.status_code for answer, _ in answers} == {503}
    assert all("retry-after" in answer.headers for answer, _ in answers)
    # MySQL answered none of them. So each was ended by a limit, and its limits are all the time that it waited: a clock
    # would also measure how busy the machine is.
    assert {answer.json()["detail"] for answer, _ in answers} == {"The database does not answer in time."}
    assert max(seconds for _, seconds in answers) < 3
    assert (await client.post("/v1/login", json=requests[0][1])).status_code == 200
    async with rows.connect() as connection:
        assert await connection.scalar(text("SELECT COUNT(*) FROM users WHERE username = 'late'")) == 0


async def test_sessions_survive_the_migration_from_the_first_release(empty_schema: str, settings: Settings) -> None:
    await upgrade(empty_schema, to="0001")
    token = "a-refresh-token-of-the-release-before"
    spent = "its-predecessor"
    engine = create_engine(empty_schema)
    async with engine.begin() as connection:
        await connection.execute(
            text(
                "INSERT INTO users (id, username, name, email, role, is_active, created_at, updated_at)"
                " VALUES ('u1', 'ada', 'Ada', 'ada@example.com', 'customer', 1, NOW(6), NOW(6))"
            )
        )
        await connection.execute(text("INSERT INTO credentials (user_id, password_hash) VALUES ('u1', 'x')"))
        row = text(
            "INSERT INTO sessions (id, family, user_id, token_hash, created_at, expires_at, spent_at)"
            " VALUES (:id, 'family', 'u1', :hash, NOW(6), NOW(6) + INTERVAL 1 DAY, NOW(6) - INTERVAL :hours HOUR)"
        )
        # An interval of NULL hours is NULL: the token is not spent.
        for number, (value, hours) in enumerate(((spent, 1), (token, None))):
            given = {"id": f"s{number}", "hash": token_hash(value), "hours": hours}
            await connection.execute(row, given)
    await engine.dispose()
    own = settings.model_copy(update={"mysql_url": SecretStr(empty_schema)})
    await prepare(own)
    async with running_app(own) as app, client_of(app) as client:
        renewed = await client.post("/v1/refresh", json={"refresh_token": token})
        assert renewed.status_code == 200
        assert (await client.get("/v1/users/me", headers=bearer(renewed.json()))).json()["username"] == "ada"
        reused = await client.post("/v1/refresh", json={"refresh_token": spent})
        assert problem(reused) == (401, "refresh-token-reused")


async def test_accounts_can_be_used_while_the_schema_of_the_release_before_is_migrated(
    empty_schema: str, settings: Settings, app: FastAPI, form: Form
) -> None:
    await upgrade(empty_schema, to="0003")
    password_hash = await app.state.services.login.hasher.hash(form["password"])
    engine = create_engine(empty_schema)
    async with engine.begin() as connection:
        await connection.execute(
            text(
                "INSERT INTO users (id, username, name, email, role, is_active, created_at, updated_at)"
                " VALUES ('u1', :username, :name, :email, 'customer', 1, NOW(6), NOW(6))"
            ),
            form,
        )
        row = text("INSERT INTO credentials (user_id, password_hash) VALUES ('u1', :hash)")
        await connection.execute(row, {"hash": password_hash})

    is_writing, is_migrated = asyncio.Event(), asyncio.Event()

    async def previous_release() -> None:
        while not is_migrated.is_set():
            async with engine.begin() as connection:
                await connection.execute(text("UPDATE users SET updated_at = NOW(6) WHERE id = 'u1'"))
                await connection.execute(text("SELECT * FROM users JOIN credentials ON user_id = id"))
            is_writing.set()

    own = settings.model_copy(update={"mysql_url": SecretStr(empty_schema)})
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(previous_release())
        await is_writing.wait()
        await prepare(own)
        is_migrated.set()
    await engine.dispose()
    async with running_app(own) as migrated, client_of(migrated) as client:
        tokens = await log_in(client, {"form": form})
        change = {"username": f"{form['username']}_new"}
        assert (await client.patch("/v1/users/me", json=change, headers=bearer(tokens))).status_code == 200
        answer = await client.post("/v1/register", json=form | {"email": "other@example.com"})
        assert problem(answer) == (409, "username-taken")


async def test_accounts_of_the_last_release_work_while_its_replicas_run(
    empty_schema: str, settings: Settings, new_form: NewForm
) -> None:
    """The migration happens while they serve, and they continue to write rows without the new columns."""
    await upgrade(empty_schema, to="0003")
    password_hash = argon2.using(type="ID", memory_cost=8192, rounds=1).hash(PASSWORD)
    insert_user = text(
        "INSERT INTO users (id, username, name, email, role, is_active, created_at, updated_at)"
        " VALUES (:id, :id, 'Ada', CONCAT(:id, '@example.com'), 'customer', 1, NOW(6), NOW(6))"
    )
    insert_credential = text("INSERT INTO credentials (user_id, password_hash) VALUES (:id, :hash)")
    insert_token = text(
        "INSERT INTO one_time_tokens (token_hash, purpose, user_id, email, created_at, expires_at)"
        " VALUES (:hash, 'confirm-email', :id, CONCAT(:id, '@example.com'), NOW(6), NOW(6) + INTERVAL 1 DAY)"
    )
    engine = create_engine(empty_schema)

    async def register_at_the_last_release(username: str) -> None:
        async with engine.begin() as connection:
            await connection.execute(insert_user, {"id": username})
            await connection.execute(insert_credential, {"id": username, "hash": password_hash})
            await connection.execute(insert_token, {"id": username, "hash": token_hash(f"token of {username}")})

    await register_at_the_last_release("before")
    own = settings.model_copy(update={"mysql_url": SecretStr(empty_schema)})
    await prepare(own)
    await register_at_the_last_release("after")
    await engine.dispose()
    async with running_app(own) as app, client_of(app) as client:
        for username in ("before", "after"):
            confirmation = {"token": f"token of {username}"}
            assert (await client.post("/v1/email/verify", json=confirmation)).status_code == 204
            tokens = (await client.post("/v1/login", json={"login": username, "password": PASSWORD})).json()
            change = {"email": f"new-{username}@example.com", "current_password": PASSWORD}
            answer = await client.patch("/v1/users/me", json=change, headers=bearer(tokens))
            assert (answer.status_code, answer.json().get("pending_email")) == (200, change["email"])


async def test_addresses_of_the_last_release_get_the_form_in_which_they_are_compared(
    empty_schema: str, settings: Settings
) -> None:
    await upgrade(empty_schema, to="0003")
    password_hash = argon2.using(type="ID", memory_cost=8192, rounds=1).hash(PASSWORD)
    insert_user = (
        "INSERT INTO users (id, username, name, email, role, is_active, created_at, updated_at)"
        " VALUES (:id, :id, 'Ada', :email, 'customer', 1, NOW(6), NOW(6))"
    )
    insert_credential = "INSERT INTO credentials (user_id, password_hash, pending_email) VALUES (:id, :hash, :email)"
    insert_token = (
        "INSERT INTO one_time_tokens (token_hash, purpose, user_id, email, created_at, expires_at)"
        " VALUES (:token, 'confirm-email', :id, :email, NOW(6), NOW(6) + INTERVAL 1 DAY)"
    )
    # The last one comes too late for its form, which the account before it has: MySQL knew no such character.
    stored = ("Ada.L@Example.com", "bo\u0337b@example.net", "ﬁona@straße.de", "令和@example.jp", "\u32ff@example.jp")
    engine = create_engine(empty_schema)
    async with engine.begin() as connection:
        for number, email in enumerate(stored):
            given = {"id": f"user_{number}", "email": email, "hash": password_hash, "token": token_hash(email)}
            for statement in (insert_user, insert_credential, insert_token):
                await connection.execute(text(statement), given)
    own = settings.model_copy(update={"mysql_url": SecretStr(empty_schema)})
    await prepare(own)
    columns = ("email FROM users", "pending_email FROM credentials", "email FROM one_time_tokens")
    forms = ["ada.l@example.com", "bo\u0337b@example.net", "fiona@straße.de", "令和@example.jp"]
    async with engine.connect() as connection:
        for column in columns:
            found = [*await connection.scalars(text(f"SELECT {column}"))]
            late = "\u32ff@example.jp" if column == columns[0] else forms[-1]
            assert sorted(found) == sorted([*forms, late]), column
    await engine.dispose()
    async with running_app(own) as app, client_of(app) as client:
        for number, email in enumerate(stored[:-1]):
            assert (await client.post("/v1/email/verify", json={"token": email})).status_code == 204
            tokens = await client.post("/v1/login", json={"login": email, "password": PASSWORD})
            me = (await client.get("/v1/users/me", headers=bearer(tokens.json()))).json()
            assert (me["id"], me["email"], me["pending_email"]) == (f"user_{number}", forms[number], None)
        tokens = await client.post("/v1/login", json={"login": "user_4", "password": PASSWORD})
        assert tokens.status_code == 200, "by the username"


async def without_unique_addresses(schema: str, *addresses: str) -> None:
    """As a replica of 0.1.0 can store accounts after migration 0010 has dropped the index, and before it builds it."""
    await upgrade(schema, to="0009")
    password_hash = argon2.using(type="ID", memory_cost=8192, rounds=1).hash(PASSWORD)
    engine = create_engine(schema)
    async with engine.begin() as connection:
        await connection.execute(text("DROP INDEX email ON users"))
        for number, email in enumerate(addresses, start=1):
            user = text(
                "INSERT INTO users (id, username, name, email, role, is_active, created_at, updated_at)"
                " VALUES (:id, :id, 'Ada', :email, 'customer', 1, NOW(6), NOW(6))"
            )
            await connection.execute(user, {"id": f"user_{number}", "email": email})
            credential = text("INSERT INTO credentials (user_id, password_hash) VALUES (:id, :hash)")
            await connection.execute(credential, {"id": f"user_{number}", "hash": password_hash})
    await engine.dispose()


async def test_start_names_accounts_with_the_same_address(empty_schema: str, settings: Settings) -> None:
    await without_unique_addresses(empty_schema, "ada@example.com", "bob@example.com", "ada@example.com")
    own = settings.model_copy(update={"mysql_url": SecretStr(empty_schema)})
    for _ in range(2):
        with pytest.raises(CommandError, match=r"accounts have the same email address: user_1 and user_3\. "):
            await prepare(own)
    engine = create_engine(empty_schema)
    async with engine.begin() as connection:
        # The remedy of docs/operations.md.
        remedy = text("UPDATE users SET email = CONCAT(id, '@duplicate.invalid') WHERE id = 'user_3'")
        await connection.execute(remedy)
    await engine.dispose()
    await prepare(own)
    async with running_app(own) as app, client_of(app) as client:
        for login, user in (("ada@example.com", "user_1"), ("user_3", "user_3")):
            tokens = await client.post("/v1/login", json={"login": login, "password": PASSWORD})
            assert (await client.get("/v1/users/me", headers=bearer(tokens.json()))).json()["id"] == user


async def test_address_whose_form_another_account_has_stays(empty_schema: str, settings: Settings) -> None:
    await without_unique_addresses(empty_schema, "ada@example.com", "Ada@example.com", "Bob@example.com")
    await prepare(settings_for(empty_schema))
    engine = create_engine(empty_schema)
    async with engine.connect() as connection:
        stored = (await connection.scalars(text("SELECT email FROM users ORDER BY id"))).all()
    await engine.dispose()
    assert stored == ["ada@example.com", "Ada@example.com", "bob@example.com"]


SCHEMA = text(
    "SELECT table_name, column_name, ordinal_position, column_type, is_nullable, collation_name, NULL"
    " FROM information_schema.columns WHERE table_schema = DATABASE()"
    " UNION ALL SELECT table_name, index_name, seq_in_index, column_name, non_unique, NULL, index_type"
    " FROM information_schema.statistics WHERE table_schema = DATABASE() ORDER BY 1, 2, 3, 4"
)


@pytest.mark.parametrize(
    ("revision", "last_steps"),
    [
        ("0003", ["DROP TABLE held_usernames"]),
        ("0003", ["DROP INDEX ix_held_usernames_held_until ON held_usernames"]),
        ("0004", ["DROP INDEX ix_one_time_tokens_email ON one_time_tokens"]),
        ("0005", ["DROP INDEX ix_outbox_due_at ON outbox", "DROP INDEX ix_outbox_died_at ON outbox"]),
        ("0006", []),
        ("0007", ["ALTER TABLE one_time_tokens DROP COLUMN claimed_until, DROP COLUMN is_confirmed"]),
        ("0008", ["CREATE INDEX ix_refresh_tokens_session_id ON refresh_tokens (session_id)"]),
        (
            "0008",
            [
                "CREATE INDEX ix_refresh_tokens_session_id ON refresh_tokens (session_id)",
                "DROP INDEX ix_refresh_tokens_age ON refresh_tokens",
            ],
        ),
        ("0009", []),
        ("0010", ["DROP INDEX ix_sessions_ended_at ON sessions"]),
        ("0010", ["DROP INDEX ix_sessions_family_hash ON sessions", "ALTER TABLE sessions DROP COLUMN refreshes_from"]),
        ("0011", []),
    ],
)
async def test_migration_continues_after_a_kill(empty_schema: str, revision: str, last_steps: list[str]) -> None:
    """Undo the last steps, and the revision, which Alembic stores after them."""
    await prepare(settings_for(empty_schema))
    engine = create_engine(empty_schema)
    async with engine.begin() as connection:
        schema = (await connection.execute(SCHEMA)).all()
        for step in last_steps:
            await connection.execute(text(step))
        await connection.execute(text("UPDATE alembic_version SET version_num = :revision"), {"revision": revision})
    await prepare(settings_for(empty_schema))
    async with engine.connect() as connection:
        assert await connection.scalar(text("SELECT version_num FROM alembic_version")) != revision
        assert (await connection.execute(SCHEMA)).all() == schema
    await engine.dispose()


async def test_housekeeping_deletes_expired_rows(
    empty_schema: str, settings: Settings, new_form: NewForm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("auth_service.batched_deletion.BATCH_SIZE", 2)
    monkeypatch.setattr("auth_service.sessions.deletion._SESSIONS_AT_A_TIME", 2)
    own = settings.model_copy(update={"mysql_url": SecretStr(empty_schema)})
    await prepare(own)
    clock = AdjustableClock()
    tables = ("sessions", "refresh_tokens", "one_time_tokens", "login_attempts", "outbox", "audit_events")
    dead_mail = {
        "id": "dead",
        "kind": "confirm_email",
        "created_at": clock(),
        "expires_at": clock(),
        "attempts": 1,
        "died_at": clock(),
    }

    async def counts(connection: AsyncConnection) -> list[int | None]:
        return [await connection.scalar(select(func.count()).select_from(table(name))) for name in tables]

    async with running_app(own, clock) as app, client_of(app) as client:
        form = new_form()
        token = (await client.post("/v1/register", json=form)).json()["refresh_token"]
        for _ in range(5):
            token = (await client.post("/v1/refresh", json={"refresh_token": token})).json()["refresh_token"]
        for password in (form["password"], form["password"], "wrong password"):
            await client.post("/v1/login", json={"login": form["username"], "password": password})
        async with app.state.database.transaction() as session:
            for session_id in await session.scalars(select(Session.id)):
                # Those of the last release.
                for _ in range(3):
                    stored = {"token_hash": token_hash(new_token()), "session_id": session_id, "created_at": clock()}
                    await session.execute(insert(StoredRefreshToken), stored)
            await session.execute(insert(OutboxMail), dead_mail)
        await app.state.housekeeper.clean_up()
        async with app.state.database.engine.connect() as connection:
            assert all(count and count > 0 for count in await counts(connection))
        clock.advance(days=8)
        await app.state.housekeeper.clean_up()
        async with app.state.database.engine.connect() as connection:
            *gone, kept = await counts(connection)
        assert gone == [0, 0, 0, 0, 0]
        assert kept
        clock.advance(days=365)
        await app.state.housekeeper.clean_up()
        async with app.state.database.engine.connect() as connection:
            # Housekeeping created a key, which is a recent event.
            assert (await connection.scalars(select(AuditEvent.event))).all() == ["sensitive_create"]
