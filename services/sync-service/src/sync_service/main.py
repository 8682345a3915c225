"""Builds the application."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from typing import Any

from aiokafka.errors import KafkaError
from fastapi import APIRouter, FastAPI
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo.errors import PyMongoError

from service_kit.application import create_application
from service_kit.authentication import Authenticator, CallerAuthenticator
from service_kit.background import OnFailure, Supervisor
from service_kit.health import NotReady, ReadinessCheck
from service_kit.http_client import internal_client
from service_kit.kafka import KafkaClients
from service_kit.metrics import new_registry
from service_kit.mongodb_errors import is_unavailable
from service_kit.tokens import RemoteKeySet, TokenVerifier
from sync_service.accounts import COLLECTION, CopiedAccounts
from sync_service.change_feed.endpoints import router as feed_router
from sync_service.change_feed.hub import Feed, FeedLimits
from sync_service.dead_letters.endpoints import router as dead_letters_router
from sync_service.dead_letters.service import DeadLetterService
from sync_service.dead_letters.store import DeadLetterReader
from sync_service.dependencies import FOR_READERS
from sync_service.metrics import FeedMetrics, SyncMetrics
from sync_service.monitoring.counts.endpoints import router as counts_router
from sync_service.monitoring.counts.service import Counts
from sync_service.monitoring.pipeline.broker import BrokerProbe
from sync_service.monitoring.pipeline.connectors import ConnectorProbe
from sync_service.monitoring.pipeline.endpoints import router as pipeline_router
from sync_service.monitoring.pipeline.service import Pipeline
from sync_service.monitoring.status.endpoints import router
from sync_service.monitoring.status.lag import CachedLag
from sync_service.operator_token import OperatorAuthenticator
from sync_service.proof.prover import Prover
from sync_service.reconciliation.endpoints import router as reconciliation_router
from sync_service.reconciliation.jobs import Jobs
from sync_service.routes.config import Route
from sync_service.routes.endpoints import router as routes_router
from sync_service.routes.pause import RoutePauser
from sync_service.routes.personal import PersonalFields
from sync_service.routes.reload import RoutesReloader
from sync_service.routes.resume import RouteResumer
from sync_service.runner import SyncRunner
from sync_service.settings import Settings
from sync_service.sinks.base import Unavailable
from sync_service.sinks.registry import database_of_collection, observers

KEY_SET_SECONDS = 2.0
ACCOUNT_LOOKUP_MS = 2000


def create_app(settings: Settings, routes: Sequence[Route]) -> FastAPI:
    registry = new_registry()
    supervisor = Supervisor(registry)
    kafka = KafkaClients.of(settings)
    metrics, feed_metrics = SyncMetrics(registry), FeedMetrics(registry)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.settings = settings
        app.state.feed = feed = Feed(
            kafka,
            _names(routes),
            feed_metrics,
            FeedLimits.of(settings),
            personal=_personal_fields(routes),
        )

        def change_feed(routes: Sequence[Route]) -> None:
            feed.change_routes(_names(routes), _personal_fields(routes))

        app.state.runner = runner = SyncRunner(settings, routes, metrics, supervisor, on_replaced=change_feed)
        app.state.resumer = RouteResumer(kafka, settings.sync_group_id, runner.stops)
        app.state.pauser = RoutePauser(kafka, settings.sync_group_id, runner.stops, runner.engine)
        app.state.dead_letters = _dead_letter_service(kafka, runner)
        app.state.reloader = reloader = RoutesReloader(settings, runner.replace_routes)
        app.state.reconciliations = reconciliations = Jobs(settings, lambda: reloader.content)
        async with AsyncExitStack() as cleanup:
            await cleanup.enter_async_context(
                supervisor.task("sync", runner.run, on_failure=OnFailure.EXIT, request_stop=runner.stop)
            )
            app.state.lag = lag = CachedLag(lambda: runner.member.lag)
            cleanup.push_async_callback(lag.close)
            cleanup.push_async_callback(feed.close)
            cleanup.push_async_callback(reconciliations.close)
            app.state.authenticator = await cleanup.enter_async_context(_authenticator(settings, runner))
            await cleanup.enter_async_context(_monitoring(settings, kafka, app))
            if settings.sync_proof_share:
                prover = Prover(settings, lambda: runner.routes, runner.is_applied, app.state.pipeline.incomplete)
                await cleanup.enter_async_context(supervisor.task("proof", prover.run))
            await cleanup.enter_async_context(supervisor.task("routes", reloader.run))
            yield

    return create_application(
        title="Tandem: sync",
        description="Applies the change events of each store to the copy in the other store.",
        version="0.1.0",
        settings=settings,
        lifespan=lifespan,
        routers=[
            router if settings.sync_operator_token is None else _for_readers(router),
            routes_router,
            dead_letters_router,
            feed_router,
            reconciliation_router,
            pipeline_router,
            counts_router,
        ],
        readiness=_readiness,
        unavailable_on=(KafkaError, Unavailable),
        unavailable_if={PyMongoError: is_unavailable},
        registry=registry,
        supervisor=supervisor,
    )


def _for_readers(public: APIRouter) -> APIRouter:
    guarded = APIRouter(dependencies=FOR_READERS)
    guarded.include_router(public)
    return guarded


def _names(routes: Sequence[Route]) -> Mapping[str, str]:
    """Of the routes by topic."""
    return {route.topic: route.name for route in routes}


def _personal_fields(routes: Sequence[Route]) -> Mapping[str, PersonalFields]:
    """By topic."""
    return {route.topic: PersonalFields(route) for route in routes}


def _dead_letter_service(kafka: KafkaClients, runner: SyncRunner) -> DeadLetterService:
    return DeadLetterService(
        DeadLetterReader(kafka),
        runner.dead_letters,
        lambda: runner.routes,
        lambda route: runner.processors[route.topic].sink,
        runner.stops.is_dropped,
    )


@asynccontextmanager
async def _monitoring(settings: Settings, kafka: KafkaClients, app: FastAPI) -> AsyncIterator[None]:
    """Sets `app.state.pipeline` and `app.state.counts`. They connect on the first request."""
    runner: SyncRunner = app.state.runner
    stores = observers(settings.mysql_url.get_secret_value(), settings.mongodb_url.get_secret_value())
    broker = BrokerProbe(kafka, lambda: list(runner.processors), settings.sync_group_id)
    registrar = None if settings.registrar_url is None else str(settings.registrar_url)
    async with AsyncExitStack() as cleanup:
        for store in stores.values():
            cleanup.push_async_callback(store.close)
        http = await cleanup.enter_async_context(internal_client())
        app.state.counts = counts = Counts(lambda: runner.routes, stores)
        cleanup.push_async_callback(counts.close)
        app.state.pipeline = pipeline = Pipeline(
            ConnectorProbe(registrar, http), broker, stores, app.state.dead_letters.open_by_topic
        )
        cleanup.push_async_callback(pipeline.close)
        yield


@asynccontextmanager
async def _authenticator(settings: Settings, runner: SyncRunner) -> AsyncIterator[CallerAuthenticator]:
    """Keys are fetched for the first token: applying events needs none."""
    if settings.sync_operator_token is not None:
        yield OperatorAuthenticator(settings.sync_operator_token.get_secret_value())
        return
    client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(
        settings.mongodb_url.get_secret_value(),
        appname="sync-service accounts",
        tz_aware=True,
        maxPoolSize=5,
        serverSelectionTimeoutMS=ACCOUNT_LOOKUP_MS,
        connectTimeoutMS=ACCOUNT_LOOKUP_MS,
        timeoutMS=ACCOUNT_LOOKUP_MS,
    )
    with closing(client):
        async with internal_client(timeout=KEY_SET_SECONDS) as http:
            keys = RemoteKeySet(str(settings.auth_jwks_url), http)
            verifier = TokenVerifier(keys, issuer=settings.auth_issuer, audience=settings.auth_audience)
            accounts = CopiedAccounts(
                client.get_default_database(), lambda: database_of_collection(runner.routes, COLLECTION)
            )
            yield Authenticator(verifier, accounts)


def end_streams(app: FastAPI) -> None:
    """End the endless responses, which would delay the shutdown."""
    app.state.feed.end()


def request_reload(app: FastAPI) -> None:
    """Read the routes file without waiting until it is due. During the start there is nothing to do."""
    if (reloader := getattr(app.state, "reloader", None)) is not None:
        reloader.request()


def _readiness(app: FastAPI) -> Mapping[str, ReadinessCheck]:
    async def consumer() -> str | None:
        runner: SyncRunner = app.state.runner
        if problem := runner.problem:
            raise NotReady(problem)
        remarks = (runner.stopped, runner.paused, runner.doubts, runner.differences, runner.unwatched)
        return "; ".join(filter(None, remarks)) or None

    async def connectors() -> str | None:
        pipeline: Pipeline = app.state.pipeline
        return await pipeline.connector_problems()

    async def dead_letters() -> str | None:
        pipeline: Pipeline = app.state.pipeline
        runner: SyncRunner = app.state.runner
        return await pipeline.open_dead_letters(
            {topic: processor.route.name for topic, processor in runner.processors.items()}
        )

    async def routes() -> str | None:
        reloader: RoutesReloader = app.state.reloader
        return reloader.problem and f"the changed routes are not in force: {reloader.problem}"

    return {"consumer": consumer, "connectors": connectors, "dead_letters": dead_letters, "routes": routes}
