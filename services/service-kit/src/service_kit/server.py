"""Runs a service under uvicorn."""

import uvicorn
from fastapi import FastAPI

from service_kit.logging import configure_logging
from service_kit.settings import ServiceSettings

SHUTDOWN_SECONDS = 10


def serve(app: FastAPI, *, service: str, settings: ServiceSettings) -> None:
    """Serve until SIGTERM or SIGINT; requests in flight get `SHUTDOWN_SECONDS` to end."""
    configure_logging(service, settings.log_level)
    uvicorn.run(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
