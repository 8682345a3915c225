"""Tokens that were seen before: they are refused as soon as their key is withdrawn, in requests and in streams."""

from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from service_kit.authentication import Account, Authenticator
from service_kit.tokens import MAX_TOKEN_SECONDS, InvalidToken, RemoteKeySet, TokenVerifier
from support.jwt_issuer import AUDIENCE, ISSUER, Issuer, SigningKey, serving_issuer

FIVE_MINUTES = 300


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1_790_000_000.0

    def __call__(self) -> float:
        return self.now


class NoCopies:
    """No account has arrived, so that none revokes a token."""

    async def get_by_id(self, user_id: str) -> Account | None:  # noqa: ARG002 - the port's signature
        return None


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with serving_issuer() as issuer:
        yield issuer


@pytest.fixture
async def authenticator(issuer: Issuer, clock: Clock) -> AsyncIterator[Authenticator]:
    async with httpx.AsyncClient(timeout=2) as http:
        keys = RemoteKeySet(issuer.url, http, clock=clock)
        verifier = TokenVerifier(keys, issuer=ISSUER, audience=AUDIENCE, clock=clock)
        yield Authenticator(verifier, NoCopies(), clock=clock)


def token_of(issuer: Issuer, clock: Clock, *, lifetime: int = 600) -> str:
    now = int(clock())
    return issuer.token(iat=now, nbf=now, exp=now + lifetime)


async def test_token_of_a_withdrawn_key_is_refused_although_it_was_seen_before(
    authenticator: Authenticator, issuer: Issuer, clock: Clock
) -> None:
    stolen = token_of(issuer, clock)
    open_stream = await authenticator.authenticate(stolen)
    issuer.keys = [SigningKey()]
    clock.now += FIVE_MINUTES
    # No request has a token of another key: the key set is fetched because of its age.
    with pytest.raises(InvalidToken):
        await authenticator.authenticate(stolen)
    with pytest.raises(InvalidToken):
        await authenticator.require_not_revoked(open_stream)
    assert (await authenticator.authenticate(token_of(issuer, clock))).kid == issuer.keys[0].kid


async def test_token_of_a_withdrawn_key_is_refused_as_soon_as_the_new_key_is_seen(
    authenticator: Authenticator, issuer: Issuer, clock: Clock
) -> None:
    stolen = token_of(issuer, clock)
    await authenticator.authenticate(stolen)
    issuer.keys = [SigningKey()]
    clock.now += 6
    await authenticator.authenticate(token_of(issuer, clock))
    with pytest.raises(InvalidToken):
        await authenticator.authenticate(stolen)


async def test_token_that_lives_for_more_than_an_hour_is_refused(
    authenticator: Authenticator, issuer: Issuer, clock: Clock
) -> None:
    assert await authenticator.authenticate(token_of(issuer, clock, lifetime=MAX_TOKEN_SECONDS))
    with pytest.raises(InvalidToken):
        await authenticator.authenticate(token_of(issuer, clock, lifetime=MAX_TOKEN_SECONDS + 1))
