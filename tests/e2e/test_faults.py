"""A few faults of `make faults` and its negative controls; docs/faults.md describes the whole suite."""

import random
from collections.abc import AsyncIterator

import pytest

from embedded_stack import Stack
from faults.catalogue.base import Fault
from faults.catalogue.consumer_group import OffsetsRewound
from faults.catalogue.databases import ConnectionsKilled
from faults.catalogue.processes import KillBeforeCommit
from faults.catalogue.records import Poison, StaleEvents, TailReplayed
from faults.controls import run_controls
from faults.reconcile import reconcile
from faults.system import System, system_of
from faults.trial import Trial

SEED = 20
# Offsets that are set back are redelivered for certain; of a slow system, the other faults may find nothing to repeat.
SELECTION: tuple[Fault, ...] = (
    StaleEvents(),
    Poison(),
    TailReplayed(),
    ConnectionsKilled(),
    KillBeforeCommit(),
    OffsetsRewound("offsets set back", 200, 1),
)


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
    # Other tests use this system, too, and the controls damage its copies.
    await reconcile(trial.system)


@pytest.mark.long
async def test_faults_lose_no_data_and_mutants_are_detected(trial: Trial) -> None:
    rng = random.Random(SEED)  # noqa: S311 - a test that can be repeated
    assert await trial.inspect() == []

    done = await trial.round(SELECTION, rng)

    assert done.violations == []
    assert sum(each.duplicates for each in done.injections) > 0
    assert trial.system.dead_letters.arrived
    assert trial.system.expected.acknowledged > 0
    assert [control.name for control in await run_controls(trial, rng) if not control.violations] == []
