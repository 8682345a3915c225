"""Snapshots of tables while a connector runs: Debezium's incremental snapshots, of added tables and on request.

Requests are kept in the topic of the connector's signals, because the registrar has no other memory. A request has a
key that Debezium ignores; the signal, which has the key that Debezium expects, is sent once the connector captures the
tables. Debezium's notifications say that a snapshot has begun, and that it has ended. (Debezium docs, "Sending signals
to a Debezium connector" and "Receiving Debezium notifications".)
"""

import asyncio
import json
import secrets
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import structlog
from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError, UnknownTopicOrPartitionError

from registrar.captured import NOTIFICATIONS, SIGNALS, TABLE
from service_kit.kafka import KafkaClients, fetch_metadata
from service_kit.kafka_topics import describe_topics

log = structlog.get_logger(__name__)

_HISTORY = "schema.history.internal.kafka.topic"
_KEY_OF_REQUESTS, _KEY_OF_DELETIONS = b"tandem", b"tandem.deleted"
_INCREMENTAL = "Incremental Snapshot"
_COPIED = ("SUCCEEDED", "EMPTY")
# The number of rows that Debezium reads at a time, and its default.
_CHUNK, _ROWS_OF_A_CHUNK = "incremental.snapshot.chunk.size", 1024
# A signal that an ending task has consumed is lost. A second one copies the rows again, which changes nothing.
RESEND_SECONDS = 20.0
_POLL_MS = 200


class RequestState(StrEnum):
    """`withdrawn`: the connector does not capture the table any more, or takes a new snapshot of all its tables."""

    REQUESTED = "requested"
    RUNNING = "running"
    COPIED = "copied"
    NOT_COPIED = "not-copied"
    WITHDRAWN = "withdrawn"


@dataclass
class TableScan:
    """What Debezium reports of a table in a snapshot: rows that it has read, and at the end its word for the result."""

    rows: int = 0
    status: str | None = None


@dataclass(frozen=True)
class RequestedRows:
    """A request for the rows of a table. `reason` is Debezium's word, if it did not copy them all."""

    id: str
    table: str
    state: RequestState
    rows: int = 0
    reason: str | None = None


@dataclass
class _Run:
    """One snapshot of Debezium, which may be for several requests."""

    scans: dict[str, TableScan] = field(default_factory=dict)
    has_ended: bool = False


class SnapshotLog:
    """The requests for one connector. `pending` are tables by the id of the request. Raises `KafkaError`.

    `uncommitted` are requests whose snapshot has ended, as far as it is not known that Kafka has all of its rows: Kafka
    Connect sends the notification of the end after the rows, and a topic of another leader may have it before them.

    `exists` is false if one of its topics did not exist at the last `refresh`: nothing can be requested then. `config`
    is that of a connector that takes signals (`captured.takes_signals`).
    """

    def __init__(self, kafka: KafkaClients, name: str, config: Mapping[str, str]) -> None:
        self.pending: dict[str, Sequence[str]] = {}
        self.uncommitted: set[str] = set()
        self.is_read = self.exists = False
        # What the connector captured when the registrar deleted it, until it is created again.
        self.captured_when_deleted: Sequence[str] | None = None
        self.topics = topics_of(config)
        self._kafka = kafka
        self._name = name
        self._prefix, self._signals, _ = self.topics
        self._positions = {TopicPartition(topic, 0): 0 for topic in self.topics[1:]}
        size = config.get(_CHUNK, "")
        self._rows_of_a_chunk = int(size) if size.isdecimal() else _ROWS_OF_A_CHUNK
        # All tables that were ever requested, and the snapshots that have begun, by the ids of the requests.
        self._requested: dict[str, Sequence[str]] = {}
        self._runs: dict[str, _Run] = {}
        self._last_run: _Run | None = None
        self._noted_at = float("-inf")
        self._sent_at: dict[str, float] = {}
        # A repair and the loop of the snapshots use the same log.
        self._lock = asyncio.Lock()

    async def refresh(self) -> None:
        """Read the new records of both topics, if they exist."""
        async with self._lock:
            self.exists = await _exist(self._kafka, self.topics[1:])
            if not self.exists:
                return
            awaited = set(self.pending)
            for record in await _read(self._kafka, self._positions):
                value = _parsed(record.value)
                if record.topic == self._signals:
                    if record.key == _KEY_OF_REQUESTS:
                        self._note_request(value)
                    elif record.key == _KEY_OF_DELETIONS:
                        self.captured_when_deleted = value.get("captured")
                elif value.get("aggregate_type") == _INCREMENTAL:
                    self._note(value)
            for ended in [request for request in self.pending if self._has_ended(request)]:
                scans = self._runs[ended].scans
                self.uncommitted.add(ended)
                tables = [table for table in self.pending.pop(ended) if _is_copied(scans.get(table))]
                # Those of before were reported then.
                if ended in awaited and tables:
                    log.info("rows of tables copied", connector=self._name, tables=tables, notable=True)
            self.is_read = True

    async def request(self, tables: Sequence[str]) -> None:
        """Remember that the rows of these tables are needed, unless a request that is not begun has them.

        So a change that Kafka Connect refuses for hours causes one request.
        """
        async with self._lock:
            waiting = {table for id_, each in self.pending.items() if id_ not in self._runs for table in each}
            if new := [table for table in tables if table not in waiting]:
                await self._request(new)

    async def request_again(self, table: str) -> RequestedRows:
        """Request all rows of a captured table, unless a request for them is pending, as of the last `refresh`."""
        async with self._lock:
            found = next((request for request, tables in self.pending.items() if table in tables), None)
            return self._requested_rows(found or await self._request([table]), table)

    def find(self, request: str, table: str) -> RequestedRows | None:
        """The request with this id, as of the last `refresh`; None without such a request for the table."""
        return self._requested_rows(request, table) if table in self._requested.get(request, ()) else None

    def _requested_rows(self, request: str, table: str) -> RequestedRows:
        run = self._runs.get(request)
        scan = TableScan() if run is None else run.scans.get(table, TableScan())
        if table in self.pending.get(request, ()):
            state = RequestState.REQUESTED if run is None else RequestState.RUNNING
            return RequestedRows(request, table, state, scan.rows)
        if run is None or not run.has_ended:
            return RequestedRows(request, table, RequestState.WITHDRAWN)
        if request in self.uncommitted:
            return RequestedRows(request, table, RequestState.RUNNING, scan.rows)
        if _is_copied(scan):
            return RequestedRows(request, table, RequestState.COPIED, scan.rows)
        return RequestedRows(request, table, RequestState.NOT_COPIED, scan.rows, scan.status or "ABORTED")

    async def _request(self, tables: Sequence[str]) -> str:
        request = secrets.token_hex(8)
        await self._produce(_KEY_OF_REQUESTS, {"id": request, "tables": tables})
        self.pending[request] = self._requested[request] = tables
        return request

    async def withdraw(self, *, captured: Collection[str]) -> None:
        """Forget tables that the connector does not capture. If it captures one again, that is a new request."""
        async with self._lock:
            for request, tables in list(self.pending.items()):
                kept = [table for table in tables if table in captured]
                if len(kept) < len(tables):
                    withdrawn = [table for table in tables if table not in captured]
                    log.info("rows no longer needed", connector=self._name, tables=withdrawn, notable=True)
                    await self._produce(_KEY_OF_REQUESTS, {"id": request, "tables": kept})
                    self._note_request({"id": request, "tables": kept})

    async def signal(self) -> None:
        """Ask the connector, which captures the tables now, for the rows of each request that it has not begun."""
        async with self._lock:
            for request, tables in self.pending.items():
                is_due = time.monotonic() >= self._sent_at.get(request, float("-inf")) + RESEND_SECONDS
                if request not in self._runs and is_due:
                    log.info("copying the rows of tables", connector=self._name, tables=tables, notable=True)
                    data = {"type": "incremental", "data-collections": tables}
                    signal = {"id": request, "type": "execute-snapshot", "data": data}
                    await self._produce(self._prefix.encode(), signal)
                    self._sent_at[request] = time.monotonic()

    @property
    def is_silent(self) -> bool:
        """Has a snapshot begun, and has Debezium reported nothing for long?"""
        is_running = any(request in self._runs for request in self.pending)
        return is_running and time.monotonic() >= self._noted_at + RESEND_SECONDS

    async def signal_again(self) -> None:
        """The connector has lost the snapshot: it ended before it committed an offset that has it."""
        async with self._lock:
            log.warning("snapshot lost", connector=self._name, tables=[*self.pending.values()], notable=True)
            self._forget_lost_run()

    def _forget_lost_run(self) -> None:
        for request in [request for request, run in self._runs.items() if not run.has_ended]:
            del self._runs[request]
            self._sent_at.pop(request, None)
        self._last_run = None

    async def note_deletion(self, captured: Sequence[str] | None) -> None:
        """Remember what the connector captures, before it is deleted; None once it is created again.

        Kafka Connect keeps its offsets, but not its configuration: tables that are added meanwhile need a request.
        """
        async with self._lock:
            await self._produce(_KEY_OF_DELETIONS, {"captured": captured})
            self.captured_when_deleted = captured

    def _has_ended(self, request: str) -> bool:
        run = self._runs.get(request)
        return run is not None and run.has_ended

    def _note_request(self, value: Mapping[str, Any]) -> None:
        """A later record of a request replaces the earlier one. Without tables it is withdrawn."""
        match value:
            case {"id": str(request), "tables": [*tables]}:
                self._requested.setdefault(request, tables)
                self.pending[request] = tables
                if not tables:
                    del self.pending[request]

    def _note(self, notification: Mapping[str, Any]) -> None:
        request, kind = notification.get("id"), notification.get("type")
        if not isinstance(request, str):
            return
        self._noted_at = time.monotonic()
        facts = notification.get("additional_data") or {}
        if kind == "STARTED" and self._last_run is not None and not self._last_run.has_ended:
            self._forget_lost_run()
        # Debezium adds the tables of a request to a snapshot that is running, whose notifications have the id of the
        # last request from then on.
        if self._last_run is None or self._last_run.has_ended:
            self._last_run = _Run()
        run = self._last_run
        self._runs.setdefault(request, run)
        if kind in ("COMPLETED", "ABORTED"):
            run.has_ended = True
        elif kind == "IN_PROGRESS" and isinstance(table := facts.get("current_collection_in_progress"), str):
            run.scans.setdefault(table, TableScan()).rows += self._rows_of_a_chunk
        elif kind == "TABLE_SCAN_COMPLETED" and isinstance(table := facts.get("scanned_collection"), str):
            scan = run.scans[table] = TableScan(int(facts.get("total_rows_scanned", 0)), str(facts.get("status")))
            if not _is_copied(scan):
                log.warning(
                    "rows of a table not copied",
                    connector=self._name,
                    table=table,
                    reason=scan.status,
                    hint="sync-service routes backfill copies them",
                    notable=True,
                )

    async def _produce(self, key: bytes, value: Mapping[str, Any]) -> None:
        async with self._kafka.started(self._kafka.producer()) as producer:
            await producer.send_and_wait(self._signals, json.dumps(value).encode(), key=key, partition=0)


def _is_copied(scan: TableScan | None) -> bool:
    return scan is not None and scan.status in _COPIED


def topics_of(config: Mapping[str, str]) -> tuple[str, str, str]:
    """What the log of a connector depends on: the prefix of its topics, and those of signals and of notifications."""
    return config["topic.prefix"], config[SIGNALS], config[NOTIFICATIONS]


async def _exist(kafka: KafkaClients, topics: Iterable[str]) -> bool:
    """Do all of them? Raises `KafkaError`, also if it is not known."""
    found = (await describe_topics(kafka, topics)).values()
    for each in found:
        if isinstance(each, KafkaError) and not isinstance(each, UnknownTopicOrPartitionError):
            raise each
    return not any(isinstance(each, KafkaError) for each in found)


async def unknown_tables(kafka: KafkaClients, config: Mapping[str, str], tables: Iterable[str]) -> Collection[str]:
    """The named tables whose columns a connector of MySQL does not know from its history of DDL. Raises `KafkaError`.

    None for a connector whose history is not in Kafka.
    """
    if _HISTORY not in config:
        return []
    known: set[str] = set()
    for record in await _read(kafka, {TopicPartition(config[_HISTORY], 0): 0}):
        for change in _parsed(record.value).get("tableChanges") or ():
            name = change["id"].replace('"', "").replace("`", "")
            (known.discard if change["type"] == "DROP" else known.add)(name)
    return [table for table in tables if TABLE.fullmatch(table) and table not in known]


def _parsed(value: bytes | None) -> dict[str, Any]:
    try:
        found = json.loads(value or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


async def _read(
    kafka: KafkaClients, positions: dict[TopicPartition, int]
) -> "Sequence[ConsumerRecord[bytes | None, bytes | None]]":
    """All records from these positions on, which are changed to the ends."""
    consumer = kafka.consumer(
        enable_auto_commit=False, auto_offset_reset="earliest", isolation_level="read_committed", fetch_max_wait_ms=100
    )
    records: list[ConsumerRecord[bytes | None, bytes | None]] = []
    async with kafka.started(consumer):
        # Before the assignment: a broker answers these requests only after a fetch that waits for records.
        await fetch_metadata(consumer, [each.topic for each in positions])
        begins = await consumer.beginning_offsets(positions)
        ends = await consumer.end_offsets(positions)
        consumer.assign(list(positions))
        for partition, position in positions.items():
            consumer.seek(partition, max(position, begins[partition]))
        while any([await consumer.position(each) < ends[each] for each in positions]):
            for found in (await consumer.getmany(timeout_ms=_POLL_MS)).values():
                records += found
        for partition in positions:
            positions[partition] = max(await consumer.position(partition), ends[partition])
    return records
