"""The faults that a seed selects, in order. No I/O."""

import random
from collections.abc import Sequence

from faults.catalogue.base import Fault

# Faults of a round are injected without a wait for recovery between them.
MAX_FAULTS_PER_ROUND = 3


def plan(catalogue: Sequence[Fault], total: int, rng: random.Random) -> list[list[Fault]]:
    """Return rounds with `total` faults: each fault once if `total` allows, the rest chosen by weight."""
    chosen = list(catalogue) if total >= len(catalogue) else rng.sample(list(catalogue), total)
    chosen += rng.choices(catalogue, weights=[fault.weight for fault in catalogue], k=total - len(chosen))
    rng.shuffle(chosen)
    rounds: list[list[Fault]] = []
    room = 0
    for fault in chosen:
        if fault.exclusive:
            rounds.append([fault])
            room = 0
        elif room:
            rounds[-1].append(fault)
            room -= 1
        else:
            rounds.append([fault])
            room = rng.randrange(MAX_FAULTS_PER_ROUND)
    return rounds
