"""The state of the connectors, as the registrar reports it.

The registrar watches Kafka Connect anyway. Connect's own REST interface has no read-only access, and returns the
configuration of the connectors with the passwords of the databases.
"""

from collections.abc import Sequence

import httpx
from pydantic import TypeAdapter, ValidationError

from sync_service.monitoring.pipeline.schemas import Connector
from sync_service.probe import ProbeFailed, probing

_answer = TypeAdapter(list[Connector])


class ConnectorProbe:
    """`address` is that of the registrar. Without one the state is unknown."""

    def __init__(self, address: str | None, http: httpx.AsyncClient) -> None:
        self._address = address
        self._http = http

    @property
    def has_registrar(self) -> bool:
        return self._address is not None

    async def probe(self) -> Sequence[Connector]:
        """Raises `ProbeFailed`."""
        if self._address is None:
            raise ProbeFailed("REGISTRAR_URL is not set")
        async with probing(httpx.HTTPError, ValidationError):
            answer = await self._http.get(f"{self._address.rstrip('/')}/v1/connectors")
            return _answer.validate_json(answer.raise_for_status().content)
