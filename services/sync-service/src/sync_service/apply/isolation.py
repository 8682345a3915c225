"""Finds the rows that an unknown error of the store is about, so that they don't block their partition for ever."""

from collections.abc import Callable, Iterable, Sequence

from sync_service.apply.changes import Change
from sync_service.sinks.base import Rejected, Sink, UnknownFailure, Written

# After so many failures of a write with an unknown error, its rows are written one by one.
ATTEMPTS = 5


class IsolatingWrite:
    """Writes a chunk, as often as it is called.

    An unknown error may be about a row, the table or the server. So if it comes `ATTEMPTS` times, the rows are written
    one by one: those that fail while others can be written are `isolated`, with their errors. If no row can be written,
    changes of other rows are tried, the `neighbours`; writing one again, or early, changes nothing in the end. Without
    a row that can be written, the error is raised: the whole table or its server is to blame.
    """

    def __init__(self, sink: Sink, chunk: Sequence[Change], *, neighbours: Callable[[], Iterable[Change]]) -> None:
        self.isolated: Sequence[tuple[Change, Exception]] = ()
        self._sink = sink
        self._chunk = chunk
        self._neighbours = neighbours
        self._failures = 0

    async def __call__(self) -> Written:
        """What was written, without the isolated changes. Raises as `Sink.write` does."""
        try:
            return await self._sink.write(self._chunk)
        except UnknownFailure as error:
            self._failures += 1
            if self._failures < ATTEMPTS:
                raise
            return await self._write_one_by_one(error)

    async def _write_one_by_one(self, latest: UnknownFailure) -> Written:
        applied: list[Change] = []
        skipped: list[Change] = []
        failed: list[tuple[Change, Exception]] = []
        for change in self._chunk:
            try:
                written = await self._sink.write([change])
            except (Rejected, UnknownFailure) as error:
                failed.append((change, error))
            else:
                applied += written.applied
                skipped += written.skipped
        if not (applied or skipped) and not await self._can_write_another_row():
            raise latest
        self.isolated = failed
        return Written(applied, skipped)

    async def _can_write_another_row(self) -> bool:
        keys = {change.key for change in self._chunk}
        for neighbour in self._neighbours():
            if neighbour.key in keys:
                continue
            try:
                await self._sink.write([neighbour])
            except (Rejected, UnknownFailure):
                continue
            return True
        return False
