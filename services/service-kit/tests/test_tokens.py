"""The key set of an issuer: how often it is fetched, and what happens while the issuer is down."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from service_kit.problems import ServiceUnavailable
from service_kit.tokens import MAX_TOKEN_SECONDS, RemoteKeySet
from support.jwt_issuer import Issuer, SigningKey, serving_issuer


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with serving_issuer() as issuer:
        yield issuer


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(timeout=2) as client:
        yield client


async def test_keys_are_fetched_once_and_kept(issuer: Issuer, http: httpx.AsyncClient) -> None:
    keys = RemoteKeySet(issuer.url, http, clock=Clock())
    kid, expected = issuer.keys[0].kid, issuer.keys[0].public_jwk["x"]
    found = await asyncio.gather(*(keys.key(kid) for _ in range(10)))
    assert all(key is not None and key.to_dict()["x"] == expected for key in found)
    assert issuer.asked == 1


async def test_new_key_is_fetched_and_forged_ids_cause_no_load(issuer: Issuer, http: httpx.AsyncClient) -> None:
    clock = Clock()
    keys = RemoteKeySet(issuer.url, http, cooldown=5, clock=clock)
    await keys.key(issuer.keys[0].kid)
    clock.now += 6
    issuer.keys.append(SigningKey())
    assert await keys.key(issuer.keys[1].kid) is not None
    assert issuer.asked == 2
    for number in range(100):
        assert await keys.key(f"made up {number}") is None
    assert issuer.asked == 2


async def test_withdrawn_key_is_dropped_after_the_maximum_age(issuer: Issuer, http: httpx.AsyncClient) -> None:
    clock = Clock()
    keys = RemoteKeySet(issuer.url, http, max_age=300, clock=clock)
    withdrawn = issuer.keys[0].kid
    assert await keys.key(withdrawn) is not None
    issuer.keys = [SigningKey()]
    assert await keys.key(withdrawn) is not None
    clock.now += 301
    assert await keys.key(withdrawn) is None


async def test_known_keys_stay_in_use_while_the_issuer_is_down(http: httpx.AsyncClient) -> None:
    clock = Clock()
    with serving_issuer() as issuer:
        keys = RemoteKeySet(issuer.url, http, max_age=300, clock=clock)
        await keys.key(issuer.keys[0].kid)
    clock.now += 1000
    assert await keys.key(issuer.keys[0].kid) is not None
    assert await keys.key("unknown") is None


async def test_known_keys_are_not_used_for_longer_than_a_token_lives(http: httpx.AsyncClient) -> None:
    clock = Clock()
    with serving_issuer() as issuer:
        keys = RemoteKeySet(issuer.url, http, clock=clock)
        await keys.key(issuer.keys[0].kid)
    clock.now += MAX_TOKEN_SECONDS
    assert await keys.key(issuer.keys[0].kid) is not None
    clock.now += 1
    with pytest.raises(ServiceUnavailable):
        await keys.key(issuer.keys[0].kid)


async def test_issuer_that_hangs_delays_one_request_an_attempt(http: httpx.AsyncClient) -> None:
    clock, connections = Clock(), asyncio.Queue[asyncio.StreamWriter]()

    async def accept(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await connections.put(writer)

    key = SigningKey()
    key_set = json.dumps({"keys": [key.public_jwk]}).encode()
    async with await asyncio.start_server(accept, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        keys = RemoteKeySet(f"http://{host}:{port}/", http, max_age=300, clock=clock)
        waiting = asyncio.create_task(keys.key(key.kid))
        answering = await connections.get()
        answering.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + key_set)
        answering.close()
        assert await waiting is not None

        clock.now += 301
        waiting = asyncio.create_task(keys.key(key.kid))
        (await connections.get()).close()
        assert await waiting is not None

        clock.now += 6
        waiting = asyncio.create_task(keys.key(key.kid))
        hanging = await connections.get()
        assert await keys.key(key.kid) is not None
        assert not waiting.done()
        hanging.close()
        assert await waiting is not None


async def test_without_keys_the_service_is_unavailable(http: httpx.AsyncClient) -> None:
    with pytest.raises(ServiceUnavailable):
        await RemoteKeySet("http://127.0.0.1:1/", http, clock=Clock()).key("any")
