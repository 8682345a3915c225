"""Several replicas at once, a wrong secret, a database that is not there."""

import asyncio
import os
import sys
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from auth_service.keys.encryption import WrongSecret
from auth_service.main import create_app, prepare
from auth_service.settings import Settings
from embedded_stack import Stack

AUTH_SERVICE = str(Path(sys.executable).with_name("auth-service"))


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
    settings = Settings(mysql_url=empty_schema)
    await asyncio.gather(*(prepare(settings) for _ in range(4)))
    kids = set()
    for app in (create_app(settings), create_app(settings)):
        async with app.router.lifespan_context(app):
            kids |= {key["kid"] for key in app.state.key_ring.public_keys()}
    assert len(kids) == 1


async def test_key_made_by_another_replica_is_found(empty_schema: str) -> None:
    settings = Settings(mysql_url=empty_schema)
    await prepare(settings)
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        (known,) = app.state.key_ring.public_keys()
        assert await app.state.key_ring.key("unknown") is None
        assert await app.state.key_ring.key(known["kid"]) == known


async def test_private_keys_are_encrypted_and_another_secret_is_refused_with_one_sentence(empty_schema: str) -> None:
    settings = Settings(mysql_url=empty_schema)
    await prepare(settings)
    other = settings.model_copy(update={"auth_key_encryption_secret": SecretStr("another secret altogether")})
    with pytest.raises(WrongSecret):
        await prepare(other)
    code, errors = await run(MYSQL_URL=empty_schema, AUTH_KEY_ENCRYPTION_SECRET="another secret altogether")
    assert code == 1
    assert errors.startswith("error: AUTH_KEY_ENCRYPTION_SECRET is not the secret")
    assert "Traceback" not in errors


async def test_default_secret_refuses_to_start_in_production() -> None:
    code, errors = await run(MYSQL_URL="mysql://a:b@127.0.0.1:1/auth", ENVIRONMENT="production")
    assert code == 1
    assert "AUTH_KEY_ENCRYPTION_SECRET" in errors
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
