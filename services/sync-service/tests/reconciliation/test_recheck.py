"""A change that is on its way is no difference, and a difference that stays is one."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from embedded_stack import Stack
from support.comparison_harness import NUMBERED, ComparisonHarness, Tweets, Users, counts
from support.polling import eventually
from sync_service.reconciliation.recheck import PAUSES_SECONDS
from sync_service.reconciliation.topic_progress import TopicProgress
from sync_service.sinks.rows import CannotCompare


async def test_suspects_of_two_ranges_are_rechecked_one_after_the_other(
    comparison: ComparisonHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They ask the broker by the same consumer, and each has it read what it is about."""
    await comparison.both(NUMBERED)
    for number in NUMBERED:
        await comparison.direction.corrupt(number, "wrong")
    monkeypatch.setattr("sync_service.reconciliation.compare.SUSPECTS_AT_ONCE", 5)
    asking, most = 0, 0

    def watched(ask: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def ask_and_count(*arguments: Any) -> Any:
            nonlocal asking, most
            asking += 1
            most = max(most, asking)
            try:
                return await ask(*arguments)
            finally:
                asking -= 1

        return ask_and_count

    for name in ("caught_up", "newest"):
        monkeypatch.setattr(TopicProgress, name, watched(getattr(TopicProgress, name)))
    assert counts(await comparison.compare(repair=True)) == (0, 0, 30, 0, 30)
    assert most == 1
    assert await comparison.direction.copied() == NUMBERED


async def test_concurrent_writes_are_no_differences(comparison: ComparisonHarness) -> None:
    """Every event is held back for a while, so that the copy is always behind."""
    direction = comparison.direction
    runner = comparison.start_sync()
    expected = dict.fromkeys(range(40), "0")
    for number, content in expected.items():
        await direction.put(number, content)
        await comparison.send(direction.event(number, content, op="c", place=number + 1))
    await eventually(direction.copied, lambda rows: len(rows) == 40)
    stop, sent = asyncio.Event(), 0

    async def write() -> None:
        nonlocal sent
        while not stop.is_set():
            number = (7 * sent) % 40
            sent += 1
            if sent % 5 == 0 and number in expected:
                await direction.remove(number)
                del expected[number]
                event = direction.event(number, "", op="d", place=sent + 100)
            else:
                expected[number] = str(sent)
                await direction.put(number, str(sent))
                event = direction.event(number, str(sent), place=sent + 100)
            await asyncio.sleep(0.02)
            await comparison.send(event)

    writing = asyncio.create_task(write())
    reports = [await comparison.compare(repair=repair, pauses=PAUSES_SECONDS) for repair in (False, True, False)]
    stop.set()
    await writing
    assert sent > 1
    assert [report.found for report in reports] == [0, 0, 0]
    await eventually(direction.copied, lambda rows: rows == expected)
    assert runner.problem is None
    report = await comparison.compare()
    assert (report.found, report.unsettled) == (0, 0)


async def test_events_that_are_not_applied_leave_rows_unsettled(comparison: ComparisonHarness) -> None:
    await comparison.both(NUMBERED)
    await comparison.direction.put(1, "new")
    await comparison.send(comparison.direction.event(1, "new", place=2))
    report = await comparison.compare(patience=0.5)
    assert (counts(report), report.is_lagging) == ((0, 0, 0, 1, 0), True)
    assert not report.is_in_agreement
    assert await comparison.direction.copied() == NUMBERED


async def test_database_failure_during_a_comparison_is_one_sentence(
    comparison: ComparisonHarness, stack: Stack
) -> None:
    await comparison.both(NUMBERED)
    looks = 0
    checksum = comparison.target.copy.checksum

    async def dying(within: Any) -> Any:
        nonlocal looks
        looks += 1
        if looks == 2:
            stack.kill("mysql")
        return await checksum(within)

    comparison.target.copy.checksum = dying  # type: ignore[method-assign]
    try:
        with pytest.raises(CannotCompare, match="MySQL can't be read"):
            await comparison.compare()
    finally:
        await asyncio.to_thread(stack.start, "mysql")
        if isinstance(comparison.direction, Users | Tweets):
            await comparison.direction.engine.dispose()
