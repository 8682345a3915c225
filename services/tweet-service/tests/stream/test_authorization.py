"""A stream ends when its token is revoked."""

import asyncio
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from fastapi import FastAPI

from service_kit.sse import response
from support.jwt_issuer import Issuer
from support.polling import eventually
from support.tweet_stream import Author, Documents
from tweet_service.stream.hub import TweetHub


async def test_revoked_token_ends_the_stream(
    app: FastAPI,
    anonymous: httpx.AsyncClient,
    issuer: Issuer,
    documents: Documents,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(response, "REAUTHORIZE_SECONDS", 0.0)
    author = Author(anonymous, issuer, documents)
    subscriber = Author(anonymous, issuer, documents)
    bearer = {"Authorization": f"Bearer {issuer.token(sub=subscriber.id, username=subscriber.username)}"}
    streaming = asyncio.create_task(anonymous.get("/v1/stream", headers=bearer, params={"author": author.username}))

    hub: TweetHub = app.state.stream

    async def waits_after(events: int) -> bool:
        waiters = [each._waiter for each in hub._subscriptions]
        return hub.buffer.end >= events and any(waiter is not None and not waiter.done() for waiter in waiters)

    await eventually(lambda: waits_after(0))
    published = hub.buffer.end
    (sent,) = author.store(1)
    await eventually(lambda: waits_after(published + 1))
    revoked = {"tokens_valid_after": datetime.now(UTC) + timedelta(minutes=1)}
    documents["users_copy"].update_one({"_id": subscriber.id}, {"$set": revoked})
    (withheld,) = author.store(1)
    answer = await asyncio.wait_for(streaming, 30)
    assert "token-revoked" in answer.text
    assert sent in answer.text
    assert withheld not in answer.text
