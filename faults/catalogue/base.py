"""What a fault is."""

import asyncio
import random
import time
from abc import ABC, abstractmethod

from faults.system import System


class Fault(ABC):
    """One way to break the system.

    `weight` is how often it is chosen beside others, once each has been. One that `takes_all` has a round to itself.
    """

    name: str
    weight: int = 3
    takes_all: bool = False

    @abstractmethod
    async def inject(self, system: System, rng: random.Random) -> float:
        """Break it, and mend what a supervisor or an operator would mend.

        Returns the moment (`time.monotonic`) from which on recovery is counted: when the process was killed, the
        pause ended, the database was let up again.
        """


async def moment(rng: random.Random, shortest: float, longest: float) -> None:
    """Wait for a while that the seed decides, in seconds."""
    await asyncio.sleep(rng.uniform(shortest, longest))


now = time.monotonic
