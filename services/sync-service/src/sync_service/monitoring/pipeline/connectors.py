"""How the connectors are, by the word of the registrar.

It watches Kafka Connect anyway. To ask Connect itself would take more rights than to look: its REST interface has no
side that only reads, and it hands out the configuration of the connectors, with the passwords of the databases.
"""

from collections.abc import Sequence

import httpx
from pydantic import TypeAdapter, ValidationError

from sync_service.monitoring.pipeline.schemas import Connector
from sync_service.probe import ProbeFailed, probing

_answer = TypeAdapter(list[Connector])


class ConnectorProbe:
    """`address` is the registrar's; without one, nothing is known."""

    def __init__(self, address: str | None, http: httpx.AsyncClient) -> None:
        self._address = address
        self._http = http

    async def probe(self) -> Sequence[Connector]:
        """Raises `ProbeFailed`."""
        if self._address is None:
            raise ProbeFailed("REGISTRAR_URL is not set")
        async with probing(httpx.HTTPError, ValidationError):
            answer = await self._http.get(f"{self._address.rstrip('/')}/v1/connectors")
            return _answer.validate_json(answer.raise_for_status().content)
