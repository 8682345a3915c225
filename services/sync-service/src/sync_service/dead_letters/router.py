"""Sends events that can't be applied to the dead letters, and stops the route when there are too many.

Processes are restarted, and partitions move between them. So that this lets no more events through than the limits
allow, the history of a partition is read from the dead letters themselves whenever this process does not know it, and
only when an event fails. The history also says which events have a dead letter already, because a process ended before
it committed, or because offsets were set back. They get no second one. Resolved dead letters do not count as failures,
however often their events are delivered.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sync_service.dead_letters.limits import DeadLetterLimits, Failure, FailureWindow
from sync_service.dead_letters.models import DeadLetter, DeadLetterId, Record, Resolution, Stage, read
from sync_service.dead_letters.store import DeadLetterReader, DeadLetterWriter
from sync_service.routes.exclusion import ExcludedFields

# The number of records in which the dead letters of a partition are searched.
LATEST_RECORDS = 5000


class TooManyDeadLetters(Exception):  # noqa: N818 - a state of the route
    """So many events fail that the cause is not in single events."""


class Discarded(Exception):  # noqa: N818 - a decision
    """A user has discarded the event."""


@dataclass(frozen=True, slots=True)
class _KnownDeadLetters:
    """The dead letters of a partition, by the offsets of their events."""

    open: frozenset[int]
    resolved: frozenset[int]


@dataclass(frozen=True, slots=True)
class _PartitionHistory:
    """What this process knows of a partition up to an offset. `letters` is None before they are read."""

    next_offset: int
    window: FailureWindow
    letters: _KnownDeadLetters | None


class DeadLetterRouter:
    """Of one route, for all its partitions."""

    def __init__(
        self,
        route: str,
        letters: DeadLetterWriter,
        reader: DeadLetterReader,
        limits: DeadLetterLimits,
        excluded: ExcludedFields,
    ) -> None:
        self.route = route
        self.excluded = excluded
        self.letters = letters
        self.reader = reader
        self.limits = limits
        self._known: dict[tuple[str, int], _PartitionHistory] = {}

    def begin(self, records: Sequence[Record], topic_id: str) -> "BatchRouter":
        """Begin the next batch of a partition. The caller reports its end by `BatchRouter.done`."""
        first = records[0]
        # A batch without `done` is delivered again. Its history is read then.
        known = self._known.pop((topic_id, first.partition), None)
        return BatchRouter(self, first, topic_id, known if known and known.next_offset == first.offset else None)

    def keep(self, topic_id: str, partition: int, known: _PartitionHistory) -> None:
        self._known[(topic_id, partition)] = known


class BatchRouter:
    def __init__(self, router: DeadLetterRouter, first: Record, topic_id: str, known: _PartitionHistory | None) -> None:
        self._router = router
        self._first = first
        self._topic_id = topic_id
        self._window = known.window if known else None
        self._letters = known.letters if known else None
        self._decoded = 0
        self._was_written = False

    def decoded(self, events: int) -> None:
        """Count consecutive events that could be decoded."""
        if self._window is None:
            self._decoded += events
        else:
            self._window.decoded(events)

    def written(self) -> None:
        """The store accepted the latest write."""
        self._was_written = True
        if self._window is not None:
            self._window.written()

    async def send_to_dead_letters(self, record: Record, stage: Stage, error: Exception) -> None:
        """Write the event to the dead letters. Raises `KafkaError`, `TooManyDeadLetters`."""
        window, letters = self._window, self._letters
        if window is None or letters is None:
            before, letters = await self._read_history()
            window = window or self._continued(before)
            self._window, self._letters = window, letters
        if record.offset in letters.resolved:
            return
        if (violation := window.violation(self._router.limits, stage)) is not None:
            raise TooManyDeadLetters(
                f"too many dead letters: route {self._router.route}: {violation}; the next one, "
                f"{record.topic}-{record.partition} offset {record.offset}: {str(error)[:500]}"
            )
        if record.offset not in letters.open:
            await self._send(record, stage, error)
        window.failed(stage)

    async def discard(self, record: Record, *, by: str) -> None:
        """Write the event to the dead letters, and the resolution that a user has discarded it. Raises `KafkaError`.

        An event that has a dead letter already keeps it as it is.
        """
        if self._letters is None:
            self._window, self._letters = await self._read_history()
        if record.offset in self._letters.open or record.offset in self._letters.resolved:
            return
        letter = await self._send(record, "VALUE_CONVERTER", Discarded(f"discarded by {by}"))
        await self._router.letters.resolve(letter, "discarded", by=by)

    async def _send(self, record: Record, stage: Stage, error: Exception) -> DeadLetterId:
        router = self._router
        return await router.letters.send(record, stage, error, topic_id=self._topic_id, excluded=router.excluded)

    def done(self, next_offset: int) -> None:
        """End the batch. The next one begins at this offset."""
        known = _PartitionHistory(next_offset, self._window or self._continued(FailureWindow()), self._letters)
        self._router.keep(self._topic_id, self._first.partition, known)

    async def _read_history(self) -> tuple[FailureWindow, _KnownDeadLetters]:
        """The failures of the partition before the batch, and its dead letters."""
        written: dict[DeadLetterId, Failure] = {}
        resolved: set[int] = set()
        async for record in self._router.reader.latest(LATEST_RECORDS):
            match read(record):
                case DeadLetter() as letter if self._is_ours(letter):
                    stage: Stage = "TASK_PUT" if letter.stage == "TASK_PUT" else "VALUE_CONVERTER"
                    if letter.replaces is not None:
                        written.pop(letter.replaces, None)
                    written[letter.id] = Failure(letter.origin.offset, stage)
                case Resolution() as resolution if resolution.letter in written:
                    resolved.add(written.pop(resolution.letter).offset)
        letters = _KnownDeadLetters(frozenset(failure.offset for failure in written.values()), frozenset(resolved))
        return FailureWindow.before(self._first.offset, written.values()), letters

    def _is_ours(self, letter: DeadLetter) -> bool:
        origin = letter.origin
        ours = (self._first.topic, self._topic_id, self._first.partition)
        return (origin.topic, origin.topic_id, origin.partition) == ours

    def _continued(self, window: FailureWindow) -> FailureWindow:
        window.decoded(self._decoded)
        if self._was_written:
            window.written()
        return window
