"""Several replicas at once, a wrong secret, a database that is not there."""

import asyncio
import os
import sys
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr
from sqlalchemy import text

from auth_service.keys.encryption import WrongSecret
from auth_service.main import create_app, prepare
from auth_service.settings import Settings
from embedded_stack import Stack
from service_kit.mysql import create_engine

AUTH_SERVICE = str(Path(sys.executable).with_name("auth-service"))


def settings_for(schema: str, secret: str = "local-only-of-the-tests") -> Settings:
    return Settings(mysql_url=SecretStr(schema), auth_key_encryption_secret=SecretStr(secret))


async def run(**variables: str) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        AUTH_SERVICE,
        "run",
        env={"PATH": os.environ["PATH"], **variables},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode, errors.decode()


async def test_replicas_that_start_at_once_agree_on_schema_and_key(empty_schema: str) -> None:
    shared = settings_for(empty_schema)
    await asyncio.gather(*(prepare(shared) for _ in range(4)))
    kids = set()
    for app in (create_app(shared), create_app(shared)):
        async with app.router.lifespan_context(app):
            kids |= {key["kid"] for key in app.state.key_ring.public_keys()}
    assert len(kids) == 1


async def test_key_made_by_another_replica_is_found(empty_schema: str) -> None:
    await prepare(settings_for(empty_schema))
    app = create_app(settings_for(empty_schema))
    async with app.router.lifespan_context(app):
        (known,) = app.state.key_ring.public_keys()
        assert await app.state.key_ring.key("unknown") is None
        found = await app.state.key_ring.key(known["kid"])
        assert found.to_dict()["x"] == known["x"]


async def test_private_keys_are_encrypted_and_another_secret_is_refused_with_one_sentence(empty_schema: str) -> None:
    await prepare(settings_for(empty_schema))
    with pytest.raises(WrongSecret):
        await prepare(settings_for(empty_schema, "another secret altogether"))
    code, errors = await run(MYSQL_URL=empty_schema, AUTH_KEY_ENCRYPTION_SECRET="another secret altogether")
    assert code == 1
    assert errors.startswith("error: AUTH_KEY_ENCRYPTION_SECRET is not the secret")
    assert "Traceback" not in errors


async def test_default_secret_refuses_to_start_in_production() -> None:
    code, errors = await run(MYSQL_URL="mysql://a:b@127.0.0.1:1/auth", ENVIRONMENT="production")
    assert code == 1
    assert "AUTH_KEY_ENCRYPTION_SECRET" in errors
    assert "Traceback" not in errors


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
    code, errors = await run(ENVIRONMENT="production", **variables)
    assert code == 1
    assert errors.startswith("error: the configuration is not valid: ")
    assert "MYSQL_URL" in errors


async def test_schema_of_a_later_release_is_refused_with_one_sentence(empty_schema: str) -> None:
    await prepare(settings_for(empty_schema))
    engine = create_engine(empty_schema)
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    await engine.dispose()
    code, errors = await run(MYSQL_URL=empty_schema)
    assert code == 1
    assert "9999" in errors
    assert "Traceback" not in errors


async def test_metadata_names_the_public_addresses(client: httpx.AsyncClient) -> None:
    metadata = (await client.get("/.well-known/openid-configuration")).json()
    assert metadata["issuer"] == "http://issuer.test/api/auth"
    assert metadata["jwks_uri"] == "http://issuer.test/api/auth/.well-known/jwks.json"
    assert metadata["token_endpoint"] == "http://issuer.test/api/auth/v1/token"


async def test_mysql_that_is_down_is_a_503_and_the_service_comes_back_by_itself(
    client: httpx.AsyncClient, app: FastAPI, stack: Stack
) -> None:
    login = {"login": "somebody", "password": "whatever it is"}
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
