"""Range after range of a copy is proven equal to its source, over restarts, and what differs is found."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from service_kit.kafka import KafkaClients
from support.built_in_routes import built_in_declarations
from support.comparison_harness import NUMBERED, SHORT_PAUSES, ComparisonHarness
from support.polling import eventually
from sync_service.kafka.gaps import Gap, Gaps
from sync_service.proof import prover
from sync_service.proof.prover import Prover, RouteProver
from sync_service.proof.ranges import ProvenRange, RangeChange
from sync_service.proof.store import Proof, ProofStore
from sync_service.reconciliation.compare import Comparison
from sync_service.reconciliation.reports import RouteReport
from sync_service.reconciliation.topic_progress import TopicProgress
from sync_service.routes.config import Route
from sync_service.sinks.base import Unavailable
from sync_service.sinks.rows import CannotCompare

ROWS = 7


@pytest.fixture
async def store(engine: AsyncEngine) -> AsyncIterator[ProofStore]:
    yield ProofStore(engine)
    async with engine.begin() as connection:
        for table in ("sync_proofs", "sync_proven_ranges"):
            await connection.execute(text(f"DELETE FROM {table}"))  # noqa: S608 - names of ours


NewProver = Callable[..., RouteProver]


@pytest.fixture
async def new_prover(comparison: ComparisonHarness, store: ProofStore) -> AsyncIterator[NewProver]:
    """Each is that of another process."""
    group = comparison.settings.sync_group_id
    clients = KafkaClients.of(comparison.settings)
    async with TopicProgress(clients, comparison.route.topic, group, patience=5) as topic:

        def new(**options: Any) -> RouteProver:
            made = RouteProver(comparison.route, store, comparison.target, topic, **{"repair": False, **options})
            # No connector is between the sources and the copies.
            made._options = replace(made._options, pauses=SHORT_PAUSES)
            return made

        yield new


async def proof_of(comparison: ComparisonHarness, store: ProofStore) -> Proof:
    return (await store.proofs())[comparison.route.name]


async def prove_all(route_prover: RouteProver) -> int:
    """Compare until every proof is young. Returns the number of compared ranges."""
    steps = 0
    while await route_prover.step(ROWS) is not None:
        steps += 1
    return steps


async def test_every_row_is_proven_range_after_range(
    comparison: ComparisonHarness, store: ProofStore, new_prover: NewProver
) -> None:
    await comparison.both(NUMBERED)
    route_prover = new_prover()
    await route_prover.step(ROWS)
    first = await proof_of(comparison, store)
    assert (first.rows, first.different, first.oldest_at, first.problem) == (ROWS, 0, None, None)
    assert 0 < first.share < 1
    await prove_all(route_prover)
    proof = await proof_of(comparison, store)
    assert (proof.rows, proof.different, proof.share) == (30, 0, 1.0)
    assert proof.oldest_at is not None


async def test_another_process_continues_with_what_is_not_proven(
    comparison: ComparisonHarness, store: ProofStore, new_prover: NewProver
) -> None:
    await comparison.both(NUMBERED)
    for _ in range(2):
        assert await new_prover().step(ROWS) is not None
    assert (await proof_of(comparison, store)).rows == 2 * ROWS
    assert await prove_all(new_prover()) == 3
    assert await prove_all(new_prover()) == 0


async def test_row_that_was_broken_by_hand_is_found_and_stays_found_until_it_is_right(
    comparison: ComparisonHarness, store: ProofStore, new_prover: NewProver, monkeypatch: pytest.MonkeyPatch
) -> None:
    await comparison.both(NUMBERED)
    await prove_all(new_prover())
    await comparison.direction.corrupt(11, "wrong")
    monkeypatch.setattr(prover, "PROOF_SECONDS", 0.0)
    route_prover = new_prover()
    for _ in range(5):
        await route_prover.step(ROWS)
    proof = await proof_of(comparison, store)
    assert (proof.rows, proof.different) == (29, 1)
    await comparison.direction.corrupt(11, NUMBERED[11])
    for _ in range(5):
        await route_prover.step(ROWS)
    proof = await proof_of(comparison, store)
    assert (proof.rows, proof.different) == (30, 0)


async def test_range_with_different_rows_is_compared_again_before_all_others_are(
    comparison: ComparisonHarness, store: ProofStore, new_prover: NewProver, monkeypatch: pytest.MonkeyPatch
) -> None:
    await comparison.both(NUMBERED)
    await comparison.direction.corrupt(0, "wrong")
    await prove_all(new_prover())
    assert (await proof_of(comparison, store)).different == 1
    await comparison.direction.corrupt(0, NUMBERED[0])
    monkeypatch.setattr(prover, "PROOF_SECONDS", 0.0)
    route_prover = new_prover()
    for _ in range(2):
        await route_prover.step(ROWS)
    assert (await proof_of(comparison, store)).different == 0


async def test_rows_are_repaired_only_if_that_is_wanted(
    comparison: ComparisonHarness, store: ProofStore, new_prover: NewProver
) -> None:
    await comparison.both(NUMBERED)
    await comparison.direction.corrupt(11, "wrong")
    await prove_all(new_prover(repair=True))
    proof = await proof_of(comparison, store)
    assert (proof.rows, proof.different) == (30, 0)
    assert await comparison.direction.copied() == NUMBERED


async def test_ranges_follow_the_rows_that_come_and_go(
    comparison: ComparisonHarness, store: ProofStore, new_prover: NewProver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prover, "PROOF_SECONDS", 0.0)
    await comparison.both(NUMBERED)
    route_prover = new_prover()
    for _ in range(5):
        await route_prover.step(ROWS)
    more = dict.fromkeys(range(30, 75), "more")
    await comparison.both(more)
    for number in range(20):
        await comparison.direction.remove(number)
        await comparison.copy(number, "", op="d")
    for _ in range(40):
        await route_prover.step(ROWS)
    ranges = await store.load(comparison.route)
    rows = [ranges[place].rows for place in range(len(ranges))]
    assert sum(rows) == 55
    assert max(rows) <= 2 * ROWS
    assert len(rows) <= 12
    proof = await proof_of(comparison, store)
    assert (proof.rows, proof.different, proof.share) == (55, 0, 1.0)


async def test_range_that_has_grown_is_not_compared_as_one(
    comparison: ComparisonHarness, store: ProofStore, new_prover: NewProver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that were loaded since would be compared without the pauses."""
    monkeypatch.setattr(prover, "PROOF_SECONDS", 0.0)
    await comparison.both({number: text for number, text in NUMBERED.items() if number % 10 == 0})
    route_prover, run = new_prover(), Comparison.run
    await route_prover.step(ROWS)
    compared: list[int] = []

    async def noted(comparing: Comparison) -> RouteReport:
        report = await run(comparing)
        compared.append(report.rows)
        return report

    await comparison.both({number: text for number, text in NUMBERED.items() if number % 10 != 0})
    monkeypatch.setattr(Comparison, "run", noted)
    for _ in range(8):
        await route_prover.step(ROWS)
    assert max(compared) <= 2 * ROWS
    assert (await proof_of(comparison, store)).rows == 30


async def test_row_that_changes_all_the_time_does_not_keep_others_from_being_proven(
    comparison: ComparisonHarness, store: ProofStore, new_prover: NewProver, monkeypatch: pytest.MonkeyPatch
) -> None:
    await comparison.both(NUMBERED)
    route_prover, run = new_prover(), Comparison.run

    async def unsettled_at_the_beginning(compared: Comparison) -> RouteReport:
        report = await run(compared)
        assert compared.only is not None
        report.unsettled = int(compared.only.lower is None)
        return report

    monkeypatch.setattr(Comparison, "run", unsettled_at_the_beginning)
    for _ in range(8):
        await route_prover.step(ROWS)
    proof = await proof_of(comparison, store)
    assert (proof.rows, proof.different, proof.oldest_at) == (30 - ROWS, 0, None)
    monkeypatch.setattr(Comparison, "run", run)
    for _ in range(8):
        await route_prover.step(ROWS)
    assert (await proof_of(comparison, store)).rows == 30


async def test_change_of_ranges_is_stored_whole_or_not_at_all(
    comparison: ComparisonHarness, store: ProofStore, new_prover: NewProver
) -> None:
    await comparison.both(NUMBERED)
    await prove_all(new_prover())
    before = await store.load(comparison.route)
    impossible = ProvenRange(before[1].number, None, rows=2**70)
    with pytest.raises(Unavailable):
        await store.change(comparison.route.name, RangeChange([impossible], [before[0].number]))
    after = await store.load(comparison.route)
    assert [after[place] for place in range(len(after))] == [before[place] for place in range(len(before))]


async def test_nothing_stays_proven_of_a_route_that_copies_other_fields(
    comparison: ComparisonHarness, store: ProofStore, new_prover: NewProver
) -> None:
    await comparison.both(NUMBERED)
    await prove_all(new_prover())
    fields = dict(list(comparison.route.fields.items())[:-1])
    other = comparison.route.model_copy(update={"fields": fields})
    assert len(await store.load(other)) == 1
    assert (await proof_of(comparison, store)).oldest_at is None


async def test_nothing_stays_proven_of_a_route_that_copies_other_rows(
    comparison: ComparisonHarness, store: ProofStore, new_prover: NewProver
) -> None:
    await comparison.both(NUMBERED)
    await prove_all(new_prover())
    route = comparison.route
    body = {**built_in_declarations()[route.name], "name": route.name, "topic": route.topic, "where": "1 == 2"}
    assert len(await store.load(Route.model_validate(body))) == 1


@pytest.mark.parametrize("changed_in", ["this process", "another process"])
async def test_route_that_is_changed_during_a_proof_stays_in_doubt(
    comparison: ComparisonHarness,
    store: ProofStore,
    new_prover: NewProver,
    monkeypatch: pytest.MonkeyPatch,
    *,
    engine: AsyncEngine,
    changed_in: str,
) -> None:
    monkeypatch.setattr(prover, "ESTIMATE_SECONDS", 0.0)
    monkeypatch.setattr(prover, "PROOF_SECONDS", 0.0)
    await comparison.both(NUMBERED)
    gaps, is_in_force = Gaps(engine), True
    route_prover = new_prover(is_in_force=lambda: is_in_force)
    for _ in range(6):
        await route_prover.step(ROWS)
    await gaps.record([Gap(comparison.route.topic, "t" * 32, 0, 5, 7, "they were deleted before they were read")])
    if changed_in == "this process":
        is_in_force = False
    else:
        fields = dict(list(comparison.route.fields.items())[:-1])
        await store.load(comparison.route.model_copy(update={"fields": fields}))
    for _ in range(12):
        await route_prover.step(ROWS)
    await gaps.refresh()
    assert len(gaps.of(comparison.route.topic)) == 1


async def test_complete_proof_ends_a_doubt_from_before_it(
    comparison: ComparisonHarness,
    engine: AsyncEngine,
    new_prover: NewProver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(prover, "ESTIMATE_SECONDS", 0.0)
    monkeypatch.setattr(prover, "PROOF_SECONDS", 0.0)
    await comparison.both(NUMBERED)
    await comparison.direction.corrupt(11, "wrong")
    gaps = Gaps(engine)
    await gaps.record([Gap(comparison.route.topic, "t" * 32, 0, 5, 7, "they were deleted before they were read")])
    route_prover = new_prover()
    for _ in range(12):
        await route_prover.step(ROWS)
    await gaps.refresh()
    assert len(gaps.of(comparison.route.topic)) == 1
    await comparison.direction.corrupt(11, NUMBERED[11])
    for _ in range(12):
        await route_prover.step(ROWS)
    await gaps.refresh()
    assert gaps.of(comparison.route.topic) == []


async def test_route_with_many_waiting_events_is_not_compared(
    comparison: ComparisonHarness, new_prover: NewProver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prover, "MOST_WAITING", 2)
    await comparison.send(*(comparison.direction.event(number, "x", place=number + 1) for number in range(3)))
    with pytest.raises(CannotCompare, match="more than 2 events wait"):
        await new_prover().step(ROWS)


async def none_is_incomplete(_topics: Sequence[str]) -> Mapping[str, str]:
    return {}


async def test_unexpected_error_of_one_route_does_not_keep_another_from_being_proven(
    comparison: ComparisonHarness, store: ProofStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await comparison.both(NUMBERED)
    step = RouteProver.step

    async def fail_for_one(route_prover: RouteProver) -> float | None:
        if route_prover._route.name == "odd":
            raise ZeroDivisionError
        return await step(route_prover)

    monkeypatch.setattr(RouteProver, "step", fail_for_one)
    odd = comparison.route.model_copy(update={"name": "odd"})
    routes = [odd, comparison.route]
    running = asyncio.create_task(
        Prover(comparison.settings, lambda: routes, lambda _topic: True, none_is_incomplete).run()
    )

    async def both() -> bool:
        proofs = await store.proofs()
        return {"odd", comparison.route.name} <= proofs.keys() and proofs[comparison.route.name].oldest_at is not None

    await eventually(both)
    assert (await store.proofs())["odd"].problem == "unexpected error: ZeroDivisionError: "
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_route_is_proven_once_the_snapshot_of_its_source_has_ended(
    comparison: ComparisonHarness, store: ProofStore
) -> None:
    await comparison.both(NUMBERED)
    routes, reasons = [comparison.route], {comparison.route.topic: "a snapshot copies its rows"}

    async def incomplete(_topics: Sequence[str]) -> Mapping[str, str]:
        return reasons

    running = asyncio.create_task(Prover(comparison.settings, lambda: routes, lambda _topic: True, incomplete).run())
    await eventually(store.proofs, lambda proofs: comparison.route.name in proofs)
    proof = await proof_of(comparison, store)
    assert (proof.problem, proof.rows, proof.oldest_at) == ("a snapshot copies its rows", 0, None)
    reasons.clear()
    proven = await eventually(lambda: proof_of(comparison, store), lambda proof: proof.oldest_at is not None)
    assert (proven.problem, proven.different) == (None, 0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_one_process_of_two_proves_and_another_one_follows_it(
    comparison: ComparisonHarness, store: ProofStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, seconds in (("PROOF_SECONDS", 0.0), ("LOCK_SECONDS", 0.2), ("IDLE_SECONDS", 0.2)):
        monkeypatch.setattr(prover, name, seconds)
    await comparison.both(NUMBERED)
    settings = comparison.settings.model_copy(update={"sync_proof_share": 0.5})
    stopped: set[str] = set()
    routes = [comparison.route]
    running = [
        asyncio.create_task(
            Prover(settings, lambda: routes, lambda topic: topic not in stopped, none_is_incomplete).run()
        )
        for _ in range(2)
    ]

    async def newest() -> float:
        oldest = (await proof_of(comparison, store)).oldest_at if await store.proofs() else None
        return oldest.timestamp() if oldest else 0.0

    first = await eventually(newest)
    running[0].cancel()
    await asyncio.gather(running[0], return_exceptions=True)
    second = await eventually(newest, lambda at: at > first)
    assert second > first
    running[1].cancel()
    await asyncio.gather(running[1], return_exceptions=True)
