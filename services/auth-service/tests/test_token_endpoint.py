"""OAuth2's token endpoint and the issuer's metadata (RFC 6749, RFC 8414)."""

from typing import Any

import httpx
import pytest
from jose import jwt

from support.auth_app import AdjustableClock, Form, RegisteredUser
from support.responses import problem


@pytest.fixture
def password_grant(form: Form, registered: RegisteredUser) -> dict[str, str]:
    return {"grant_type": "password", "username": form["username"], "password": form["password"]}


def refusal(answer: httpx.Response) -> tuple[int, str, str]:
    """Status, code of the problem, and OAuth2's error."""
    document = answer.json()
    assert document["status"] == answer.status_code
    assert document["error_description"] == document["title"]
    # RFC 6749 §5.2
    assert set('"\\').isdisjoint(document["error_description"])
    assert answer.headers["cache-control"] == "no-store"
    assert "www-authenticate" not in answer.headers
    return *problem(answer), document["error"]


async def test_password_form_is_understood(client: httpx.AsyncClient, password_grant: dict[str, str]) -> None:
    answer = await client.post("/v1/token", data=password_grant)
    assert answer.status_code == 200
    assert answer.json()["token_type"] == "bearer"
    assert answer.headers["cache-control"] == "no-store"
    # RFC 6749 §5.1: required, because the role determines the scopes, not the request.
    narrower = (await client.post("/v1/token", data={**password_grant, "scope": "tweets:write"})).json()
    assert narrower["scope"] == jwt.get_unverified_claims(narrower["access_token"])["scope"]
    assert narrower["scope"].split() == ["tweets:write", "profile:write"]


async def test_refresh_token_is_exchanged_once(client: httpx.AsyncClient, password_grant: dict[str, str]) -> None:
    async def renew(token: str) -> httpx.Response:
        return await client.post("/v1/token", data={"grant_type": "refresh_token", "refresh_token": token})

    first = (await client.post("/v1/token", data=password_grant)).json()["refresh_token"]
    second = (await renew(first)).raise_for_status().json()["refresh_token"]
    third = (await renew(second)).raise_for_status().json()
    assert third.keys() == {"access_token", "refresh_token", "token_type", "expires_in", "scope"}
    assert refusal(await renew(first)) == (400, "refresh-token-reused", "invalid_grant")
    assert refusal(await renew(third["refresh_token"])) == (400, "invalid-refresh-token", "invalid_grant")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"password": "wrong"}, (400, "invalid-credentials", "invalid_grant")),
        ({"password": "x" * 500}, (400, "invalid-credentials", "invalid_grant")),
        ({"username": "no_such_account"}, (400, "invalid-credentials", "invalid_grant")),
        ({"grant_type": "refresh_token", "refresh_token": "x" * 43}, (400, "invalid-refresh-token", "invalid_grant")),
        ({"grant_type": "refresh_token", "refresh_token": "x" * 999}, (400, "invalid-refresh-token", "invalid_grant")),
        ({"grant_type": "refresh_token"}, (400, "validation-failed", "invalid_request")),
        ({"username": ""}, (400, "validation-failed", "invalid_request")),
        ({"password": "\x00"}, (400, "validation-failed", "invalid_request")),
        ({"grant_type": "client_credentials"}, (400, "unsupported-grant-type", "unsupported_grant_type")),
    ],
)
async def test_error_is_one_of_oauth2(
    client: httpx.AsyncClient, password_grant: dict[str, str], changes: dict[str, str], expected: tuple[int, str, str]
) -> None:
    assert refusal(await client.post("/v1/token", data={**password_grant, **changes})) == expected


async def test_missing_fields_are_named(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/token", data={"grant_type": "password"})
    assert [error["pointer"] for error in answer.json()["errors"]] == ["#/username", "#/password"]


async def test_delay_after_failed_logins_is_an_error_of_oauth2(
    client: httpx.AsyncClient, password_grant: dict[str, str], clock: AdjustableClock
) -> None:
    """A library would take a document without `error` for a token."""
    clock.freeze()
    wrong = {**password_grant, "password": "wrong"}
    answers = [await client.post("/v1/token", data=wrong) for _ in range(11)]
    assert refusal(answers[-1]) == (429, "too-many-requests", "temporarily_unavailable")
    assert int(answers[-1].headers["retry-after"]) >= 1


@pytest.mark.parametrize("name", ["oauth-authorization-server", "openid-configuration"])
async def test_metadata_is_true(client: httpx.AsyncClient, registered: RegisteredUser, name: str) -> None:
    metadata: dict[str, Any] = (await client.get(f"/.well-known/{name}")).raise_for_status().json()
    issuer = "http://issuer.test/api/auth"
    assert metadata["issuer"] == issuer
    assert metadata["jwks_uri"] == f"{issuer}/.well-known/jwks.json"
    assert metadata["token_endpoint"] == f"{issuer}/v1/token"
    assert set(registered["scope"].split()) < set(metadata["scopes_supported"])
    for grant_type in metadata["grant_types_supported"]:
        answer = await client.post("/v1/token", data={"grant_type": grant_type})
        assert refusal(answer) == (400, "validation-failed", "invalid_request")
    # No such endpoints, tokens or clients.
    assert metadata["response_types_supported"] == []
    assert metadata["token_endpoint_auth_methods_supported"] == ["none"]
    assert not {"authorization_endpoint", "id_token_signing_alg_values_supported"} & metadata.keys()
    assert (await client.get("/.well-known/webfinger")).status_code == 404
