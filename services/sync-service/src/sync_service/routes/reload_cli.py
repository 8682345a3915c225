"""`sync-service routes reload`."""

import asyncio
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import httpx
from pydantic import AnyHttpUrl, Field

from service_kit.http_client import internal_client
from service_kit.settings import EnvironmentSettings
from sync_service.operator_token import OperatorToken
from sync_service.routes.loader import default_routes_file, parse_routes, read_content
from sync_service.routes.reload import version_of

# A process looks at the file every second, and leaves and joins the consumer group within some seconds.
TAKEN_SECONDS = 60.0
_POLL_SECONDS = 0.2


class ReloadSettings(EnvironmentSettings):
    """The file of the routes, and the running service that reads it."""

    sync_routes_file: Path = Field(default_factory=default_routes_file)
    sync_url: AnyHttpUrl | None = None
    port: int = Field(default=8003, ge=1, le=65535)
    # Only a service without auth-service needs it.
    sync_operator_token: OperatorToken = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}" if self.sync_url is None else str(self.sync_url).rstrip("/")

    @property
    def headers(self) -> Mapping[str, str]:
        token = self.sync_operator_token
        return {} if token is None else {"Authorization": f"Bearer {token.get_secret_value()}"}


def reload_routes() -> None:
    """Returns when the service has the routes of the file in force. Ends the program with exit code 1 if it refuses.

    Raises `InvalidRoutes`.
    """
    settings = ReloadSettings()
    content = read_content(settings.sync_routes_file)
    routes = parse_routes(content, settings.sync_routes_file, needs_secret=False)
    try:
        problem = asyncio.run(_problem(settings.url, settings.headers, version_of(content)))
    except httpx.HTTPError as error:
        sys.exit(f"error: sync-service does not answer at {settings.url}: {error or type(error).__name__}")
    if problem is not None:
        sys.exit(f"error: {problem}")
    print(f"{settings.sync_routes_file}: {len(routes)} routes in force")


async def _problem(url: str, headers: Mapping[str, str], version: str) -> str | None:
    """Why the service does not take over this version of the file; None as soon as it has. Raises `httpx.HTTPError`."""
    ends = time.monotonic() + TAKEN_SECONDS
    async with internal_client(url) as client:
        while time.monotonic() < ends:
            status = (await client.get("/v1/status", headers=headers)).raise_for_status().json()
            if status["routes_version"] == version and status["refused_routes_version"] is None:
                return None
            if status["refused_routes_version"] == version:
                remarks = (await client.get("/readyz")).json()["remarks"]
                return "; ".join(remarks) or "sync-service refuses the routes"
            await asyncio.sleep(_POLL_SECONDS)
    return (
        f"sync-service at {url} has not taken over the file within {TAKEN_SECONDS:g} s: it reads another file (set "
        "SYNC_ROUTES_FILE as for the service), or its log says what it waits for"
    )
