"""Faults of connectors."""

import asyncio
import random
import time

from embedded_stack import StackError
from faults.catalogue.base import Fault, now
from faults.system import Gap, System

_DEADLINE_SECONDS = 60.0
_RETRY_SECONDS = 0.2


class NewSnapshot(Fault):
    """The connector loses its offsets and takes a new snapshot: stop, DELETE offsets, resume.

    Deletes between its last offset and the snapshot are in neither: a gap.
    """

    def __init__(self, connector: str) -> None:
        self.name = f"new snapshot of {connector}"
        self.weight = 3
        self._path = f"/connectors/{connector}"

    async def inject(self, system: System, rng: random.Random) -> float:  # noqa: ARG002 - no random choice
        deadline = time.monotonic() + _DEADLINE_SECONDS
        await self._request(system, "PUT", "/stop", deadline)
        system.gap = system.gap or Gap.DELETES
        await self._request(system, "DELETE", "/offsets", deadline)
        await self._request(system, "PUT", "/resume", deadline)
        return now()

    async def _request(self, system: System, method: str, path: str, deadline: float) -> None:
        """Retry: Connect refuses during a rebalance, and until the connector has stopped."""
        while not (response := await system.connect.request(method, self._path + path)).is_success:
            if time.monotonic() > deadline:
                raise StackError(f"Connect does not {method} {self._path}{path}: {response.text[:300]}")
            await asyncio.sleep(_RETRY_SECONDS)
