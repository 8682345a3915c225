"""Faults of the consumer group: rebalances, rewound offsets."""

import random

from faults.catalogue.base import Fault, now, random_pause
from faults.system import SESSION_TIMEOUT_MS, System


class RebalanceStorm(Fault):
    """A member joins and leaves several times; each time all partitions are assigned again."""

    name = "rebalance storm"
    weight = 8

    async def inject(self, system: System, rng: random.Random) -> float:
        for _ in range(rng.randint(2, 5)):
            async with system.topics.idle_member(SESSION_TIMEOUT_MS):
                await random_pause(rng, 0, 1.5)
            await random_pause(rng, 0, 0.5)
        return now()


class OffsetsRewound(Fault):
    """Rewind the offsets of the empty group, by up to `most` events, or to the start (None)."""

    def __init__(self, name: str, most: int | None, weight: int) -> None:
        self.name = name
        self.weight = weight
        self._most = most

    async def inject(self, system: System, rng: random.Random) -> float:
        await system.counts.sample()
        await system.stop("sync")
        by = None if self._most is None else rng.randint(1, self._most)
        await system.topics.rewind(by, SESSION_TIMEOUT_MS)
        await system.start("sync")
        return now()
