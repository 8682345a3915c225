"""Structured logs: one JSON object a line on stdout."""

import json
import logging
import sys
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Any

import structlog
from structlog.typing import Processor

from service_kit.request_context import current_request_id
from service_kit.trace_context import current_trace

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


def _as_json(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> str:
    try:
        return json.dumps(event, default=repr)
    except (TypeError, ValueError):  # keys that are no text, circles
        return json.dumps({str(key): repr(value) for key, value in event.items()})


class _LineLogger:
    """Writes to stdout. A line that can't be written is no error of whoever had something to tell."""

    def __init__(self, name: str = "") -> None:
        self.name = name

    def _write(self, line: str) -> None:
        with suppress(OSError, ValueError):
            sys.stdout.buffer.write(line.encode() + b"\n")
            sys.stdout.buffer.flush()

    debug = info = warning = error = critical = _write


def configure_logging(service: str, level: str) -> None:
    """Send structlog's and the standard library's records to stdout as JSON, with the service's name."""

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
        structlog.processors.format_exc_info,
    ]
    # Ours do not take the way through the standard library's, which looks at the stack for each of them.
    structlog.configure(
        processors=[*shared, _as_json],
        logger_factory=_LineLogger,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,
    )
    stdout = logging.StreamHandler(sys.stdout)
    stdout.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _as_json,
            ],
        )
    )
    logging.basicConfig(handlers=[stdout], level=level, force=True)
    # One access line a request is written by RequestContextMiddleware, with more in it.
    logging.getLogger("uvicorn.access").disabled = True
    for chatty in ("httpx", "httpcore", "pymongo"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    # MySQL's notes about deprecated syntax that SQLAlchemy and Alembic use.
    logging.getLogger("asyncmy").setLevel(logging.ERROR)
    # Ten lines a second while the broker is away, which whoever uses it tells in one.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
