"""Connectors that begin anew."""

import asyncio
import random
import time

from embedded_stack import StackError
from faults.catalogue.base import Fault, now
from faults.system import Gap, System

_DEADLINE_SECONDS = 60.0
_LOOK_SECONDS = 0.2


class SnapshotAnew(Fault):
    """The connector forgets how far it was and reads everything again: stop, DELETE offsets, resume.

    What is deleted between where it was and the snapshot is in neither: a gap.
    """

    def __init__(self, connector: str) -> None:
        self.name = f"new snapshot of {connector}"
        self.weight = 3
        self._path = f"/connectors/{connector}"

    async def inject(self, system: System, rng: random.Random) -> float:  # noqa: ARG002 - nothing to choose
        deadline = time.monotonic() + _DEADLINE_SECONDS
        await self._insist(system, "PUT", "/stop", deadline)
        system.gap = system.gap or Gap.DELETES
        await self._insist(system, "DELETE", "/offsets", deadline)
        await self._insist(system, "PUT", "/resume", deadline)
        return now()

    async def _insist(self, system: System, method: str, path: str, deadline: float) -> None:
        """Connect refuses while it settles, and offsets of a connector that has not stopped yet."""
        while not (answer := await system.connect.request(method, self._path + path)).is_success:
            if time.monotonic() > deadline:
                raise StackError(f"Connect does not {method} {self._path}{path}: {answer.text[:300]}")
            await asyncio.sleep(_LOOK_SECONDS)
