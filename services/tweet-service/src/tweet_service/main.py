"""Builds the application."""

import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

from fastapi import FastAPI

from service_kit.application import create_application
from service_kit.authentication import Authenticator
from service_kit.background import Supervisor
from service_kit.health import ReadinessCheck
from service_kit.http_client import internal_client
from service_kit.metrics import new_registry
from service_kit.tokens import RemoteKeySet, TokenVerifier
from tweet_service import database
from tweet_service.follows import repository as follows
from tweet_service.idempotency import repository as idempotency
from tweet_service.limits import repository as limits
from tweet_service.metrics import StreamMetrics
from tweet_service.profiles import repository as profiles
from tweet_service.profiles.endpoints import router as people_router
from tweet_service.profiles.repository import ProfileRepository
from tweet_service.reactions import repository as reactions
from tweet_service.reactions.endpoints import own_router as own_reactions_router
from tweet_service.reactions.endpoints import router as reactions_router
from tweet_service.services import Services
from tweet_service.settings import Settings
from tweet_service.stream import repository as stream
from tweet_service.stream.endpoints import router as stream_router
from tweet_service.stream.hub import Hub, StreamLimits
from tweet_service.stream.presentation import EventPresenter
from tweet_service.timelines.endpoints import router as timelines_router
from tweet_service.tweets import repository as tweets
from tweet_service.tweets.endpoints import router as tweets_router
from tweet_service.tweets.upgrade import upgrade_tweets

VERSION = "0.1.0"
KEY_SET_SECONDS = 2.0

INDEXES = {
    tweets.COLLECTION: tweets.INDEXES,
    tweets.LIKES_COLLECTION: reactions.INDEXES,
    follows.COLLECTION: follows.INDEXES,
    profiles.IMPORTED_COLLECTION: profiles.IMPORTED_INDEXES,
    idempotency.COLLECTION: idempotency.INDEXES,
    limits.COLLECTION: limits.INDEXES,
}

DESCRIPTION = """
Tweets, stored in MongoDB. Reading is public; writing needs a bearer token of auth-service.

**Authors are joined, not copied**, from the copy of the users that sync-service keeps, so a person who is
renamed is renamed everywhere at once. The copy arrives a moment after the registration. Until then `username`
and `name` of an author are filled from the caller's own token if he is the author, and are `null` for others.
Tweets outlive the account that wrote them: once it is deleted, `author` is `null` and `author_deleted` is `true`.

**Editing** is guarded by the tweet's version: send the `ETag`, or the bare `"version"`, in `If-Match`.
"""


def create_app(settings: Settings, clock: Callable[[], float] = time.time) -> FastAPI:
    """`clock` gives seconds since the epoch; tests turn it."""
    registry = new_registry()
    supervisor = Supervisor(registry)
    stream_metrics = StreamMetrics(registry)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        client = database.connect(settings.mongodb_url.get_secret_value())
        app.state.database = client.get_default_database()
        app.state.services = Services.of(client, app.state.database, settings, clock)
        app.state.preparation = database.Preparation(app.state.database, INDEXES, [upgrade_tweets])
        watching = stream.connect(settings.mongodb_url.get_secret_value())
        app.state.stream = Hub(
            stream.TweetChanges(watching),
            EventPresenter(app.state.services.presenter),
            stream_metrics,
            StreamLimits.of(settings),
            supervisor,
        )
        async with (
            supervisor.task("preparation", app.state.preparation.run, may_finish=True),
            internal_client(timeout=KEY_SET_SECONDS) as http,
        ):
            keys = RemoteKeySet(str(settings.auth_jwks_url), http)
            # With the keys at hand auth-service may be away; without them reading works all the same.
            await keys.refresh()
            verifier = TokenVerifier(keys, issuer=settings.auth_issuer, audience=settings.auth_audience, clock=clock)
            app.state.authenticator = Authenticator(verifier, ProfileRepository(app.state.database), clock=clock)
            yield
        await app.state.stream.close()
        await watching.close()
        client.close()

    return create_application(
        title="Tandem: tweets",
        description=DESCRIPTION,
        version=VERSION,
        settings=settings,
        lifespan=lifespan,
        routers=[
            tweets_router,
            timelines_router,
            reactions_router,
            own_reactions_router,
            people_router,
            stream_router,
        ],
        readiness=_readiness,
        unavailable_on=database.UNAVAILABLE,
        registry=registry,
        supervisor=supervisor,
    )


def _readiness(app: FastAPI) -> Mapping[str, ReadinessCheck]:
    async def mongodb() -> None:
        await app.state.database.command("ping")

    return {"mongodb": mongodb, "indexes": app.state.preparation.check}


def end_streams(app: FastAPI) -> None:
    """Before the process stops: what has no end would keep it."""
    app.state.stream.end()
