"""A few faults of `make faults TOPOLOGY=ha`; docs/faults.md describes the whole suite."""

import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from faults.catalogue.base import Fault
from faults.catalogue.failover import BrokerKilled, PrimaryBehind, Promotion, WorkerKilled
from faults.system import HIGHLY_AVAILABLE, System, fault_stack, system_of
from faults.trial import Trial

pytestmark = [pytest.mark.integration, pytest.mark.long]

SEED = 19
SELECTION: tuple[Fault, ...] = (PrimaryBehind(), Promotion(), BrokerKilled(), WorkerKilled())


@pytest.fixture
async def system(log_folder: Path) -> AsyncIterator[System]:
    with fault_stack(lambda _: None, HIGHLY_AVAILABLE, log_folder / "failovers") as stack:
        async with system_of(stack) as system:
            yield system


async def test_failovers_lose_no_data(system: System) -> None:
    rng = random.Random(SEED)  # noqa: S311 - a test that can be repeated
    trial = Trial.begin(system, rng, lambda _: None, writers=4, rate=20)
    try:
        done = await trial.round(SELECTION, rng)
    finally:
        await trial.writers.stop()
    assert done.violations == []
    assert system.expected.acknowledged > 0
    assert trial.regressions.observed > 0
