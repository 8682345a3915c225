"""Kafka Connect's REST interface, as far as the registrar uses it."""

from collections.abc import Mapping
from typing import Any

import httpx

_CONFLICT = 409  # a rebalance is going on; the next look tries again


class ConnectClient:
    """Raises `httpx.HTTPError` if Connect does not answer, or answers with an error."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def connectors(self) -> dict[str, dict[str, Any]]:
        """Every connector by its name, with `info` (its config) and `status`."""
        answer = await self._client.get("/connectors", params=[("expand", "info"), ("expand", "status")])
        answer.raise_for_status()
        known: dict[str, dict[str, Any]] = answer.json()
        return known

    async def put(self, name: str, config: Mapping[str, str]) -> None:
        self._check(await self._client.put(f"/connectors/{name}/config", json=dict(config)))

    async def restart(self, name: str) -> None:
        """Restart the connector and all its tasks, whatever state they claim to be in."""
        parameters = {"includeTasks": "true", "onlyFailed": "false"}
        self._check(await self._client.post(f"/connectors/{name}/restart", params=parameters))

    @staticmethod
    def _check(answer: httpx.Response) -> None:
        if answer.status_code != _CONFLICT:
            answer.raise_for_status()
