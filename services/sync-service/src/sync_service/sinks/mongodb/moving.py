"""Moves a copy in MongoDB from the database of `MONGODB_URL` to the one that its route names, while the system runs.

MongoDB can't rename a collection across databases without stopping its writers, and a view can't show another database.
So the copy is written in both places until the old one is no longer read:

1. Every process writes each change to the old place first, and then to the new one.
2. One process copies documents, with their versions. Processes of an earlier release write only the old place, so the
   last pass over it begins when the consumer group has had none of them for a while.
3. It marks the move as complete: readers change over (`service_kit.moved_copy`). Readers of an earlier release still
   read the old place, and find every change there.
4. When the old place was not read for a while, the processes stop writing it, and it is dropped.

Before `retired_at` an operator may go back to the earlier release, whose processes write only the old place. So the
differences are copied again when a process of this release takes over, and just before the old place is retired.

Every step can be repeated: a process that dies leaves a state from which the next one continues.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import bson
import structlog
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.raw_bson import RawBSONDocument
from pymongo.errors import BulkWriteError, DuplicateKeyError, PyMongoError

from service_kit.moved_copy import STATES
from sync_service.apply.changes import Change, Key
from sync_service.apply.ordering import ApplyMode, Version
from sync_service.routes.config import Route
from sync_service.sinks.base import WRITE_SECONDS, Sink, Written
from sync_service.sinks.mongodb.databases import copy_database
from sync_service.sinks.mongodb.errors import translated
from sync_service.sinks.mongodb.sink import MongoSink

if TYPE_CHECKING:
    # motor's classes are generic for the type checker only.
    from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorCollection, AsyncIOMotorDatabase

    Client = AsyncIOMotorClient[dict[str, Any]]
    Collection = AsyncIOMotorCollection[dict[str, Any]]
    Database = AsyncIOMotorDatabase[dict[str, Any]]

log = structlog.get_logger(__name__)

# A process looks at the state this often. So it may write an old place for this time after it was retired.
STATE_SECONDS = 5.0
STOP_WRITING_SECONDS = STATE_SECONDS + WRITE_SECONDS
# Passes over the old place take at most this share of the time.
PASS_SECONDS, PASS_SHARE = 1.0, 0.2
# A process that lost the broker is in its group again before.
UPGRADED_SECONDS = 30.0
READS_SECONDS = 1.0
BATCH_DOCUMENTS = 100
# For a document that changes while it is copied.
ATTEMPTS = 20
_DUPLICATE_KEY = 11000

_RAW: CodecOptions[RawBSONDocument] = CodecOptions(document_class=RawBSONDocument)
# Dates beyond Python's years are decoded as numbers.
_DECODED: CodecOptions[dict[str, Any]] = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_AUTO)


def mongo_sink(client: "Client", route: Route) -> Sink:
    """Writes the copy; in both places while it moves."""
    move = Move.of(client, route)
    sink = MongoSink(copy_database(client, route), route)
    return sink if move is None else MovingSink(MongoSink(move.old_database, route), sink, move)


async def readable_database(client: "Client", route: Route) -> "Database":
    """The database that has every change of the copy. Raises the driver's errors."""
    move = Move.of(client, route)
    return copy_database(client, route) if move is None or await move.is_complete() else move.old_database


@dataclass(frozen=True, slots=True)
class Pass:
    """`unsettled` documents changed again and again while they were copied."""

    copied: int
    unsettled: int


@dataclass(frozen=True, slots=True)
class Operations:
    reads: int
    writes: int

    def __sub__(self, earlier: "Operations") -> "Operations":
        return Operations(self.reads - earlier.reads, self.writes - earlier.writes)


class QuietTime:
    """How long the old place was surely not read. Pure.

    A connector that reads the database makes MongoDB look up each updated document, so reads that are no more than the
    writes prove nothing: such time does not count. More reads than that are those of a reader: the time begins again.
    """

    def __init__(self, connectors: int) -> None:
        """`connectors` read the database."""
        self.seconds = 0.0
        self._connectors = connectors
        # Writes of the time before for which no connector has read yet.
        self._late = 0

    def add(self, seconds: float, done: Operations) -> None:
        """`done` are the operations in these seconds."""
        expected, reads = self._connectors * done.writes, done.reads - min(done.reads, self._late)
        if done.reads < 0 or reads > expected:
            self.seconds = 0.0
        elif not done.reads:
            self.seconds += seconds
        self._late = max(0, expected - reads)


class Move:
    """The state of one move, a document in the new database. `moved_from` is null for a copy that was never elsewhere.

    `complete_at`: both places have every change. `retired_at`: the old place is no longer read, and processes stop
    writing it. `dropped_at`: it is gone.
    """

    def __init__(self, old_database: "Database", new_database: "Database", route: Route) -> None:
        self.route = route
        self.old_database, self.new_database = old_database, new_database
        self._name = route.target.copy_name
        self._view = route.target.name
        self._states: Collection = new_database[STATES]
        # Fields that the route excludes stay behind.
        self._copied = dict.fromkeys(route.excluded_names, False) or None
        self._own_reads = 0

    @classmethod
    def of(cls, client: "Client", route: Route) -> "Move | None":
        """None if the route names no database other than that of the address."""
        old, new = client.get_default_database(), copy_database(client, route)
        return None if old.name == new.name else cls(old, new, route)

    @property
    def old(self) -> "Collection":
        return self.old_database[self._name]

    @property
    def new(self) -> "Collection":
        return self.new_database[self._name]

    async def is_complete(self) -> bool:
        return "complete_at" in await self._state()

    async def is_dropped(self) -> bool:
        state = await self._state()
        return "moved_from" not in state or "dropped_at" in state

    async def is_under_way(self) -> bool:
        """Does a process still write the copy from its old place? Raises `Unavailable`."""
        try:
            state = await self._states.find_one({"_id": self._name}) or {}
        except PyMongoError as error:
            raise translated(error, of_row=False) from error
        return state.get("moved_from") is not None and state.get("dropped_at") is None

    async def needs_both(self) -> bool:
        """Must changes be written in both places? Raises `Unavailable`."""
        try:
            state = await self._state()
        except PyMongoError as error:
            raise translated(error, of_row=False) from error
        return "moved_from" in state and "retired_at" not in state

    async def is_retired(self) -> bool:
        return "retired_at" in await self._state()

    async def note(self, step: str) -> None:
        await self._states.update_one({"_id": self._name, step: None}, {"$set": {step: _now()}})
        log.info("a copy moves", route=self.route.name, copy=self.new.full_name, step=step, notable=True)

    async def copy_differences(self) -> "Pass":
        """Make the new place equal to the old one, which has every change.

        A document is replaced only if it is still the one that was read before the old place was. So a change that is
        written meanwhile, to the old place first, is either part of what is copied or applied to it.
        """
        copied = unsettled = 0
        ids: list[Any] = []
        # Small batches, because MongoDB ends a cursor that is not used for ten minutes.
        found = self.old.with_options(codec_options=_RAW).find({}, {"_id": True}, sort=[("_id", 1)])
        async for raw in found.batch_size(BATCH_DOCUMENTS):
            ids.append(raw["_id"])
            if len(ids) == BATCH_DOCUMENTS:
                one = await self._copy(ids)
                copied, unsettled, ids = copied + one.copied, unsettled + one.unsettled, []
        one = await self._copy(ids)
        return Pass(copied + one.copied, unsettled + one.unsettled)

    async def _copy(self, ids: Sequence[Any]) -> "Pass":
        copied = 0
        for _ in range(ATTEMPTS):
            if not ids:
                break
            ids, written = await self._copy_once(ids)
            copied += written
        return Pass(copied, len(ids))

    async def _copy_once(self, ids: Sequence[Any]) -> tuple[Sequence[Any], int]:
        """The ids of documents that changed meanwhile, and how many were copied."""
        wanted = {"_id": {"$in": ids}}
        there = {_id_of(raw): raw for raw in await self._read(self.new, wanted)}
        absent, different = [], []
        for document in await self._read(self.old, wanted):
            copied = there.get(_id_of(document))
            if copied is None:
                absent.append(document)
            elif not _is_same(document, copied):
                different.append((document, copied))
        changed = await self._insert(absent)
        changed += [document["_id"] for document, before in different if not await self._replace(document, before)]
        return changed, len(absent) + len(different) - len(changed)

    async def _insert(self, documents: Sequence[RawBSONDocument]) -> list[Any]:
        """The ids of documents that exist already."""
        if not documents:
            return []
        try:
            await self.new.insert_many(documents, ordered=False)
        except BulkWriteError as error:
            failures = error.details["writeErrors"]
            if any(failure["code"] != _DUPLICATE_KEY for failure in failures):
                raise
            return [documents[failure["index"]]["_id"] for failure in failures]
        return []

    async def _replace(self, document: RawBSONDocument, before: RawBSONDocument) -> bool:
        """False if the document in the new place is no longer the one `before`."""
        unchanged = {"_id": document["_id"], "_sync": before.get("_sync")}
        return (await self.new.replace_one(unchanged, document)).matched_count == 1

    async def _read(self, place: "Collection", wanted: dict[str, Any]) -> list[RawBSONDocument]:
        found = place.with_options(codec_options=_RAW).find(wanted, self._copied)
        return [document async for document in found]

    async def operations(self) -> "Operations":
        """Of the old place since the start of its servers, without the calls of this method."""
        stats = await self.old.aggregate([{"$collStats": {"latencyStats": {}}}]).to_list(None)
        self._own_reads += len(stats)
        reads, writes = (sum(int(each["latencyStats"][kind]["ops"]) for each in stats) for kind in ("reads", "writes"))
        return Operations(reads - self._own_reads, writes)

    async def drop(self) -> None:
        """Drop the old place and its view."""
        await self.old.drop()
        view = await self._options(self._view)
        if view is not None and view.get("viewOn") == self._name:
            await self.old_database.drop_collection(self._view)

    async def _state(self) -> dict[str, Any]:
        """The steps that are done. The first call records whether there is an old place."""
        state = await self._states.find_one({"_id": self._name})
        if state is None:
            await self._begin()
            state = await self._states.find_one({"_id": self._name}) or {}
        return {name: value for name, value in state.items() if value is not None}

    async def _begin(self) -> None:
        is_there = await self.has_old_place()
        first = {"moved_from": self.old_database.name} if is_there else {"moved_from": None, "complete_at": _now()}
        # Another process may record it concurrently.
        with suppress(DuplicateKeyError):
            await self._states.update_one({"_id": self._name}, {"$setOnInsert": first}, upsert=True)

    async def has_old_place(self) -> bool:
        """Has the sync written a copy of this name to the old database? Then there is a view of it, too."""
        view = await self._options(self._view)
        return view is not None and view.get("viewOn") == self._name and await self._options(self._name) is not None

    async def _options(self, name: str) -> dict[str, Any] | None:
        """The options of a collection or view; None if it does not exist."""
        async for each in await self.old_database.list_collections(filter={"name": name}):
            options: dict[str, Any] = each["options"]
            return options
        return None


class MovingSink:
    """A sink of two places. The old one comes first: it has every change until it is dropped."""

    def __init__(self, old: MongoSink, new: MongoSink, move: Move) -> None:
        self.move = move
        self._old, self._new = old, new
        self._both = True
        self._checked_at: float | None = None

    async def exists(self) -> bool:
        return await self._new.exists() or await self._old.exists()

    async def prepare(self) -> None:
        await self._new.prepare()
        await self._needs_both()

    async def was_replaced(self) -> bool:
        return await self._new.was_replaced()

    async def write(self, changes: Sequence[Change], mode: ApplyMode = ApplyMode.LIVE) -> Written:
        """Written is what the old place has written as long as there is one, because the new one may lack rows."""
        if not await self._needs_both():
            return await self._new.write(changes, mode)
        written = await self._old.write(changes, mode)
        await self._new.write(changes, mode)
        return written

    async def version(self, key: Key) -> Version | None:
        return await (self._old if await self._needs_both() else self._new).version(key)

    async def _needs_both(self) -> bool:
        now = time.monotonic()
        if self._both and (self._checked_at is None or now - self._checked_at >= STATE_SECONDS):
            # The answer is as old as the question.
            self._both, self._checked_at = await self.move.needs_both(), now
        return self._both

    async def purge(self) -> None:
        """The old place is going to be dropped."""
        await self._new.purge()


class Mover:
    """Brings moves to their end. Only one process of the system may run it at a time.

    `is_upgraded` says whether the consumer group has no member of an earlier release, which would write only the old
    place.
    """

    def __init__(
        self,
        move: Move,
        is_upgraded: Callable[[], Awaitable[bool]],
        *,
        quiet_seconds: float,
        connectors: int = 0,
        stop_writing_seconds: float = STOP_WRITING_SECONDS,
    ) -> None:
        self._move = move
        self._is_upgraded = is_upgraded
        self._quiet_seconds = quiet_seconds
        self._connectors = connectors
        self._upgraded_seconds = min(UPGRADED_SECONDS, quiet_seconds)
        self._stop_writing_seconds = stop_writing_seconds

    async def run(self) -> None:
        """Returns when the old place is dropped. Raises the driver's errors."""
        if await self._move.is_dropped():
            if await self._move.has_old_place():
                log.warning(
                    "a copy that has moved is in its old place again: a process of an earlier release wrote it; stop "
                    "it, run sync-service reconcile --repair, and drop the old place",
                    route=self._move.route.name,
                    copy=self._move.old.full_name,
                    notable=True,
                )
            return
        if not await self._move.is_complete():
            await self._copy()
            await self._move.note("complete_at")
        if not await self._move.is_retired():
            await self._move.copy_differences()
            await self._wait_until_quiet()
            await self._move.copy_differences()
            await self._move.note("retired_at")
        await asyncio.sleep(self._stop_writing_seconds)
        await self._move.drop()
        await self._move.note("dropped_at")

    async def _copy(self) -> None:
        """Copy until one pass was whole and no process of an earlier release could write meanwhile."""
        upgraded_since: float | None = None
        while True:
            began = time.monotonic()
            # A process of an earlier release may be back after its connection to the broker broke off.
            upgraded_since = (upgraded_since or began) if await self._is_upgraded() else None
            done = await self._move.copy_differences()
            if done.copied:
                log.info("a copy moves", route=self._move.route.name, copied=done.copied)
            if not done.unsettled and upgraded_since is not None and began - upgraded_since >= self._upgraded_seconds:
                return
            await asyncio.sleep(max(PASS_SECONDS, (time.monotonic() - began) / PASS_SHARE))

    async def _wait_until_quiet(self) -> None:
        """Wait until the old place was not read for long enough, or an operator has noted that it is retired."""
        quiet = QuietTime(self._connectors)
        before, at = await self._move.operations(), time.monotonic()
        while quiet.seconds < self._quiet_seconds and not await self._move.is_retired():
            await asyncio.sleep(min(READS_SECONDS, self._quiet_seconds / 2))
            if not await self._is_upgraded():
                # A process of an earlier release writes only the old place.
                await self._move.copy_differences()
                quiet = QuietTime(self._connectors)
            operations, now = await self._move.operations(), time.monotonic()
            quiet.add(now - at, operations - before)
            before, at = operations, now


def _id_of(document: RawBSONDocument) -> bytes:
    """Ids of different types are different, also where Python has them equal."""
    return bson.encode({"_id": document["_id"]})


def _is_same(one: RawBSONDocument, other: RawBSONDocument) -> bool:
    """Equal but for the time at which a tombstone was written, which differs by the time between the two writes."""
    return one.raw == other.raw or _without_time(one) == _without_time(other)


def _without_time(document: RawBSONDocument) -> bytes:
    decoded = bson.decode(document.raw, _DECODED)
    version = decoded.get("_sync")
    if isinstance(version, dict):
        version["deleted_at"] = version.get("deleted_at") is not None
    return bson.encode(decoded)


def _now() -> datetime:
    return datetime.now(UTC)
