"""Only valid, unrevoked tokens of the issuer may write."""

import asyncio
import hmac
import json
import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import httpx
import pytest
from pymongo.database import Database

from embedded_stack import Stack
from service_kit.authentication import REVOCATION_SECONDS
from support.jwt_issuer import Issuer, SigningKey, segment, serving_issuer
from support.responses import problem
from tweet_service.main import create_app
from tweet_service.settings import Settings

Documents = Database[dict[str, Any]]


def unsigned(issuer: Issuer) -> str:
    return f"{segment({'alg': 'none', 'typ': 'at+jwt', 'kid': issuer.keys[-1].kid})}.{segment(issuer.claims())}."


def signed_with_the_public_key(issuer: Issuer) -> str:
    """CVE-2024-33663: the public key taken for an HMAC secret."""
    key = issuer.keys[-1]
    signing_input = f"{segment({'alg': 'HS256', 'typ': 'at+jwt', 'kid': key.kid})}.{segment(issuer.claims())}"
    secret = json.dumps(key.public_jwk).encode()
    return f"{signing_input}.{segment(hmac.digest(secret, signing_input.encode(), sha256))}"


def with_other_claims(issuer: Issuer) -> str:
    header, _, signature = issuer.token().split(".")
    return f"{header}.{segment(issuer.claims(role='admin'))}.{signature}"


ATTACKS: dict[str, Callable[[Issuer], str]] = {
    "alg none": unsigned,
    "HMAC with the public key": signed_with_the_public_key,
    "other claims": with_other_claims,
    "key of a stranger": lambda issuer: issuer.token(key=SigningKey()),
    "key of a stranger under a known kid": lambda issuer: issuer.token(
        key=SigningKey(), headers={"kid": issuer.keys[-1].kid}
    ),
    "key in the header": lambda issuer: issuer.token(headers={"jwk": SigningKey().public_jwk}),
    "key behind an address": lambda issuer: issuer.token(headers={"jku": "http://127.0.0.1/keys"}),
    "no kid": lambda issuer: issuer.token(headers={"kid": None}),
    "other type": lambda issuer: issuer.token(headers={"typ": "JWT"}),
    "expired": lambda issuer: issuer.token(exp=int(time.time()) - 1),
    "not valid yet": lambda issuer: issuer.token(nbf=int(time.time()) + 60),
    "other issuer": lambda issuer: issuer.token(iss="http://evil.test"),
    "other audience": lambda issuer: issuer.token(aud="another-audience"),
    "valid for more than an hour": lambda issuer: issuer.token(exp=int(time.time()) + 3602),
    "no expiry": lambda issuer: issuer.token(exp=None),
    "no subject": lambda issuer: issuer.token(sub=None),
    "no audience": lambda issuer: issuer.token(aud=None),
    "not a token": lambda _: "x",
    "empty parts": lambda _: "..",
}


@pytest.mark.parametrize("attack", ATTACKS)
async def test_forged_token_is_refused(anonymous: httpx.AsyncClient, issuer: Issuer, attack: str) -> None:
    headers = {"Authorization": f"Bearer {ATTACKS[attack](issuer)}"}
    answer = await anonymous.post("/v1/tweets", json={"text": "x"}, headers=headers)
    assert answer.status_code == 401, answer.text
    assert answer.json()["code"] == "invalid-token"
    assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'


async def test_valid_token_is_accepted_where_the_forged_ones_are_not(
    anonymous: httpx.AsyncClient, issuer: Issuer
) -> None:
    headers = {"Authorization": f"Bearer {issuer.token()}"}
    assert (await anonymous.post("/v1/tweets", json={"text": "x"}, headers=headers)).status_code == 201


async def test_writing_without_a_token_is_refused(anonymous: httpx.AsyncClient) -> None:
    for headers in ({}, {"Authorization": "Basic YTpi"}):
        answer = await anonymous.post("/v1/tweets", json={"text": "x"}, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (401, "not-authenticated")
        assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    ("role", "scope", "status"),
    [
        ("customer", "tweets:write profile:write", 201),
        ("admin", "sync:read", 403),
        ("customer", "profile:write", 403),
        ("customer", "", 403),
        # The claims of the last release.
        ("customer", "tweets:write", 201),
        ("technical_worker", "tweets:write sync:read", 201),
    ],
)
async def test_writing_needs_the_scope(
    ada: httpx.AsyncClient, issuer: Issuer, role: str, scope: str, status: int
) -> None:
    headers = {"Authorization": f"Bearer {issuer.token(role=role, scope=scope)}"}
    answer = await ada.post("/v1/tweets", json={"text": "x"}, headers=headers)
    assert answer.status_code == status
    if status == 403:
        assert problem(answer) == (403, "forbidden")
        assert answer.headers["www-authenticate"] == 'Bearer error="insufficient_scope", scope="tweets:write"'
    # Reading the own timeline needs a token with any scope.
    assert (await ada.get("/v1/timeline", headers=headers)).status_code == 200


async def test_revocation_arrives_with_the_copy(
    ada: httpx.AsyncClient, issuer: Issuer, documents: Documents, clock: Any
) -> None:
    user_id = f"u-{secrets.token_hex(6)}"
    issued_at = datetime.now(UTC).replace(microsecond=0)
    headers = {"Authorization": f"Bearer {issuer.token(sub=user_id, iat=int(issued_at.timestamp()))}"}

    async def status() -> tuple[int, str | None]:
        clock.forward(REVOCATION_SECONDS)
        answer = await ada.post("/v1/tweets", json={"text": "x"}, headers=headers)
        return answer.status_code, answer.json().get("code")

    user = {"_id": user_id, "username": "x", "name": "X", "is_active": True, "tokens_valid_after": None}
    user["_sync"] = {"operation": "c", "deleted_at": None}
    documents["users_copy"].insert_one(user)
    assert await status() == (201, None)
    documents["users_copy"].update_one({"_id": user_id}, {"$set": {"tokens_valid_after": issued_at}})
    assert await status() == (201, None)
    later = issued_at + timedelta(seconds=1)
    documents["users_copy"].update_one({"_id": user_id}, {"$set": {"tokens_valid_after": later}})
    assert await status() == (401, "token-revoked")
    deactivated = {"tokens_valid_after": None, "is_active": False}
    documents["users_copy"].update_one({"_id": user_id}, {"$set": deactivated})
    assert await status() == (401, "token-revoked")


@pytest.mark.parametrize("copied", [True, False], ids=["copied before", "deleted before the copy arrived"])
async def test_token_of_a_deleted_user_is_refused_as_soon_as_the_delete_arrives(
    ada: httpx.AsyncClient,
    issuer: Issuer,
    documents: Documents,
    leave_tombstone: Callable[[str], None],
    clock: Any,
    *,
    copied: bool,
) -> None:
    user_id = f"u-{secrets.token_hex(6)}"
    headers = {"Authorization": f"Bearer {issuer.token(sub=user_id)}"}
    if copied:
        live = {"operation": "c", "deleted_at": None}
        documents["users_copy"].insert_one(
            {"_id": user_id, "username": "x", "name": "X", "is_active": True, "_sync": live}
        )
    posted = await ada.post("/v1/tweets", json={"text": "x"}, headers=headers)
    url = posted.headers["location"]
    assert (await ada.get(url, headers=headers)).status_code == 200

    leave_tombstone(user_id)
    clock.forward(REVOCATION_SECONDS)
    edit = {"json": {"text": "y"}, "headers": {**headers, "If-Match": '"1"'}}
    for answer in (
        await ada.post("/v1/tweets", json={"text": "x"}, headers=headers),
        await ada.patch(url, **edit),
        await ada.delete(url, headers=headers),
        await ada.get(url, headers=headers),
        await ada.get("/v1/tweets", headers=headers),
    ):
        assert (answer.status_code, answer.json()["code"]) == (401, "token-revoked"), answer.request
        assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'
    assert (await ada.get(url)).json()["text"] == "x"


async def test_service_uses_cached_keys_while_the_issuer_is_down(settings: Settings, documents: Documents) -> None:
    with serving_issuer() as issuer:
        app = create_app(settings.model_copy(update={"auth_jwks_url": issuer.url}))
        transport = httpx.ASGITransport(app)
        lifespan = app.router.lifespan_context(app)
        await lifespan.__aenter__()
    async with httpx.AsyncClient(transport=transport, base_url="http://tweets.test") as client:
        headers = {"Authorization": f"Bearer {issuer.token()}"}
        assert (await client.post("/v1/tweets", json={"text": "x"}, headers=headers)).status_code == 201
        unknown = {"Authorization": f"Bearer {issuer.token(key=SigningKey())}"}
        assert (await client.post("/v1/tweets", json={"text": "x"}, headers=unknown)).status_code == 401
    await lifespan.__aexit__(None, None, None)


async def test_without_any_keys_reading_works_and_writing_is_503(
    settings: Settings, issuer: Issuer, documents: Documents
) -> None:
    app = create_app(settings.model_copy(update={"auth_jwks_url": "http://127.0.0.1:1/jwks.json"}))
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://tweets.test") as client:
            headers = {"Authorization": f"Bearer {issuer.token()}"}
            assert (await client.get("/v1/tweets", headers=headers)).status_code == 200
            answer = await client.post("/v1/tweets", json={"text": "x"}, headers=headers)
            assert answer.status_code == 503
            assert "retry-after" in answer.headers


async def test_mongodb_that_is_down_is_a_503_and_the_service_comes_back_by_itself(
    ada: httpx.AsyncClient, stack: Stack
) -> None:
    assert (await ada.get("/readyz")).status_code == 200
    stack.kill("mongo")
    answer, readiness = await asyncio.gather(ada.get("/v1/tweets"), ada.get("/readyz"))
    assert (answer.status_code, answer.json()["code"]) == (503, "service-unavailable")
    assert readiness.status_code == 503
    assert readiness.json()["checks"]["mongodb"] != "ok"
    assert (await ada.get("/healthz")).status_code == 200
    await asyncio.to_thread(stack.start, "mongo")
    assert (await ada.get("/v1/tweets")).status_code == 200
