"""A stream ends with its token, whether there are events or not."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from support.jwt_issuer import Issuer, SigningKey
from support.polling import eventually
from support.tweet_stream import Author, Documents
from tweet_service.stream.hub import TweetHub

DEADLINE_SECONDS = 120


@pytest.fixture
async def open_stream(
    app: FastAPI, anonymous: httpx.AsyncClient, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Any]:
    """Opens a stream that is silent: it has the tweets of a user without tweets, and no heartbeat."""
    limits = replace(app.state.stream.limits, heartbeat_seconds=10 * DEADLINE_SECONDS)
    monkeypatch.setattr(app.state.stream, "limits", limits)

    async def open_stream(user: Author, **claims: Any) -> "asyncio.Task[httpx.Response]":
        hub: TweetHub = app.state.stream
        before = len(hub._subscriptions)
        bearer = {"Authorization": f"Bearer {issuer.token(sub=user.id, username=user.username, **claims)}"}
        request = anonymous.get("/v1/stream", headers=bearer, params={"author": user.username})
        streaming = asyncio.create_task(request)

        async def is_open_or_ended() -> bool:
            return len(hub._subscriptions) > before or streaming.done()

        await eventually(is_open_or_ended)
        return streaming

    return open_stream


@pytest.fixture
def subscriber(anonymous: httpx.AsyncClient, issuer: Issuer, documents: Documents) -> Author:
    return Author(anonymous, issuer, documents)


@pytest.mark.parametrize("change", ["revoked", "deactivated", "deleted"])
async def test_revoked_token_ends_the_stream(
    subscriber: Author,
    documents: Documents,
    leave_tombstone: Callable[[str], None],
    open_stream: Callable[..., Any],
    change: str,
) -> None:
    streaming = await open_stream(subscriber)
    if change == "deleted":
        leave_tombstone(subscriber.id)
    else:
        later = datetime.now(UTC) + timedelta(minutes=1)
        fields = {"revoked": {"tokens_valid_after": later}, "deactivated": {"is_active": False}}[change]
        documents["users_copy"].update_one({"_id": subscriber.id}, {"$set": fields})
    answer = await asyncio.wait_for(streaming, DEADLINE_SECONDS)
    assert "token-revoked" in answer.text


async def test_expired_token_ends_the_stream(subscriber: Author, open_stream: Callable[..., Any]) -> None:
    # On a busy machine a token may expire before the stream is open, which is a 401.
    for seconds in (2, 4, 8, 16, 32):
        streaming = await open_stream(subscriber, exp=int(time.time()) + seconds)
        answer = await asyncio.wait_for(streaming, DEADLINE_SECONDS)
        if answer.status_code == 200:
            break
    assert "token-expired" in answer.text


async def test_withdrawn_key_ends_the_stream(
    *,
    app: FastAPI,
    anonymous: httpx.AsyncClient,
    issuer: Issuer,
    subscriber: Author,
    open_stream: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    keys = app.state.authenticator._tokens._keys
    # In place of waiting until the key set is fetched again.
    monkeypatch.setattr(keys, "_max_age", 0.1)
    monkeypatch.setattr(keys, "_cooldown", 0.0)
    streaming = await open_stream(subscriber)
    with monkeypatch.context() as withdrawn:
        withdrawn.setattr(issuer, "keys", [SigningKey()])
        answer = await asyncio.wait_for(streaming, DEADLINE_SECONDS)
    assert "invalid-token" in answer.text
    # Other tests share the service: it fetches the former keys again before the cooldown is back.
    bearer = {"Authorization": f"Bearer {issuer.token()}"}
    assert (await anonymous.get("/v1/tweets", headers=bearer)).status_code == 200
