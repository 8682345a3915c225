"""Traffic of every kind that the dashboard shows."""

import asyncio
import secrets

import httpx
from aiokafka import AIOKafkaProducer

from e2e.users import User, registration
from embedded_stack import Stack
from support.commands import run_command

ROUTE, TOPIC = "likes", "cdc.mongo.tweets.likes"
WRONG_CREDENTIALS = {"login": "nobody-of-this-name", "password": "a wrong one"}


async def make_traffic(stack: Stack) -> None:
    """Accounts, logins that succeed and fail, tweets, change events, a dead letter, an answer of 503."""
    async with registration(stack.addresses["GATEWAY_URL"]) as register:
        user = await register()
        await log_in_and_refresh(user)
        assert (await user.client.post("/api/auth/v1/login", json=WRONG_CREDENTIALS)).status_code == 401
        await user.tweet("hello #tandem")
        assert (await user.client.get("/api/tweets/v1/tweets")).status_code == 200
        await asyncio.to_thread(stack.pause, "mongo")
        try:
            await answers_503(stack)
        finally:
            await asyncio.to_thread(stack.resume, "mongo")
    await send_invalid_event(stack)
    async with httpx.AsyncClient(base_url=stack.addresses["REGISTRAR_URL"], timeout=60) as registrar:
        assert (await registrar.get("/v1/connectors")).status_code == 200


async def answers_503(stack: Stack) -> None:
    async with httpx.AsyncClient(base_url=stack.addresses["GATEWAY_URL"], timeout=60) as impatient:
        assert (await impatient.get("/api/tweets/v1/tweets")).status_code == 503


async def discard_dead_letters(stack: Stack) -> None:
    """Other tests of this process find none."""
    addresses = {**stack.addresses, "MYSQL_URL": stack.addresses["SYNC_MYSQL_URL"]}
    code, output, errors = await run_command(
        *("sync-service", "dead-letters", "discard", "--all", "--route", ROUTE), **addresses
    )
    assert code == 0, output + errors


async def log_in_and_refresh(user: User) -> None:
    login = {"login": user.username, "password": user.password}
    tokens = await user.client.post("/api/auth/v1/login", json=login)
    assert tokens.status_code == 200, tokens.text
    refreshing = {"refresh_token": tokens.json()["refresh_token"]}
    assert (await user.client.post("/api/auth/v1/refresh", json=refreshing)).status_code == 200


async def send_invalid_event(stack: Stack) -> None:
    """It becomes a dead letter."""
    poison = f"{{not json {secrets.token_hex(4)}".encode()
    async with AIOKafkaProducer(bootstrap_servers=stack.addresses["KAFKA_BOOTSTRAP_SERVERS"]) as producer:
        await producer.send_and_wait(TOPIC, poison, key=poison)
