"""Log lines as a service writes them."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from service_kit.logging import configure_logging


@contextmanager
def configured_logging() -> Iterator[None]:
    """As a service has it; set right again."""
    handlers, level = logging.root.handlers[:], logging.root.level
    try:
        configure_logging("things", "INFO")
        yield
    finally:
        logging.root.handlers[:], logging.root.level = handlers, level
        structlog.reset_defaults()
