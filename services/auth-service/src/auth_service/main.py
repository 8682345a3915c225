"""Puts auth-service together."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta

import structlog
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker

from auth_service.accounts.endpoints import router as accounts_router
from auth_service.database import migrations_folder
from auth_service.keys.encryption import KeyCipher
from auth_service.keys.endpoints import router as keys_router
from auth_service.keys.service import KeyRing
from auth_service.passwords import PasswordHasher
from auth_service.sessions.endpoints import router as sessions_router
from auth_service.sessions.tokens import AccessTokenIssuer
from auth_service.settings import Settings
from service_kit.application import create_application
from service_kit.health import ReadinessCheck
from service_kit.mysql import create_engine, migrate
from service_kit.tokens import TokenVerifier

log = structlog.get_logger(__name__)

_RETRY_SECONDS = 1.0


async def prepare(settings: Settings, *, deadline_seconds: float = 60) -> None:
    """Bring the schema up to date and make sure of a signing key; a database that is down is waited for.

    Replicas may do this at once. Raises `WrongSecret`, or SQLAlchemy's `DBAPIError` after the deadline.
    """
    deadline = time.monotonic() + deadline_seconds
    while True:
        try:
            await migrate(settings.mysql_url.get_secret_value(), migrations_folder())
            break
        except (OperationalError, InterfaceError) as error:
            if time.monotonic() > deadline:
                raise
            log.warning("database does not answer", error=str(error.orig))
            await asyncio.sleep(_RETRY_SECONDS)
    engine = create_engine(settings.mysql_url.get_secret_value(), pool_size=1)
    try:
        await _key_ring(settings, engine).load()
    finally:
        await engine.dispose()


def create_app(settings: Settings) -> FastAPI:
    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        engine = create_engine(settings.mysql_url.get_secret_value())
        keys = _key_ring(settings, engine)
        await keys.load()
        hasher = PasswordHasher(settings.auth_password_workers)
        app.state.settings = settings
        app.state.engine = engine
        app.state.database_sessions = async_sessionmaker(engine, expire_on_commit=False)
        app.state.key_ring = keys
        app.state.password_hasher = hasher
        app.state.token_verifier = TokenVerifier(keys, issuer=settings.auth_issuer, audience=settings.auth_audience)
        app.state.access_tokens = AccessTokenIssuer(
            keys,
            issuer=settings.auth_issuer,
            audience=settings.auth_audience,
            lifetime=timedelta(seconds=settings.auth_access_token_seconds),
        )
        yield
        hasher.close()
        await engine.dispose()

    return create_application(
        title="Tandem auth-service",
        description="Accounts, sessions and the keys that verify access tokens.",
        version="1",
        settings=settings,
        lifespan=lifespan,
        routers=[accounts_router, sessions_router, keys_router],
        readiness=_readiness,
        unavailable_on=[OperationalError, InterfaceError, PoolTimeoutError],
    )


def _key_ring(settings: Settings, engine: AsyncEngine) -> KeyRing:
    return KeyRing(engine, KeyCipher(settings.auth_key_encryption_secret.get_secret_value()))


def _readiness(app: FastAPI) -> Mapping[str, ReadinessCheck]:
    async def mysql() -> None:
        async with app.state.engine.connect() as connection:
            await connection.execute(text("SELECT 1"))

    return {"mysql": mysql}
