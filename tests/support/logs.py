"""How code under test logs: in the tests' own process, and as a service does."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from service_kit.logging import configure_logging


def use_plain_tracebacks() -> None:
    """Log exceptions as Python prints them. structlog's default frames every local variable: seconds an exception."""
    structlog.reset_defaults()
    *processors, _renderer = structlog.get_config()["processors"]
    renderer = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[*processors, renderer])


@contextmanager
def configured_logging() -> Iterator[None]:
    """As a service has it; restored afterwards."""
    handlers, level = logging.root.handlers[:], logging.root.level
    try:
        configure_logging("things", "INFO")
        yield
    finally:
        logging.root.handlers[:], logging.root.level = handlers, level
        use_plain_tracebacks()
