"""P1 of the apply rule on both databases: whatever happens to the events of a history, the copy ends as the source did.

The rule itself is tested on more histories in `test_ordering.py`.
"""

from collections.abc import Callable, Mapping
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from msgspec.structs import replace

from support.histories import ROWS, History, histories
from support.stored_copies import StoredCopy, StoredMysqlCopy
from sync_service.apply.batching import chunks
from sync_service.apply.ordering import ApplyMode
from sync_service.sinks.mongodb import sink as mongodb_sink
from sync_service.sinks.mysql.sink import MysqlSink

Content = TypeVar("Content", str, str | None)


def key(history: History, row: int) -> str:
    return f"{history.example:016x}{row:08x}"


async def write(
    copy: StoredCopy,
    history: History,
    *,
    keeps_rows: bool = False,
    where: Callable[[str], bool] = lambda _content: True,
) -> None:
    """`where` is true for the content of rows that are copied."""
    for batch in history.batches():
        changes = [copy.change(key(history, event.row), version, event.content) for version, event in batch]
        changes = [
            change if where(event.content) else replace(change, values=None)
            for change, (_, event) in zip(changes, batch, strict=True)
        ]
        for chunk in chunks(changes, history.rows_at_once, keeps_rows=keeps_rows):
            await copy.sink.write(chunk)


async def readable(copy: StoredCopy, history: History) -> dict[int, str]:
    """What readers see after the history has been written to the copy."""
    await write(copy, history)
    return of(history, await copy.readable())


def of(history: History, rows: Mapping[str, Content]) -> dict[int, Content]:
    return {row: rows[key(history, row)] for row in range(ROWS) if key(history, row) in rows}


EXAMPLES = settings(
    max_examples=120,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
# For options of a route, whose rule is the same.
FEWER = settings(EXAMPLES, max_examples=40)


@EXAMPLES
@given(history=histories())
async def test_copy_ends_as_the_source_did(copy: StoredCopy, history: History) -> None:
    assert await readable(copy, history) == history.truth


@FEWER
@given(history=histories())
async def test_copy_that_keeps_deleted_rows_ends_as_the_source_did(keeping_copy: StoredCopy, history: History) -> None:
    await write(keeping_copy, history, keeps_rows=True)
    assert of(history, await keeping_copy.readable()) == history.truth
    assert not of(history, await keeping_copy.kept()).keys() & history.truth.keys()


def is_even(content: str) -> bool:
    """Of the number of changes before: most rows match, cease to match and match again."""
    return int(content.rpartition(" ")[2]) % 2 == 0


@FEWER
@given(history=histories())
async def test_copy_has_the_rows_that_match(copy: StoredCopy, history: History) -> None:
    await write(copy, history, where=is_even)
    matching = {row: content for row, content in history.truth.items() if is_even(content)}
    assert of(history, await copy.readable()) == matching


@FEWER
@given(history=histories())
async def test_copy_that_keeps_rows_has_those_that_match_as_live_ones(
    keeping_copy: StoredCopy, history: History
) -> None:
    await write(keeping_copy, history, keeps_rows=True, where=is_even)
    matching = {row: content for row, content in history.truth.items() if is_even(content)}
    assert of(history, await keeping_copy.readable()) == matching
    assert all(content and is_even(content) for content in of(history, await keeping_copy.kept()).values())


@FEWER
@given(history=histories(is_stable=True, kinds=["gtid"]))
async def test_kept_row_has_its_last_values(keeping_copy: StoredCopy, history: History) -> None:
    """In the log of one MySQL server. (Elsewhere a row may be shown in an earlier state for a moment, and deleted.)"""
    await write(keeping_copy, history, keeps_rows=True)
    last = {event.row: event.content for event in history.log if event.operation != "d"}
    deleted = {row: content for row, content in last.items() if row not in history.truth}
    assert of(history, await keeping_copy.kept()) == deleted


@pytest.fixture
def unguarded_copy(copy: StoredCopy, monkeypatch: pytest.MonkeyPatch) -> StoredCopy:
    """Its sink applies every event."""
    if isinstance(copy, StoredMysqlCopy):
        assert isinstance(copy.sink, MysqlSink)
        monkeypatch.setattr(copy.sink, "_update", {mode: copy.sink._on_duplicate("TRUE") for mode in ApplyMode})
    else:
        monkeypatch.setattr(mongodb_sink, "_guard", lambda *_: True)
    return copy


@pytest.mark.xfail(strict=True, raises=AssertionError, reason="negative control: the same without the guard")
@settings(EXAMPLES, phases=[Phase.generate])
@given(history=histories())
async def test_without_the_guard_the_copy_differs(unguarded_copy: StoredCopy, history: History) -> None:
    assert await readable(unguarded_copy, history) == history.truth
