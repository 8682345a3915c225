"""What makes the HTTP clients of tests cheaper."""

import importlib.util
import sys
from functools import cache

from httpx._transports import default


def cache_what_clients_load() -> None:
    """Load once what each client, or each request, would load anew."""
    # The certificates of the authorities, 20 ms a client. There is no public name, and a hundred places make clients.
    default.create_ssl_context = cache(default.create_ssl_context)  # type: ignore[attr-defined]
    # httpx and httpcore import it at each request, if it is there. Python does not remember that a module is absent.
    if "sniffio" not in sys.modules and importlib.util.find_spec("sniffio") is None:
        sys.modules["sniffio"] = None  # type: ignore[assignment]
