"""The client by which one service calls another."""

import httpx

from service_kit.trace_context import propagate


def internal_client(base_url: str = "", *, timeout: float = 5.0) -> httpx.AsyncClient:
    """Calls belong to the trace of the request that makes them. `timeout` is in seconds.

    A proxy of the environment is not meant for internal traffic.
    """
    return httpx.AsyncClient(base_url=base_url, timeout=timeout, trust_env=False, event_hooks={"request": [propagate]})
