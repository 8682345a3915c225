"""Negative controls: mutants of sync-service, and the fault that must reveal each."""

import asyncio
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from faults.catalogue import Fault
from faults.catalogue.databases import KillBeforeWrite
from faults.catalogue.records import StaleEvents
from faults.mutants import MutantSync
from faults.report import Control, Round
from faults.trial import Trial


@dataclass(frozen=True)
class Mutant:
    """`symptom` matches the violations that only this defect causes."""

    fault: Fault
    symptom: re.Pattern[str]


MUTANTS: Mapping[str, Mutant] = {
    "commits-first": Mutant(KillBeforeWrite(), re.compile(r"copy differs: [^:]+: (missing|extra|different)\b")),
    "unguarded": Mutant(StaleEvents(), re.compile(r"regression: |copy differs: [^:]+: extra\b")),
}
# A lost row never arrives, so a long wait would be wasted; a correct system converges much faster.
CONVERGENCE_SECONDS = 5.0
_ATTEMPTS = 3


class Rounds(Protocol):
    """The part of `Trial` that a control needs."""

    async def inspect(self) -> list[str]: ...

    async def round(self, faults: Sequence[Fault], rng: random.Random) -> Round: ...


async def run_controls(trial: Trial, rng: random.Random) -> list[Control]:
    """Run each mutant until it is detected, up to `_ATTEMPTS` rounds. The copies are damaged afterwards."""
    stack, convergence_seconds = trial.system.stack, trial.convergence_seconds
    original = stack.components["sync"]
    trial.convergence_seconds = CONVERGENCE_SECONDS
    controls = []
    try:
        for name in MUTANTS:
            trial.say(f"control: {name}")
            stack.components["sync"] = MutantSync(stack.components["sync"].environment, name)
            await asyncio.to_thread(stack.restart, "sync")
            controls.append(await detect(trial, name, rng))
        return controls
    finally:
        trial.convergence_seconds = convergence_seconds
        stack.components["sync"] = original
        await asyncio.to_thread(stack.restart, "sync")


async def detect(trial: Rounds, name: str, rng: random.Random) -> Control:
    """Collect the violations that this mutant causes.

    A failed recovery doesn't count, because it says nothing about rows. Nor does damage that the previous mutant left:
    the first `inspect` reports it.
    """
    mutant = MUTANTS[name]
    await trial.inspect()
    found: list[str] = []
    for _ in range(_ATTEMPTS):
        found += filter(mutant.symptom.match, (await trial.round([mutant.fault], rng)).violations)
        if found:
            break
    return Control(name, mutant.fault.name, found)
