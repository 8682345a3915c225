"""Faults that users cause through REST."""

import random

from faults.catalogue.base import Fault, now
from faults.system import System
from faults.writers import OutcomeUnknown, Rejected


class DeleteRecreate(Fault):
    """Insert, delete and insert the same keys again, as fast as REST allows."""

    name = "delete and recreate"
    weight = 5

    async def inject(self, system: System, rng: random.Random) -> float:
        client = system.client
        try:
            ada, bob = await client.register(), await client.register()
            tweet = await client.tweet(ada, "Like me, or not")
            for _ in range(rng.randint(2, 6)):
                await client.like(tweet, bob)
                await client.unlike(tweet, bob)
                await client.follow(bob, ada)
                await client.unfollow(bob, ada)
            if rng.random() < 0.5:
                await client.like(tweet, ada)
        except (Rejected, OutcomeUnknown):
            # Another fault of the round is still active. `ExpectedState` has recorded each outcome.
            pass
        return now()
