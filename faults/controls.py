"""Negative controls: a sync that is broken on purpose, and the fault that must bring it to light."""

import asyncio
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from faults.careless import CarelessSync
from faults.catalogue import Fault
from faults.catalogue.databases import KillBeforeWrite
from faults.catalogue.records import StaleEvents
from faults.report import Control, Round
from faults.trial import Trial


@dataclass(frozen=True)
class Flaw:
    """`sign` is how findings begin that come of it and of nothing else that is going on."""

    fault: Fault
    sign: re.Pattern[str]


FLAWS: Mapping[str, Flaw] = {
    "commits-first": Flaw(KillBeforeWrite(), re.compile(r"copy differs: [^:]+: (missing|extra|different)\b")),
    "unguarded": Flaw(StaleEvents(), re.compile(r"went back: |copy differs: [^:]+: extra\b")),
}
# A row that is lost is not coming, so there is nothing to wait for; a sound system takes a fraction of it.
SETTLING_SECONDS = 5.0
_ATTEMPTS = 3


class Rounds(Protocol):
    """What a control needs of a `Trial`."""

    async def inspect(self) -> list[str]: ...

    async def round(self, faults: Sequence[Fault], rng: random.Random) -> Round: ...


async def try_controls(trial: Trial, rng: random.Random) -> list[Control]:
    """Each in place of the sync, until it is found out, some times at most. The copies are spoilt afterwards."""
    stack, settling = trial.system.stack, trial.settling
    sound = stack.components["sync"]
    trial.settling = SETTLING_SECONDS
    controls = []
    try:
        for how in FLAWS:
            trial.say(f"control: {how}")
            stack.components["sync"] = CarelessSync(stack.components["sync"].environment, how)
            await asyncio.to_thread(stack.restart, "sync")
            controls.append(await find_out(trial, how, rng))
        return controls
    finally:
        trial.settling = settling
        stack.components["sync"] = sound
        await asyncio.to_thread(stack.restart, "sync")


async def find_out(trial: Rounds, how: str, rng: random.Random) -> Control:
    """What is found of the flaw of the sync that runs, and of no other: that a system does not recover tells nothing
    of what it does to rows, and what the one before has left behind is not this one's.
    """
    flaw = FLAWS[how]
    await trial.inspect()
    found: list[str] = []
    for _ in range(_ATTEMPTS):
        found += filter(flaw.sign.match, (await trial.round([flaw.fault], rng)).wrong)
        if found:
            break
    return Control(how, flaw.fault.name, found)
