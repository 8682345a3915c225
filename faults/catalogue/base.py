"""The interface of a fault."""

import asyncio
import random
import time
from abc import ABC, abstractmethod

from faults.system import System


class Fault(ABC):
    """One way to break the system.

    A plan has every fault once, and fills up by `weight`. An `exclusive` fault is alone in its round.
    """

    name: str
    weight: int = 3
    exclusive: bool = False

    @abstractmethod
    async def inject(self, system: System, rng: random.Random) -> float:
        """Break the system, then do what a supervisor or an operator would do.

        Returns the time (`time.monotonic`) from which recovery is measured: when the process was killed, the pause
        ended or the database was started again.
        """


async def random_pause(rng: random.Random, shortest: float, longest: float) -> None:
    """Wait for a number of seconds that `rng` chooses."""
    await asyncio.sleep(rng.uniform(shortest, longest))


now = time.monotonic
