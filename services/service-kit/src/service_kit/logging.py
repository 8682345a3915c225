"""Structured logs: one JSON object a line on stdout."""

import json
import logging
import sys
from collections.abc import MutableMapping
from datetime import UTC, datetime
from typing import Any

import structlog
from structlog.typing import Processor

from service_kit.request_context import current_request_id

# Of the access lines, whose one argument is a dictionary of what they say.
ACCESS_LOG = "service_kit.access"

# Log lines must never hold these, however they got into an event.
_SECRET_KEYS = frozenset(
    {
        "authorization",
        "cookie",
        "password",
        "password_hash",
        "secret",
        "token",
        "access_token",
        "refresh_token",
    }
)


def _add_request_id(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    if request_id := current_request_id():
        event.setdefault("request_id", request_id)
    return event


def _drop_secrets(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key in _SECRET_KEYS & event.keys():
        event[key] = "[redacted]"
    return event


class _AccessLine(logging.Formatter):
    """The same shape as every other line, made at once: there is one for each request, and nothing secret in it."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        said = record.args if isinstance(record.args, dict) else {}
        line = {
            **said,
            "event": record.getMessage(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat().replace("+00:00", "Z"),
            "service": self._service,
            "request_id": current_request_id(),
        }
        return json.dumps(line)


def configure_logging(service: str, level: str) -> None:
    """Send structlog's and the standard library's records to stdout as JSON, with the service's name."""

    def add_service(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event["service"] = service
        return event

    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        add_service,
        _add_request_id,
        _drop_secrets,
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    stdout = logging.StreamHandler(sys.stdout)
    stdout.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    logging.basicConfig(handlers=[stdout], level=level, force=True)
    # Nobody is shown these, and each record would ask for them (logging HOWTO, "Optimization").
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    access_lines = logging.StreamHandler(sys.stdout)
    access_lines.setFormatter(_AccessLine(service))
    access_log = logging.getLogger(ACCESS_LOG)
    access_log.handlers, access_log.propagate = [access_lines], False
    # One access line a request is written by RequestContextMiddleware, with more in it.
    logging.getLogger("uvicorn.access").disabled = True
    for chatty in ("httpx", "httpcore", "pymongo"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    # MySQL's notes about deprecated syntax that SQLAlchemy and Alembic use.
    logging.getLogger("asyncmy").setLevel(logging.ERROR)
    # Ten lines a second while the broker is away, which whoever uses it tells in one.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
