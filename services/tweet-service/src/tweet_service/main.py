"""Builds the application."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import httpx
from fastapi import FastAPI

from service_kit.application import create_application
from service_kit.health import ReadinessCheck
from service_kit.tokens import RemoteKeySet, TokenVerifier
from tweet_service import database
from tweet_service.settings import Settings
from tweet_service.tweets import endpoints as tweets
from tweet_service.tweets.repository import COLLECTION, INDEXES

VERSION = "0.1.0"
KEY_SET_SECONDS = 2.0

DESCRIPTION = """
Tweets, stored in MongoDB. Reading is public; writing needs a bearer token of auth-service.

**Authors are joined, not copied**, from the copy of the users that sync-service keeps, so a person who is
renamed is renamed everywhere at once. The copy arrives a moment after the registration. Until then `username`
and `name` of an author are filled from the caller's own token if he is the author, and are `null` for others.
Tweets outlive the account that wrote them: once it is deleted, `author` is `null` and `author_deleted` is `true`.

**Editing** is guarded by the tweet's version: send the `ETag`, or the bare `"version"`, in `If-Match`.
"""


def create_app(settings: Settings) -> FastAPI:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        client = database.connect(settings.mongodb_url.get_secret_value())
        app.state.database = client.get_default_database()
        app.state.indexes = database.Indexes(app.state.database, {COLLECTION: INDEXES})
        indexing = asyncio.create_task(app.state.indexes.create())
        # Internal traffic: a proxy of the environment is not meant for it.
        async with httpx.AsyncClient(timeout=KEY_SET_SECONDS, trust_env=False) as http:
            keys = RemoteKeySet(str(settings.auth_jwks_url), http)
            # With the keys at hand auth-service may be away; without them reading works all the same.
            await keys.refresh()
            app.state.token_verifier = TokenVerifier(keys, issuer=settings.auth_issuer, audience=settings.auth_audience)
            yield
        indexing.cancel()
        client.close()

    return create_application(
        title="Tandem: tweets",
        description=DESCRIPTION,
        version=VERSION,
        settings=settings,
        lifespan=lifespan,
        routers=[tweets.router],
        readiness=_readiness,
        unavailable_on=database.UNAVAILABLE,
    )


def _readiness(app: FastAPI) -> Mapping[str, ReadinessCheck]:
    async def mongodb() -> None:
        await app.state.database.command("ping")

    return {"mongodb": mongodb, "indexes": app.state.indexes.check}
