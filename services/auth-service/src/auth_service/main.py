"""Creates the application from its parts."""

import contextlib
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta

import structlog
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from auth_service.administration.endpoints import router as administration_router
from auth_service.audit.service import AuditTrail
from auth_service.browser.endpoints import router as browser_router
from auth_service.database import Clock, Database, migrations_folder, utc_now
from auth_service.email_addresses.endpoints import router as email_addresses_router
from auth_service.housekeeping import Housekeeper
from auth_service.keys.encryption import KeyCipher
from auth_service.keys.endpoints import router as keys_router
from auth_service.keys.service import KeyRing
from auth_service.limits.policies import Limits
from auth_service.limits.service import AttemptLimiter
from auth_service.login.endpoints import oauth_router
from auth_service.login.endpoints import router as login_router
from auth_service.mail.links import Links
from auth_service.mail.messages import MailComposer
from auth_service.mail.smtp import SmtpServer
from auth_service.metrics import MailMetrics
from auth_service.outbox.service import Outbox
from auth_service.outbox.worker import OutboxWorker
from auth_service.outbox.writing import MailWriter
from auth_service.passwords.endpoints import router as passwords_router
from auth_service.profile.endpoints import router as profile_router
from auth_service.registration.endpoints import router as registration_router
from auth_service.services import Services, password_hasher
from auth_service.sessions.endpoints import router as sessions_router
from auth_service.settings import Settings
from service_kit.application import create_application
from service_kit.background import Supervisor
from service_kit.error_texts import error_text
from service_kit.health import ReadinessCheck
from service_kit.metrics import new_registry
from service_kit.mysql import create_engine, is_unavailable, migrate
from service_kit.retry import Backoff, Retrier
from service_kit.tokens import TokenVerifier

log = structlog.get_logger(__name__)

_BACKOFF = Backoff(initial=0.5, maximum=2.0)


async def prepare(settings: Settings, *, deadline_seconds: float = 60) -> None:
    """Migrate the schema and create the first signing key. Waits for a database that is unavailable.

    Replicas may do this at the same time. Raises `WrongSecret`, or SQLAlchemy's `DBAPIError` after the deadline.
    """
    retrier = Retrier(on=_is_transient, backoff=_BACKOFF, timeout=deadline_seconds, on_failure=_log_failure)
    await retrier.run(lambda: migrate(settings.mysql_url.get_secret_value(), migrations_folder()))
    async with database_of(settings) as database:
        await key_ring(settings, database, utc_now).load()


def _is_transient(error: Exception) -> bool:
    return isinstance(error, DBAPIError) and is_unavailable(error)


def _log_failure(error: Exception, delay: float) -> None:
    log.warning("database unavailable, retrying", error=error_text(error), retry_seconds=round(delay, 2))


@contextlib.asynccontextmanager
async def database_of(settings: Settings) -> AsyncIterator[Database]:
    address = settings.mysql_url.get_secret_value()
    engine, reading_engine = create_engine(address), create_engine(address, autocommit=True)
    try:
        yield Database(engine, reading_engine)
    finally:
        await engine.dispose()
        await reading_engine.dispose()


def key_ring(settings: Settings, database: Database, clock: Clock) -> KeyRing:
    return KeyRing(database, KeyCipher(settings.auth_key_encryption_secret.get_secret_value()), clock)


def outbox_worker(
    settings: Settings, database: Database, outbox: Outbox, clock: Clock, metrics: MailMetrics
) -> OutboxWorker:
    mails = MailComposer(settings.auth_mail_from, Links(settings.auth_public_url), clock)
    writer = MailWriter(database, outbox, mails, AuditTrail(clock), AttemptLimiter(clock), Limits.of(settings), clock)
    server = SmtpServer.at(settings.auth_smtp_url.get_secret_value())
    return OutboxWorker(database, writer, server, metrics, clock)


def create_app(settings: Settings, clock: Clock = utc_now) -> FastAPI:
    registry = new_registry()
    supervisor = Supervisor(registry)
    mail_metrics = MailMetrics(registry)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with contextlib.AsyncExitStack() as stack:
            database = await stack.enter_async_context(database_of(settings))
            keys = key_ring(settings, database, clock)
            await keys.load()
            hasher = password_hasher(settings)
            stack.callback(hasher.close)
            outbox = Outbox(KeyCipher(settings.auth_key_encryption_secret.get_secret_value()), clock)
            app.state.settings = settings
            app.state.database = database
            app.state.clock = clock
            app.state.key_ring = keys
            app.state.token_verifier = TokenVerifier(
                keys,
                issuer=settings.auth_issuer,
                audience=settings.auth_audience,
                clock=lambda: clock().timestamp(),
            )
            app.state.services = Services.of(
                settings, database=database, keys=keys, hasher=hasher, outbox=outbox, clock=clock, registry=registry
            )
            app.state.housekeeper = Housekeeper(
                database,
                keys,
                clock,
                key_rotation=timedelta(days=settings.auth_key_rotation_days),
                audit_retention=timedelta(days=settings.auth_audit_days),
            )
            worker = await stack.enter_async_context(outbox_worker(settings, database, outbox, clock, mail_metrics))
            await stack.enter_async_context(supervisor.task("mails", worker.run))
            await stack.enter_async_context(supervisor.task("housekeeping", app.state.housekeeper.run))
            yield

    return create_application(
        title="Tandem auth-service",
        description="Accounts, sessions, and the public keys that verify access tokens.",
        version="1",
        settings=settings,
        lifespan=lifespan,
        routers=[
            registration_router,
            profile_router,
            login_router,
            oauth_router,
            sessions_router,
            browser_router,
            passwords_router,
            email_addresses_router,
            administration_router,
            keys_router,
        ],
        readiness=_readiness,
        unavailable_on=[OperationalError, InterfaceError, PoolTimeoutError],
        registry=registry,
        supervisor=supervisor,
    )


def _readiness(app: FastAPI) -> Mapping[str, ReadinessCheck]:
    async def mysql() -> None:
        async with app.state.database.engine.connect() as connection:
            await connection.execute(text("SELECT 1"))

    return {"mysql": mysql}
