"""sync-service moves the copy of the users to another database while this service reads it."""

import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from service_kit.moved_copy import STATES
from support.jwt_issuer import Issuer
from support.tweet_app import OwnDatabase, own_database
from tweet_service.main import create_app
from tweet_service.settings import Settings

COPY = "users_copy"


@pytest.fixture
def old(mongodb_url: str) -> Iterator[OwnDatabase]:
    with own_database(mongodb_url) as old:
        yield old


@pytest.fixture
def moved_to(mongodb_url: str) -> Iterator[OwnDatabase]:
    with own_database(mongodb_url) as moved_to:
        yield moved_to


@asynccontextmanager
async def reader_of(settings: Settings, old: OwnDatabase, moved_to: OwnDatabase) -> AsyncIterator[httpx.AsyncClient]:
    changed = {"mongodb_url": SecretStr(old.url), "tweet_users_database": moved_to.documents.name}
    app = create_app(settings.model_copy(update=changed))
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://tweets.test") as client:
            yield client


def user(**changed: Any) -> dict[str, Any]:
    name = f"m_{secrets.token_hex(5)}"
    live = {"operation": "c", "deleted_at": None}
    return {"_id": f"u-{name}", "username": name, "name": name.title(), "is_active": True, "_sync": live, **changed}


async def test_users_and_revocations_are_read_in_every_step_of_the_move(
    settings: Settings, issuer: Issuer, old: OwnDatabase, moved_to: OwnDatabase
) -> None:
    revoked = {"tokens_valid_after": datetime.now(UTC) + timedelta(seconds=5)}

    def complete() -> None:
        """Both places have everything, before the readers hear of it."""
        state = {"_id": COPY, "moved_from": old.documents.name, "complete_at": datetime.now(UTC)}
        moved_to.documents[STATES].insert_one(state)

    def drop() -> None:
        old.documents.drop_collection(COPY)

    async with reader_of(settings, old, moved_to) as client:
        for step in (None, complete, drop):
            if step is not None:
                step()
            known, ended = user(), user(**revoked)
            # As sync-service writes: the old place first, as long as it is there.
            for place in (old, moved_to) if step is not drop else (moved_to,):
                place.documents[COPY].insert_many([known, ended])
            answers = {}
            for each in (known, ended):
                bearer = {"Authorization": f"Bearer {issuer.token(sub=each['_id'], username=each['username'])}"}
                posted = await client.post("/v1/tweets", json={"text": "moved"}, headers=bearer)
                answers[each["_id"]] = (posted.status_code, posted.json().get("code"))
            assert answers == {known["_id"]: (201, None), ended["_id"]: (401, "token-revoked")}
            profile = (await client.get(f"/v1/users/{known['username']}")).json()
            assert (profile["id"], profile["name"]) == (known["_id"], known["name"])


async def test_user_of_a_new_installation_is_read_as_soon_as_it_is_there(
    settings: Settings, old: OwnDatabase, moved_to: OwnDatabase
) -> None:
    """It has no old place. The service may have looked before sync-service started for the first time."""
    new = user()
    async with reader_of(settings, old, moved_to) as client:
        assert (await client.get(f"/v1/users/{new['username']}")).status_code == 404
        moved_to.documents[STATES].insert_one({"_id": COPY, "moved_from": None, "complete_at": datetime.now(UTC)})
        moved_to.documents[COPY].insert_one(new)
        assert (await client.get(f"/v1/users/{new['username']}")).status_code == 200


async def test_copy_that_does_not_move_is_read_where_it_is(
    settings: Settings, old: OwnDatabase, moved_to: OwnDatabase
) -> None:
    """As with a routes.yaml of release 0.1.0, which names no database."""
    known = user()
    old.documents[COPY].insert_one(known)
    async with reader_of(settings, old, moved_to) as client:
        assert (await client.get(f"/v1/users/{known['username']}")).status_code == 200
