"""The consumer group: members that come and go, offsets that are set back."""

import random

from faults.catalogue.base import Fault, moment, now
from faults.system import SESSION_TIMEOUT_MS, System


class RebalanceStorm(Fault):
    """A member that joins and leaves again and again; each time all partitions are given away anew."""

    name = "rebalance storm"
    weight = 8

    async def inject(self, system: System, rng: random.Random) -> float:
        for _ in range(rng.randint(2, 5)):
            async with system.topics.guest(SESSION_TIMEOUT_MS):
                await moment(rng, 0, 1.5)
            await moment(rng, 0, 0.5)
        return now()


class SetBack(Fault):
    """The group's offsets are set back while nobody is in it: by some events, or (None) to the start."""

    def __init__(self, name: str, most: int | None, weight: int) -> None:
        self.name = name
        self.weight = weight
        self._most = most

    async def inject(self, system: System, rng: random.Random) -> float:
        await system.counts.look()
        await system.stop("sync")
        by = None if self._most is None else rng.randint(1, self._most)
        await system.topics.set_back(by, SESSION_TIMEOUT_MS)
        await system.start("sync")
        return now()
