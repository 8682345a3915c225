"""Which faults a seed stands for, in which order. No I/O."""

import random
from collections.abc import Sequence

from faults.catalogue.base import Fault

# So many at most are injected one right after the other, before the system is given time to recover.
MOST_TOGETHER = 3


def plan(catalogue: Sequence[Fault], total: int, rng: random.Random) -> list[list[Fault]]:
    """Rounds of faults, `total` in all: each fault once as far as that goes, the others by their weights."""
    chosen = list(catalogue) if total >= len(catalogue) else rng.sample(list(catalogue), total)
    chosen += rng.choices(catalogue, weights=[fault.weight for fault in catalogue], k=total - len(chosen))
    rng.shuffle(chosen)
    rounds: list[list[Fault]] = []
    room = 0
    for fault in chosen:
        if fault.takes_all:
            rounds.append([fault])
            room = 0
        elif room:
            rounds[-1].append(fault)
            room -= 1
        else:
            rounds.append([fault])
            room = rng.randrange(MOST_TOGETHER)
    return rounds
