"""P1 of the apply rule on both databases: whatever happens to the events of a history, the copy ends as the source did.

The rule itself is tested on more histories in `test_ordering.py`.
"""

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from support.histories import ROWS, History, histories
from support.stored_copies import StoredCopy, StoredMysqlCopy
from sync_service.apply.batching import chunks
from sync_service.apply.ordering import ApplyMode
from sync_service.sinks.mongodb import sink as mongodb_sink
from sync_service.sinks.mysql.sink import MysqlSink


async def readable(copy: StoredCopy, history: History) -> dict[int, str]:
    """What readers see after the history has been written to the copy."""

    def key(row: int) -> str:
        return f"{history.example:016x}{row:08x}"

    for batch in history.batches():
        changes = [copy.change(key(event.row), version, event.content) for version, event in batch]
        for chunk in chunks(changes, history.rows_at_once):
            await copy.sink.write(chunk)
    seen = await copy.readable()
    return {row: seen[key(row)] for row in range(ROWS) if key(row) in seen}


EXAMPLES = settings(
    max_examples=120,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@EXAMPLES
@given(history=histories())
async def test_copy_ends_as_the_source_did(copy: StoredCopy, history: History) -> None:
    assert await readable(copy, history) == history.truth


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
