"""What the consumer asks of a store."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from sync_service.apply.changes import Change
from sync_service.apply.ordering import ApplyMode

# How long a tombstone guards against a replayed insert, unless the route keeps it for ever.
TOMBSTONE_LIFETIME = timedelta(days=7)

# A write that takes longer has lost its server; it is written again on another connection.
WRITE_SECONDS = 30.0


class Rejected(Exception):  # noqa: N818 - what happened, in the rule's word
    """The store takes none of these changes because of what is in one of them. Nobody else's fault: a data error."""


class Unavailable(Exception):  # noqa: N818 - a state of the store
    """The store does not answer, or not as it should. It is asked again."""


class UnfitTable(Exception):  # noqa: N818 - the table is, the program is not
    """An existing table or view that can't be the copy of a route; one sentence that names it."""


@dataclass(frozen=True, slots=True)
class Written:
    """Which changes became the row's state, and which were older than it."""

    applied: Sequence[Change]
    skipped: Sequence[Change]


async def split_applied_skipped(
    changes: Sequence[Change], applied: int, events_in_place: Callable[[], Awaitable[Collection[str]]]
) -> Written:
    """Which of the changes those are that a store says it has applied.

    Mostly it is all of them, or none. Else the store is asked for the events that its rows are of by now: what is not
    in place was skipped. What is in place and yet too much came a second time, which happens to the oldest.
    """
    if applied == len(changes):
        return Written(changes, ())
    if applied == 0:
        return Written((), changes)
    in_place = await events_in_place()
    there = sorted(
        (change for change in changes if change.version.event in in_place), key=lambda change: change.version.event
    )
    fresh = {change.version.event for change in there[len(there) - applied :]}
    return Written(
        [change for change in changes if change.version.event in fresh],
        [change for change in changes if change.version.event not in fresh],
    )


class Sink(Protocol):
    """One copy."""

    async def prepare(self) -> None:
        """Make or check what the copy needs. Raises `Unavailable`."""

    async def write(self, changes: Sequence[Change], mode: ApplyMode = ApplyMode.LIVE) -> Written:
        """Apply the rule to each change; a key occurs once. Safe to repeat. Raises `Rejected`, `Unavailable`."""

    async def purge(self) -> None:
        """Forget tombstones that are older than `TOMBSTONE_LIFETIME`, unless the route keeps them.

        Raises `Unavailable`.
        """
