"""While a store refuses a service's account, because its password was changed, requests get a 503 with Retry-After."""

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import httpx
import pymongo
import pytest
from fastapi import FastAPI
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError

from auth_service.main import create_app as create_auth_app
from auth_service.main import prepare
from auth_service.settings import Settings as AuthSettings
from service_kit.mysql import create_engine
from support.auth_app import own_schema, sign_up
from support.jwt_issuer import AUDIENCE, ISSUER, Issuer, serving_issuer
from support.polling import eventually
from support.responses import bearer
from sync_service.main import create_app as create_sync_app
from sync_service.routes.loader import default_routes_file, load_routes
from sync_service.settings import Settings as SyncSettings
from tweet_service.main import create_app as create_tweet_app
from tweet_service.settings import Settings as TweetSettings

if TYPE_CHECKING:
    Client = pymongo.MongoClient[dict[str, Any]]

PASSWORD, CHANGED = "the first phrase", "another phrase"

ChangePassword = Callable[[str], Awaitable[None]]


@asynccontextmanager
async def running(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://service.test") as client,
    ):
        yield client


async def assert_refusals_are_unavailability(
    send: Callable[[], Awaitable[httpx.Response]], change_password: ChangePassword
) -> None:
    statuses: set[int] = set()

    async def status_is(wanted: int) -> bool:
        answer = await send()
        statuses.add(answer.status_code)
        if answer.status_code == 503:
            assert answer.json()["code"] == "service-unavailable"
            assert int(answer.headers["Retry-After"]) > 0
        return answer.status_code == wanted

    await eventually(lambda: status_is(200))
    await change_password(CHANGED)
    await eventually(lambda: status_is(503))
    # No restart is needed when the account has the service's password again.
    await change_password(PASSWORD)
    await eventually(lambda: status_is(200))
    assert statuses == {200, 503}


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with serving_issuer() as issuer:
        yield issuer


@pytest.fixture
def database() -> str:
    return f"refused_{secrets.token_hex(4)}"


@pytest.fixture
def mongodb_account(root: "Client", address: str, database: str) -> Iterator[str]:
    """The URL of an account of its own. A connection that was idle is not used again: only new ones authenticate."""
    root[database].command("createUser", "service", pwd=PASSWORD, roles=["readWrite"])
    password = PASSWORD.replace(" ", "%20")
    yield f"mongodb://service:{password}@{address}/{database}?replicaSet=rs0&authSource={database}&maxIdleTimeMS=1"
    root[database].command("dropUser", "service")
    root.drop_database(database)


@pytest.fixture
def change_mongodb_password(root: "Client", database: str) -> ChangePassword:
    async def change(password: str) -> None:
        root[database].command("updateUser", "service", pwd=password)

    return change


async def test_tweet_service(
    mongodb_account: str, database: str, issuer: Issuer, change_mongodb_password: ChangePassword
) -> None:
    settings = TweetSettings(
        mongodb_url=SecretStr(mongodb_account),
        tweet_users_database=database,
        auth_jwks_url=issuer.url,
        auth_issuer=ISSUER,
        auth_audience=AUDIENCE,
    )
    async with running(create_tweet_app(settings)) as client:
        await assert_refusals_are_unavailability(lambda: client.get("/v1/tweets"), change_mongodb_password)


async def test_sync_service(mongodb_account: str, issuer: Issuer, change_mongodb_password: ChangePassword) -> None:
    """It reads the account of each token. The other stores are not needed for that."""
    settings = SyncSettings(
        mongodb_url=SecretStr(mongodb_account),
        mysql_url=SecretStr("mysql://unused@127.0.0.1:1/tweets"),
        kafka_bootstrap_servers="127.0.0.1:1",
        auth_jwks_url=issuer.url,
        auth_issuer=ISSUER,
        auth_audience=AUDIENCE,
    )
    routes = [
        route.model_copy(update={"target": route.target.model_copy(update={"database": None})})
        for route in load_routes(default_routes_file())
    ]
    headers = {"Authorization": f"Bearer {issuer.token(role='admin')}"}
    async with running(create_sync_app(settings, routes)) as client:
        await assert_refusals_are_unavailability(
            lambda: client.get("/v1/reconcile", headers=headers), change_mongodb_password
        )


async def test_auth_service(mysql_root_url: str) -> None:
    engine = create_engine(mysql_root_url)
    account = f"refused_{secrets.token_hex(4)}"
    async with own_schema(engine, mysql_root_url) as url:
        schema = make_url(url).database
        async with engine.begin() as connection:
            await connection.execute(text(f"CREATE USER {account}@'%' IDENTIFIED BY '{PASSWORD}'"))
            await connection.execute(text(f"GRANT ALL ON {schema}.* TO {account}@'%'"))

        async def change(password: str) -> None:
            async with engine.begin() as connection:
                await connection.execute(text(f"ALTER USER {account}@'%' IDENTIFIED BY '{password}'"))
            # Only new connections authenticate.
            async with engine.connect() as connection:
                listed = text("SELECT id FROM performance_schema.processlist WHERE user = :account")
                for each in (await connection.execute(listed, {"account": account})).scalars().all():
                    with suppress(OperationalError):  # it has ended by itself
                        await connection.execute(text(f"KILL {each}"))

        own = make_url(url).set(username=account, password=PASSWORD).render_as_string(hide_password=False)
        settings = AuthSettings(
            mysql_url=SecretStr(own), auth_issuer="http://issuer.test", auth_public_url="http://tandem.test"
        )
        await prepare(settings)
        app = create_auth_app(settings)
        async with running(app) as client:
            user = bearer(await sign_up(app, "ada"))
            await assert_refusals_are_unavailability(lambda: client.get("/v1/users/me", headers=user), change)
        async with engine.begin() as connection:
            await connection.execute(text(f"DROP USER {account}@'%'"))
    await engine.dispose()
