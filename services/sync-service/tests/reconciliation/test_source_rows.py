"""How source rows are found by the keys of the copy, and which of them the copy has."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

from sync_service.apply.changes import Key
from sync_service.reconciliation.differences import DifferenceKind, RowPair
from sync_service.sinks.canonical import CanonicalRow
from sync_service.sinks.readers import Candidates, found_rows
from sync_service.sinks.rows import CopyRow, RowRequest, SourceRow

CANONICAL = CanonicalRow([], [])


class Source:
    """Rows by native: each has the first letter of its native as its key."""

    def __init__(self, *natives: str) -> None:
        self._natives = natives
        self.scans = 0

    async def read(self, natives: list[Any]) -> list[SourceRow]:
        return [
            SourceRow((native[0],), {}, native=native, source_id=native)
            for native in self._natives
            if native in natives
        ]

    async def keys(self) -> AsyncIterator[tuple[Any, Key | None]]:
        self.scans += 1
        for native in self._natives:
            yield native, (native[0],)

    async def look_up(
        self, *requests: RowRequest, guesses: Sequence[str] = (), are_all: bool = False
    ) -> dict[Key, set[str]]:
        found = await found_rows(requests, lambda _key: Candidates(guesses, are_all), self.read, self.keys)
        return {key: {row.native for row in rows} for key, rows in found.items()}


async def test_candidates_and_known_natives_are_read_without_a_scan() -> None:
    source = Source("a1", "a2", "b1")
    assert await source.look_up(RowRequest(("a",)), guesses=["a2", "a3"]) == {("a",): {"a2"}}
    assert await source.look_up(RowRequest(("a",), ["a1"]), guesses=["a2"]) == {("a",): {"a1", "a2"}}
    assert source.scans == 0


async def test_row_that_is_not_found_is_searched_among_all_keys() -> None:
    source = Source("a1", "a2", "b1")
    assert await source.look_up(RowRequest(("a",)), RowRequest(("c",))) == {("a",): {"a1", "a2"}}
    assert source.scans == 1
    assert await source.look_up(RowRequest(("a",)), guesses=["a9"], are_all=True) == {}
    assert source.scans == 1


async def test_row_that_the_copy_comes_from_is_searched_even_if_another_has_its_key() -> None:
    source = Source("a1", "a2")
    assert await source.look_up(RowRequest(("a",), ["a1"], source_id="a2")) == {("a",): {"a1", "a2"}}
    assert await source.look_up(RowRequest(("a",), ["a1"], source_id="a1")) == {("a",): {"a1"}}
    assert source.scans == 1


def test_copy_is_compared_with_the_row_that_it_comes_from() -> None:
    rows = [SourceRow(("a",), {}, native=native, source_id=native) for native in ("a1", "a2")]
    copy = CopyRow(("a",), {}, None, "a2")
    pair = RowPair.of(("a",), rows, copy)
    assert (pair.source, pair.others) == (rows[1], (rows[0],))
    difference = pair.difference(CANONICAL)
    assert difference is not None
    assert (difference.kind, difference.reason) == (DifferenceKind.UNFIT, "other rows of the source have its key: 'a1'")
    assert RowPair.of(("a",), rows[:1], CopyRow(("a",), {}, None)).difference(CANONICAL) is None
    assert RowPair.of(("a",), rows[:1], None).source is rows[0]


def test_copy_of_a_row_that_is_gone_differs_from_another_one_with_its_key() -> None:
    pair = RowPair.of(("a",), [SourceRow(("a",), {}, native="a1", source_id="a1")], CopyRow(("a",), {}, None, "a2"))
    difference = pair.difference(CANONICAL)
    assert difference is not None
    assert (difference.kind, difference.reason) == (DifferenceKind.DIFFERENT, "it comes from another row of the source")
