"""Structured logs: one JSON object per line, on stdout."""

import json
import logging
import sys
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Any

import structlog
from structlog.typing import Processor

from service_kit.error_texts import traceback_text
from service_kit.request_context import current_request_id
from service_kit.trace_context import current_trace

# Values of these keys are never logged.
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


def _add_request(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    if request_id := current_request_id():
        event.setdefault("request_id", request_id)
    if trace := current_trace():
        event.setdefault("trace_id", trace.trace_id)
        event.setdefault("span_id", trace.span_id)
    return event


def _drop_secrets(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key in _SECRET_KEYS & event.keys():
        event[key] = "[redacted]"
    return event


def _as_json(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> bytes:
    try:
        return json.dumps(event, default=repr).encode()
    except (TypeError, ValueError):  # keys that are not text, circular references
        return json.dumps({str(key): repr(value) for key, value in event.items()}).encode()


class _BestEffortLogger(structlog.BytesLogger):
    """Drops a line that can't be written (full disk, closed pipe), so that logging never fails a request."""

    def msg(self, message: bytes) -> None:
        with suppress(OSError, ValueError):
            super().msg(message)

    debug = info = warning = error = critical = msg


def configure_logging(service: str, level: str) -> None:
    """Write the records of structlog and of the standard library to stdout as JSON, with the name of the service."""

    def add_service(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event["service"] = service
        return event

    shared: list[Processor] = [
        structlog.processors.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        add_service,
        _add_request,
        _drop_secrets,
        structlog.processors.ExceptionRenderer(traceback_text),
    ]
    # structlog does not go through the standard library, which would inspect the stack for each record.
    structlog.configure(
        processors=[*shared, _as_json],
        logger_factory=lambda *args: _BestEffortLogger(name=args[0] if args else None),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,
    )
    stdout = logging.StreamHandler(sys.stdout)
    stdout.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                lambda *args: _as_json(*args).decode(),
            ],
        )
    )
    logging.basicConfig(handlers=[stdout], level=level, force=True)
    # RequestContextMiddleware writes the access log, with more fields.
    logging.getLogger("uvicorn.access").disabled = True
    for verbose in ("httpx", "httpcore", "pymongo"):
        logging.getLogger(verbose).setLevel(logging.WARNING)
    # MySQL warns about deprecated syntax that SQLAlchemy and Alembic use.
    logging.getLogger("asyncmy").setLevel(logging.ERROR)
    # Ten lines a second while the broker is down; the users of the clients log it themselves, once.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
