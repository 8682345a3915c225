"""People who are in two minds."""

import random

from faults.catalogue.base import Fault, now
from faults.system import System
from faults.writers import Refused, Unknown


class MadeAnew(Fault):
    """The same keys are inserted, deleted and inserted again, as fast as REST lets them."""

    name = "deleted and made anew"
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
        except (Refused, Unknown):
            # Something else is broken too; the journal knows how far it came.
            pass
        return now()
