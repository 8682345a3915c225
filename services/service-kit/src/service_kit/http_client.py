"""The HTTP client for calls between services."""

import httpx

from service_kit.trace_context import propagate


def internal_client(base_url: str = "", *, timeout: float = 5.0) -> httpx.AsyncClient:
    """A client that propagates the trace of the current request and ignores proxies of the environment.

    `timeout` is in seconds.
    """
    return httpx.AsyncClient(base_url=base_url, timeout=timeout, trust_env=False, event_hooks={"request": [propagate]})
