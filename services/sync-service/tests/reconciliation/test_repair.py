"""`--repair` makes a copy equal to its source, and never overwrites a newer row."""

import io
from collections.abc import Sequence
from dataclasses import replace

import pytest
from bson import ObjectId

from support.comparison_harness import NUMBERED, ComparisonHarness, Tweets, Users, counts
from support.polling import eventually
from sync_service.apply.changes import Change
from sync_service.apply.ordering import ApplyMode
from sync_service.reconciliation import cli
from sync_service.reconciliation.cli import ReconcileOptions, ReconcileSettings
from sync_service.reconciliation.compare import ComparisonOptions
from sync_service.reconciliation.progress import reporting_progress
from sync_service.reconciliation.reports import RouteReport
from sync_service.sinks.base import Sink, Written


async def test_copy_of_an_emptied_source_is_all_extra(comparison: ComparisonHarness) -> None:
    for number in range(40):
        await comparison.copy(number, "left over")
    assert counts(await comparison.compare()) == (0, 40, 0, 0, 0)
    assert counts(await comparison.compare(repair=True)) == (0, 40, 0, 0, 40)
    assert await comparison.direction.copied() == {}
    # They are tombstones: a replay of what made them does not bring them back.
    comparison.offsets = 0
    assert len((await comparison.copy(3, "left over")).applied) == 0


async def test_missing_copy_is_created_by_the_repair(comparison: ComparisonHarness) -> None:
    for number, content in NUMBERED.items():
        await comparison.direction.put(number, content)
    assert counts(await comparison.compare(repair=True)) == (30, 0, 0, 0, 30)
    assert await comparison.direction.copied() == NUMBERED
    assert (await comparison.compare()).is_in_agreement


async def test_every_difference_is_repaired_and_no_other_row_changes(comparison: ComparisonHarness) -> None:
    await comparison.both(NUMBERED)
    events = {number: await comparison.direction.stored_event(number) for number in NUMBERED}
    await comparison.direction.put(100, "missing")
    await comparison.copy(200, "extra")
    await comparison.direction.corrupt(14, "wrong")
    report = await comparison.compare(repair=True)
    assert counts(report) == (1, 1, 1, 0, 3)
    assert report.is_in_agreement
    assert await comparison.direction.copied() == {**NUMBERED, 100: "missing"}
    assert {number: await comparison.direction.stored_event(number) for number in NUMBERED} == events
    assert (await comparison.compare()).found == 0


async def test_command_repairs_with_its_own_connections(comparison: ComparisonHarness) -> None:
    for number in range(3):
        await comparison.copy(number, "left over")
    names = ("mysql_url", "mongodb_url", "kafka_bootstrap_servers", "sync_group_id")
    settings = ReconcileSettings.model_validate({name: getattr(comparison.settings, name) for name in names})
    options = ReconcileOptions([], ComparisonOptions(repair=True))
    printed = io.StringIO()
    with reporting_progress(printed, as_json=False) as show:
        (report,) = await cli._reconcile([comparison.route], options, settings, show)
    assert counts(report) == (0, 3, 0, 0, 3)
    assert f"{comparison.route.name}: 3 rows to repair, of at most 10" in printed.getvalue()
    assert await comparison.direction.copied() == {}


async def test_repair_of_too_many_rows_changes_nothing(comparison: ComparisonHarness) -> None:
    await comparison.both(NUMBERED)
    for number in range(12):
        await comparison.direction.corrupt(number, "wrong")
    await comparison.direction.put(100, "missing")
    await comparison.copy(200, "extra")
    before = await comparison.direction.copied()

    for allowed, limit in ((13, 13), (1, 1), (None, 10)):
        report = await comparison.compare(repair=True, max_repairs=allowed)
        assert counts(report) == (1, 1, 12, 0, 0)
        assert (report.repairs_planned, report.repairs_allowed) == (14, limit)
        assert report.refused_repairs is not None
        assert "nothing was changed" in report.refused_repairs
        assert "--max-repairs 14" in report.refused_repairs
        assert not report.is_in_agreement
        assert {example.outcome for example in report.examples} == {"different"}
        assert await comparison.direction.copied() == before

    report = await comparison.compare(repair=True, max_repairs=14)
    assert (counts(report), report.refused_repairs, report.is_in_agreement) == ((1, 1, 12, 0, 14), None, True)
    assert await comparison.direction.copied() == {**NUMBERED, 100: "missing"}


@pytest.mark.parametrize(
    ("rows", "allowed"), [(0, 10), (50, 10), (1000, 10), (2000, 20), (99_999, 999), (100_000, 1000), (10**9, 1000)]
)
def test_default_limit_is_a_share_of_the_rows_within_limits(rows: int, allowed: int) -> None:
    assert ComparisonOptions(repair=True).repairs_allowed(rows) == allowed
    assert ComparisonOptions(repair=True, max_repairs=7).repairs_allowed(rows) == 7


@pytest.mark.parametrize("lost", ["update", "insert", "delete"])
async def test_repaired_row_is_overwritten_by_later_events_only(comparison: ComparisonHarness, lost: str) -> None:
    """Of three events, the one at place 5 got lost on its way to the copy. (It may lie in the dead letters.)"""
    direction = comparison.direction
    if lost != "insert":
        await comparison.copy(1, "first", op="c", place=3)
    if lost == "delete":
        await direction.remove(1)
    else:
        await direction.put(1, "second")
    # The topic has had an event of another row since, which the sync is done with.
    await comparison.send(direction.event(9, "x", place=4), direction.event(9, "y", place=7))
    await direction.put(9, "y")
    comparison.start_sync()
    await eventually(direction.copied, lambda rows: rows.get(9) == "y")

    report = await comparison.compare(repair=True)
    assert (report.found, report.mended) == (1, 1)
    mended = {9: "y"} if lost == "delete" else {1: "second", 9: "y"}
    assert await direction.copied() == mended

    # Replayed by Connect, as a redelivery, or out of the dead letters: what is older changes nothing.
    comparison.offsets = 100
    content = "" if lost == "delete" else "second"
    for mode in ApplyMode.LIVE, ApplyMode.RETRY:
        assert len((await comparison.copy(1, "first", op="c", place=3, mode=mode)).applied) == 0
        assert len((await comparison.copy(1, content + " again", op="u", place=5, mode=mode)).applied) == 0
    assert await direction.copied() == mended

    # What is newer wins.
    assert len((await comparison.copy(1, "third", op="u", place=8)).applied) == 1
    assert (await direction.copied())[1] == "third"


async def test_row_repaired_without_an_event_is_overwritten_by_live_events_only(
    comparison: ComparisonHarness,
) -> None:
    await comparison.direction.put(1, "from the source")
    assert (await comparison.compare(repair=True)).mended == 1
    assert len((await comparison.copy(1, "a dead letter", place=1, mode=ApplyMode.RETRY)).applied) == 0
    assert len((await comparison.copy(1, "an event", place=1)).applied) == 1
    assert await comparison.direction.copied() == {1: "an event"}


def test_row_that_no_copy_can_hold_does_not_keep_a_copy_in_doubt() -> None:
    report = RouteReport("things", "a", "b", is_sample=False)
    report.missing = report.mended = 2
    report.unfit = 1
    assert (report.is_in_agreement, report.ends_doubt) == (False, True)
    report.extra = 1
    assert not report.ends_doubt


class Overtaken:
    """A sink before whose write the sync writes something newer."""

    def __init__(self, sink: Sink, newer: Sequence[Change]) -> None:
        self._sink = sink
        self._newer = newer
        self.overtaken = 0

    async def exists(self) -> bool:
        return await self._sink.exists()

    async def prepare(self) -> None:
        await self._sink.prepare()

    async def was_replaced(self) -> bool:
        return await self._sink.was_replaced()

    async def purge(self) -> None:
        await self._sink.purge()

    async def write(self, changes: Sequence[Change], mode: ApplyMode = ApplyMode.LIVE) -> Written:
        self.overtaken += len((await self._sink.write(self._newer)).applied)
        return await self._sink.write(changes, mode)


async def test_repair_does_not_overwrite_concurrent_changes(comparison: ComparisonHarness) -> None:
    await comparison.both({1: "old", 2: "old", 3: "old"})
    for number in (1, 3, 4):
        await comparison.direction.put(number, "seen by the repair")
    await comparison.direction.remove(2)
    comparison.offsets = 50
    newer = [comparison.change(number, f"newer {number}", place=9) for number in (1, 2, 4)]
    sink = Overtaken(comparison.target.sink, newer)
    report = await comparison.compare(repair=True, target=replace(comparison.target, sink=sink))
    assert sink.overtaken == 3
    expected = {1: "newer 1", 2: "newer 2", 3: "seen by the repair", 4: "newer 4"}
    assert await comparison.direction.copied() == expected
    # The source has moved on too, as far as the report can know.
    assert (report.mended, report.unsettled) == (1, 3)


@pytest.mark.parametrize("comparison", ["tweets"], indirect=True)
async def test_rejected_row_is_not_repaired_and_does_not_affect_others(
    comparison: ComparisonHarness,
) -> None:
    assert isinstance(comparison.direction, Tweets)
    await comparison.both(NUMBERED)
    await comparison.direction.put(50, "taken")
    await comparison.direction.source.update_one({"_id": ObjectId(f"{7:024x}")}, {"$set": {"lang": "x" * 21}})
    report = await comparison.compare(repair=True)
    assert (counts(report), report.is_in_agreement) == ((1, 0, 1, 0, 1), False)
    (refused,) = (example for example in report.examples if example.outcome == "not-mended")
    assert "lang" in (refused.reason or "")
    assert (await comparison.direction.copied())[50] == "taken"


@pytest.mark.parametrize("comparison", ["users"], indirect=True)
async def test_document_without_a_version_is_extra_and_becomes_a_tombstone(
    comparison: ComparisonHarness,
) -> None:
    assert isinstance(comparison.direction, Users)
    await comparison.both(NUMBERED)
    await comparison.direction.database["users_copy"].insert_one({"_id": "u00099", "name": "by hand"})
    report = await comparison.compare(repair=True)
    assert counts(report) == (0, 1, 0, 0, 1)
    assert await comparison.direction.copied() == NUMBERED
