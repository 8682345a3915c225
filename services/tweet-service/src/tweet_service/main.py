"""Creates the application."""

import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

from fastapi import FastAPI
from pymongo.errors import PyMongoError

from service_kit.application import create_application
from service_kit.authentication import Authenticator
from service_kit.background import Supervisor
from service_kit.health import ReadinessCheck
from service_kit.http_client import internal_client
from service_kit.metrics import new_registry
from service_kit.mongodb_errors import is_unavailable
from service_kit.tokens import RemoteKeySet, TokenVerifier
from tweet_service import database
from tweet_service.indexes import INDEXES
from tweet_service.metrics import StreamMetrics
from tweet_service.profiles.repository import ProfileRepository
from tweet_service.reactions.endpoints import own_router as own_reactions_router
from tweet_service.reactions.endpoints import router as reactions_router
from tweet_service.services import Services
from tweet_service.settings import Settings
from tweet_service.stream import repository as stream
from tweet_service.stream.endpoints import router as stream_router
from tweet_service.stream.hub import StreamLimits, TweetHub
from tweet_service.stream.presentation import EventPresenter
from tweet_service.timelines.endpoints import router as timelines_router
from tweet_service.tweets.endpoints import router as tweets_router
from tweet_service.tweets.upgrade import upgrade_tweets
from tweet_service.users.endpoints import router as users_router

VERSION = "0.1.0"
KEY_SET_SECONDS = 2.0

DESCRIPTION = """
Tweets, stored in MongoDB. Reading is public; writing needs a bearer token of auth-service.

**Authors are joined, not copied**, from the copy of the users that sync-service maintains, so a new name of a user
appears on all tweets immediately. The copy arrives shortly after the registration. Until then `username` and `name`
come from the caller's token if the caller is the author, and are `null` for others. Tweets remain when the account of
their author is deleted: then `author` is `null` and `author_deleted` is `true`.

**Editing** requires the version of the tweet: send the `ETag`, or only the `"version"`, in `If-Match`.
"""


def create_app(settings: Settings, clock: Callable[[], float] = time.time) -> FastAPI:
    """`clock` gives seconds since the epoch; tests replace it."""
    registry = new_registry()
    supervisor = Supervisor(registry)
    stream_metrics = StreamMetrics(registry)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        client = database.connect(settings.mongodb_url.get_secret_value())
        app.state.database = client.get_default_database()
        app.state.services = Services.of(client, app.state.database, settings, clock)
        app.state.preparation = database.Preparation(app.state.database, INDEXES, [upgrade_tweets])
        stream_client = stream.connect(settings.mongodb_url.get_secret_value())
        app.state.stream = TweetHub(
            stream.TweetChanges(stream_client),
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
            # With cached keys auth-service may be down; without keys, public reads still work.
            await keys.refresh()
            verifier = TokenVerifier(keys, issuer=settings.auth_issuer, audience=settings.auth_audience, clock=clock)
            accounts = ProfileRepository(app.state.database, settings.tweet_users_database)
            app.state.authenticator = Authenticator(verifier, accounts, clock=clock)
            yield
        await app.state.stream.close()
        await stream_client.close()
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
            users_router,
            stream_router,
        ],
        readiness=_readiness,
        unavailable_if={PyMongoError: is_unavailable},
        registry=registry,
        supervisor=supervisor,
    )


def _readiness(app: FastAPI) -> Mapping[str, ReadinessCheck]:
    async def mongodb() -> None:
        await app.state.database.command("ping")

    return {"mongodb": mongodb, "indexes": app.state.preparation.check}


def end_streams(app: FastAPI) -> None:
    """End all event streams before the process stops, which would wait for them."""
    app.state.stream.end()
