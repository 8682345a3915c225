"""A request that is sent again does its work once."""

import asyncio
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from motor.motor_asyncio import AsyncIOMotorClientSession
from pymongo.errors import OperationFailure

from support.responses import problem


async def post(client: httpx.AsyncClient, key: str, text: str = "once", **more: Any) -> httpx.Response:
    return await client.post("/v1/tweets", json={"text": text, **more}, headers={"Idempotency-Key": key})


async def test_same_key_and_body_answer_the_same_tweet(make_client: Any, documents: Any) -> None:
    ada, key = make_client(), secrets.token_hex(8)
    answers = [await post(ada, key) for _ in range(3)]
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert answers[0].headers["location"] == answers[2].headers["location"]
    assert documents["tweets"].count_documents({"author_id": ada.user_id}) == 1


async def test_concurrent_duplicates_create_one(make_client: Any, documents: Any) -> None:
    ada, parent = make_client(), (await post(make_client(), secrets.token_hex(8))).json()
    key = secrets.token_hex(8)
    answers = await asyncio.gather(*(post(ada, key, reply_to=parent["id"]) for _ in range(20)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert documents["tweets"].count_documents({"author_id": ada.user_id}) == 1
    assert (await ada.get(f"/v1/tweets/{parent['id']}")).json()["counts"]["replies"] == 1


async def test_conflict_at_the_commit_is_no_error(
    make_client: Any, documents: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a busy MongoDB has it: the transaction is undone, and the error has no label for the driver."""
    commit, conflicts = AsyncIOMotorClientSession.commit_transaction, [1, 1]

    async def commit_later(session: Any) -> None:
        if conflicts:
            conflicts.pop()
            await session.abort_transaction()
            raise OperationFailure("Caused by :: WriteConflict", 112)
        await commit(session)

    monkeypatch.setattr(AsyncIOMotorClientSession, "commit_transaction", commit_later)
    ada = make_client()
    assert (await post(ada, secrets.token_hex(8))).status_code == 201
    assert conflicts == []
    assert documents["tweets"].count_documents({"author_id": ada.user_id}) == 1


async def test_other_body_under_the_same_key_is_refused(make_client: Any) -> None:
    ada, key = make_client(), secrets.token_hex(8)
    await post(ada, key)
    assert problem(await post(ada, key, "something else")) == (409, "idempotency-key-reused")


async def test_keys_of_two_people_are_two(make_client: Any) -> None:
    key = secrets.token_hex(8)
    ids = {(await post(make_client(), key)).json()["id"] for _ in range(2)}
    assert len(ids) == 2


async def test_key_is_forgotten_after_a_day(make_client: Any, documents: Any) -> None:
    ada, key = make_client(), secrets.token_hex(8)
    first = (await post(ada, key)).json()["id"]
    yesterday = datetime.now(UTC) - timedelta(hours=24, seconds=1)
    stored = documents["idempotency_keys"].find_one({"tweet_id": {"$exists": True}}, sort=[("created_at", -1)])
    documents["idempotency_keys"].update_one({"_id": stored["_id"]}, {"$set": {"created_at": yesterday}})
    second = await post(ada, key, "another day")
    assert second.status_code == 201
    assert second.json()["id"] != first
    indexes = documents["idempotency_keys"].index_information()
    assert indexes["lifetime"]["expireAfterSeconds"] == 24 * 3600


async def test_refused_request_leaves_its_key_free(make_client: Any) -> None:
    ada, key = make_client(), secrets.token_hex(8)
    nowhere = "0" * 24
    assert problem(await post(ada, key, reply_to=nowhere)) == (422, "referenced-tweet-not-found")
    assert (await post(ada, key)).status_code == 201


@pytest.mark.parametrize("key", ["", "x" * 201])
async def test_key_must_be_of_some_length(make_client: Any, key: str) -> None:
    assert problem(await post(make_client(), key)) == (422, "validation-failed")
