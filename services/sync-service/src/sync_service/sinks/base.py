"""The interface of a copy that the consumer writes to."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from sync_service.apply.changes import Change, Key
from sync_service.apply.ordering import ApplyMode, Version

# A tombstone guards against replayed inserts for this time, unless the route keeps tombstones.
TOMBSTONE_LIFETIME = timedelta(days=7)

# A write that takes longer has lost its server, and is retried on another connection.
WRITE_SECONDS = 30.0


class Rejected(Exception):  # noqa: N818 - the result of a write
    """The store rejects all of these changes because of the content of one of them: a data error."""


class Unavailable(Exception):  # noqa: N818 - a state of the store
    """The store does not answer, or answers with an error that is not about the data. The write is retried."""


class RouteRefused(Unavailable):
    """The store refuses every row of the route: its table, its rights or its statement are to blame.

    Its route stops until an operator has changed something and resumes it.
    """


class UnknownFailure(Unavailable):
    """The store answers with an error that is in no list of `mysql/errors.py` or `mongodb/errors.py`."""


class UnfitTable(Exception):  # noqa: N818 - the table does not fit
    """An existing table or view that can't be the copy of a route; one sentence that names it."""


@dataclass(frozen=True, slots=True)
class Written:
    """`applied` changes are now the state of their rows, `skipped` ones were older than their rows."""

    applied: Sequence[Change]
    skipped: Sequence[Change]


async def split_applied_skipped(
    changes: Sequence[Change], applied: int, events_in_place: Callable[[], Awaitable[Collection[str]]]
) -> Written:
    """Which of the changes were applied, given how many the store says it has applied.

    Mostly all of them, or none. Otherwise the store is asked for the events of its rows: a change whose event is not in
    place was skipped. If fewer rows changed than match, the oldest matches were redeliveries.
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
    """Writes one copy."""

    async def exists(self) -> bool:
        """Is there a copy, here or where it moves from? Raises `RouteRefused`, `Unavailable`."""

    async def prepare(self) -> None:
        """Create or check what the copy needs. Raises `RouteRefused`, `Unavailable`."""

    async def was_replaced(self) -> bool:
        """Was the copy dropped since `prepare`, so that a write would create, or has created, an empty one?

        Raises `RouteRefused`, `Unavailable`.
        """

    async def write(self, changes: Sequence[Change], mode: ApplyMode = ApplyMode.LIVE) -> Written:
        """Apply the rule to each change; a key occurs once. Idempotent.

        Raises `Rejected`, `RouteRefused`, `UnknownFailure`, `Unavailable`.
        """

    async def version(self, key: Key) -> Version | None:
        """The version of a row or tombstone; None without one. Raises `RouteRefused`, `Unavailable`."""

    async def purge(self) -> None:
        """Delete tombstones that are older than `TOMBSTONE_LIFETIME`, unless the route keeps them.

        Raises `Unavailable`.
        """
