"""The operator's token, which replaces accounts where there is no auth-service."""

import asyncio
import re
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from service_kit.roles import Scope
from service_kit.tokens import InvalidToken
from sync_service.main import create_app
from sync_service.operator_token import OperatorAuthenticator
from sync_service.settings import Settings

TOKEN = "operator-token.of-these_tests-0123456789"


def settings(**values: Any) -> Settings:
    return Settings(
        mysql_url="mysql://sync:pw@127.0.0.1:1/tandem",
        mongodb_url="mongodb://127.0.0.1:1/tandem",
        kafka_bootstrap_servers="127.0.0.1:1",
        **values,
    )


async def test_token_grants_exactly_the_scopes_of_the_sync() -> None:
    operator = OperatorAuthenticator(TOKEN)
    caller = await operator.authenticate(TOKEN)
    assert caller.scopes == {Scope.SYNC_READ, Scope.SYNC_WRITE}
    assert caller.username == "operator"
    # A stream stays open.
    await operator.require_not_revoked(caller)
    assert operator.seconds_left(caller) > 24 * 3600


@pytest.mark.parametrize("other", ["", TOKEN[:-1], f"{TOKEN}x", TOKEN.upper(), "\N{BULLET}", "\udc80"])
async def test_any_other_token_is_refused(other: str) -> None:
    with pytest.raises(InvalidToken):
        await OperatorAuthenticator(TOKEN).authenticate(other)


def test_token_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []
    monkeypatch.setattr("hmac.compare_digest", lambda *digests: compared.append(digests) or False)
    with pytest.raises(InvalidToken):
        asyncio.run(OperatorAuthenticator(TOKEN).authenticate("no"))
    ((given, right),) = compared
    # Digests, so that not even the length shows.
    assert len(given) == len(right)


def test_service_needs_either_keys_or_a_token() -> None:
    assert settings(sync_operator_token=TOKEN).auth_jwks_url is None
    assert settings(auth_jwks_url="http://127.0.0.1:1/").sync_operator_token is None
    # As docker-compose.yml passes a variable that is not in .env.
    assert settings(auth_jwks_url="http://127.0.0.1:1/", sync_operator_token="").sync_operator_token is None
    with pytest.raises(ValidationError, match="set AUTH_JWKS_URL, or SYNC_OPERATOR_TOKEN"):
        settings()
    with pytest.raises(ValidationError, match="set AUTH_JWKS_URL, or SYNC_OPERATOR_TOKEN"):
        settings(sync_operator_token="")
    with pytest.raises(ValidationError, match="both set"):
        settings(auth_jwks_url="http://127.0.0.1:1/", sync_operator_token=TOKEN)


@pytest.mark.parametrize("weak", ["short", "a" * 31, f"{TOKEN} ", f"{TOKEN}ü"])
def test_weak_token_is_refused_without_showing_it(weak: str) -> None:
    with pytest.raises(ValidationError, match="at least 32 letters") as refused:
        settings(sync_operator_token=weak)
    assert weak not in str(refused.value)


def test_public_token_is_refused_in_production() -> None:
    with pytest.raises(ValidationError, match="SYNC_OPERATOR_TOKEN has its default value"):
        settings(sync_operator_token=f"local-only-{TOKEN}", environment="production")


@pytest.mark.parametrize("header", [{}, {"Authorization": f"Bearer {TOKEN}x"}, {"Authorization": f"Basic {TOKEN}"}])
async def test_every_endpoint_needs_the_token(header: dict[str, str]) -> None:
    app = create_app(settings(sync_operator_token=TOKEN), [])
    app.state.authenticator = OperatorAuthenticator(TOKEN)
    calls = [
        (method, re.sub(r"{\w+}", "x", path))
        for path, methods in app.openapi()["paths"].items()
        if path.startswith("/v1/")
        for method in methods
    ]
    assert ("get", "/v1/status") in calls
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://sync", headers=header) as client:
        answers = {call: (await client.request(*call)).status_code for call in calls}
    assert answers == dict.fromkeys(calls, 401)
