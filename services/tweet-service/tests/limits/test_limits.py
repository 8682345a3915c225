"""Writes of a person and reads of an address are limited, over all replicas together."""

import asyncio
import secrets
from typing import Any

import httpx
import pytest

from service_kit.problems import TooManyRequests
from support.responses import problem
from tweet_service.limits.repository import LeaseRepository
from tweet_service.limits.service import LimitPolicy, RateLimiter
from tweet_service.main import create_app


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000_020.0

    def __call__(self) -> float:
        return self.now


async def attempts(limiter: RateLimiter, policy: LimitPolicy, subject: str, number: int) -> int:
    """How many of so many concurrent attempts get through."""

    async def one() -> bool:
        try:
            await limiter.take(policy, subject)
        except TooManyRequests:
            return False
        return True

    return sum(await asyncio.gather(*(one() for _ in range(number))))


@pytest.mark.parametrize("quota", [1, 7, 120, 1000])
async def test_quota_is_exact_in_one_process(app: Any, quota: int) -> None:
    limiter, policy = RateLimiter(LeaseRepository(app.state.database), Clock()), LimitPolicy("test", quota)
    subject = secrets.token_hex(8)
    assert await attempts(limiter, policy, subject, quota + 50) == quota
    assert await attempts(limiter, policy, secrets.token_hex(8), 1) == 1


async def test_replicas_together_let_no_more_through_than_the_quota(app: Any) -> None:
    policy, subject, clock = LimitPolicy("test", 200), secrets.token_hex(8), Clock()
    replicas = [RateLimiter(LeaseRepository(app.state.database), clock) for _ in range(4)]
    through = await asyncio.gather(*(attempts(replica, policy, subject, 100) for replica in replicas))
    # A lease is a fiftieth of the quota; what is left of one in each replica is what it may fall short by.
    assert 200 - 4 * policy.lease <= sum(through) <= 200


async def test_next_minute_is_another(app: Any) -> None:
    clock = Clock()
    limiter, policy = RateLimiter(LeaseRepository(app.state.database), clock), LimitPolicy("test", 3)
    subject = secrets.token_hex(8)
    assert await attempts(limiter, policy, subject, 5) == 3
    with pytest.raises(TooManyRequests) as refused:
        await limiter.take(policy, subject)
    wait = int(refused.value.headers["Retry-After"])
    clock.now += wait - 1
    assert await attempts(limiter, policy, subject, 1) == 0
    clock.now += 1
    assert await attempts(limiter, policy, subject, 5) == 3


async def test_limit_is_in_the_headers_and_exceeding_it_is_a_429(settings: Any, issuer: Any) -> None:
    strict = settings.model_copy(update={"tweet_writes_per_minute": 3, "tweet_reads_per_minute": 5})
    app = create_app(strict, Clock())
    address = f"198.51.100.{secrets.randbelow(250)}"
    now = int(Clock()())
    token = issuer.token(sub=f"u-{secrets.token_hex(6)}", iat=now, nbf=now, exp=now + 600)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, client=(address, 1))
        headers = {"Authorization": f"Bearer {token}"}
        async with httpx.AsyncClient(transport=transport, base_url="http://tweets.test", headers=headers) as client:
            writes = [await client.post("/v1/tweets", json={"text": "x"}) for _ in range(4)]
            paths = ["/v1/tweets", "/v1/timeline", f"/v1/reactions?tweet={'0' * 24}"]
            reads = [await client.get(path) for path in paths * 2]
    assert [answer.status_code for answer in writes] == [201] * 3 + [429]
    assert [answer.status_code for answer in reads] == [200] * 5 + [429]
    assert writes[0].headers["ratelimit-policy"] == '"writes";q=3;w=60'
    assert [answer.headers["ratelimit"] for answer in reads[:5]] == [
        f'"reads";r={left};t=60' for left in (4, 3, 2, 1, 0)
    ]
    assert problem(writes[3]) == (429, "too-many-requests")
    assert writes[3].headers["retry-after"] == "60"


async def test_ipv6_network_counts_as_one_address(settings: Any) -> None:
    app = create_app(settings.model_copy(update={"tweet_reads_per_minute": 3}), Clock())
    own = f"2001:db8:{secrets.randbelow(65536):x}:{secrets.randbelow(65536):x}"

    async def status(address: str) -> int:
        transport = httpx.ASGITransport(app, client=(address, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://tweets.test") as client:
            return (await client.get("/v1/tweets")).status_code

    async with app.router.lifespan_context(app):
        statuses = [await status(f"{own}::{number:x}") for number in range(4)]
        elsewhere = await status("2001:db8:1:2:3::1")
    assert statuses == [200] * 3 + [429]
    assert elsewhere == 200
