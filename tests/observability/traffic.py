"""Something of everything that the dashboard shows."""

import asyncio
import secrets

import httpx
from aiokafka import AIOKafkaProducer

from e2e.people import Person, register
from embedded_stack import Stack
from support.commands import run_command

ROUTE, TOPIC = "likes", "cdc.mongo.tweets.likes"
WRONG = {"login": "nobody-of-this-name", "password": "a wrong one"}


async def make_traffic(stack: Stack) -> None:
    """Accounts, logins that succeed and fail, tweets, change events, a dead letter, an answer of 503."""
    person = await register(stack.addresses["GATEWAY_URL"])
    try:
        await log_in_and_refresh(person)
        assert (await person.client.post("/api/auth/v1/login", json=WRONG)).status_code == 401
        await person.tweet("hello #tandem")
        assert (await person.client.get("/api/tweets/v1/tweets")).status_code == 200
        await asyncio.to_thread(stack.pause, "mongo")
        try:
            assert (await person.client.get("/api/tweets/v1/tweets")).status_code == 503
        finally:
            await asyncio.to_thread(stack.resume, "mongo")
    finally:
        await person.client.aclose()
    await send_what_is_no_event(stack)
    async with httpx.AsyncClient(base_url=stack.addresses["REGISTRAR_URL"], timeout=20) as registrar:
        assert (await registrar.get("/v1/connectors")).status_code == 200


async def clear_up(stack: Stack) -> None:
    """Other tests of this process find no dead letters of ours."""
    addresses = {**stack.addresses, "MYSQL_URL": stack.addresses["SYNC_MYSQL_URL"]}
    code, output, errors = await run_command(
        *("sync-service", "dead-letters", "discard", "--all", "--route", ROUTE), within=60, **addresses
    )
    assert code == 0, output + errors


async def log_in_and_refresh(person: Person) -> None:
    login = {"login": person.username, "password": person.password}
    tokens = await person.client.post("/api/auth/v1/login", json=login)
    assert tokens.status_code == 200, tokens.text
    refreshing = {"refresh_token": tokens.json()["refresh_token"]}
    assert (await person.client.post("/api/auth/v1/refresh", json=refreshing)).status_code == 200


async def send_what_is_no_event(stack: Stack) -> None:
    """It becomes a dead letter."""
    poison = f"{{not json {secrets.token_hex(4)}".encode()
    async with AIOKafkaProducer(bootstrap_servers=stack.addresses["KAFKA_BOOTSTRAP_SERVERS"]) as producer:
        await producer.send_and_wait(TOPIC, poison, key=poison)
