"""A few faults of `make faults`, and that its negative controls are found out; docs/faults.md has the whole suite."""

import random
from collections.abc import AsyncIterator

import pytest

from embedded_stack import Stack
from faults.catalogue.base import Fault
from faults.catalogue.databases import ConnectionsKilled
from faults.catalogue.processes import KillBeforeCommit
from faults.catalogue.records import Poison, StaleEvents, TailReplayed
from faults.controls import try_controls
from faults.reconciling import reconcile
from faults.system import System, system_of
from faults.trial import Trial

SEED = 20
SELECTION: tuple[Fault, ...] = (StaleEvents(), Poison(), TailReplayed(), ConnectionsKilled(), KillBeforeCommit())


@pytest.fixture
async def system(breakable_stack: Stack) -> AsyncIterator[System]:
    async with system_of(breakable_stack) as system:
        yield system


@pytest.fixture
async def trial(system: System) -> AsyncIterator[Trial]:
    rng = random.Random(SEED)  # noqa: S311 - a test that can be repeated
    trial = Trial.begin(system, rng, lambda _: None, writers=4, rate=40)
    yield trial
    await trial.writers.stop()
    # Others use this system too, and the controls spoil its copies.
    await reconcile(trial.system)


@pytest.mark.long
async def test_faults_lose_nothing_and_controls_are_detected(trial: Trial) -> None:
    rng = random.Random(SEED)  # noqa: S311 - a test that can be repeated
    assert await trial.inspect() == []

    done = await trial.round(SELECTION, rng)

    assert done.wrong == []
    assert sum(each.duplicates for each in done.injections) > 0
    assert trial.system.letters.arrived
    assert trial.system.journal.acknowledged > 0
    assert [control.name for control in await try_controls(trial, rng) if not control.wrong] == []
