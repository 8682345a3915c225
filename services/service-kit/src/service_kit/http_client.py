"""The HTTP client for calls between services."""

import ssl
from functools import cache

import httpx

from service_kit.trace_context import propagate


def internal_client(base_url: str = "", *, timeout: float = 5.0) -> httpx.AsyncClient:
    """A client that propagates the trace of the current request and ignores proxies of the environment.

    `timeout` is in seconds.
    """
    return httpx.AsyncClient(
        base_url=base_url,
        timeout=timeout,
        verify=trusted_authorities(),
        trust_env=False,
        event_hooks={"request": [propagate]},
    )


@cache
def trusted_authorities() -> ssl.SSLContext:
    """Shared by all clients: it takes 20 ms to load the certificates of the authorities."""
    return httpx.create_ssl_context(trust_env=False)
