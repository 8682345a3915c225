"""Snapshots of tables that a connector begins to capture while it runs: Debezium's incremental snapshots.

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
from typing import Any

import structlog
from aiokafka import ConsumerRecord, TopicPartition

from registrar.captured import NOTIFICATIONS, SIGNALS, TABLE
from service_kit.kafka import KafkaClients, know_topics
from service_kit.kafka_topics import Topic, describe_topics

log = structlog.get_logger(__name__)

_HISTORY = "schema.history.internal.kafka.topic"
_KEY_OF_REQUESTS, _KEY_OF_DELETIONS = b"tandem", b"tandem.deleted"
_INCREMENTAL = "Incremental Snapshot"
# A signal that an ending task has consumed is lost. A second one copies the rows again, which changes nothing.
RESEND_SECONDS = 20.0
_POLL_MS = 200


class SnapshotLog:
    """The requests for one connector. `pending` are tables by the id of the request. Raises `KafkaError`.

    `exists` is false if one of its topics did not exist at the last `refresh`: nothing can be requested then. `config`
    is that of a connector that takes signals (`captured.takes_signals`).
    """

    def __init__(self, kafka: KafkaClients, name: str, config: Mapping[str, str]) -> None:
        self.pending: dict[str, Sequence[str]] = {}
        self.is_read = self.exists = False
        # What the connector captured when the registrar deleted it, until it is created again.
        self.captured_when_deleted: Sequence[str] | None = None
        self.topics = topics_of(config)
        self._kafka = kafka
        self._name = name
        self._prefix, self._signals, _ = self.topics
        self._positions = {TopicPartition(topic, 0): 0 for topic in self.topics[1:]}
        self._ended: set[str] = set()
        self._begun: set[str] = set()
        self._not_copied: set[str] = set()
        self._sent_at: dict[str, float] = {}
        # A repair and the loop of the snapshots use the same log.
        self._lock = asyncio.Lock()

    async def refresh(self) -> None:
        """Read the new records of both topics, if they exist."""
        async with self._lock:
            found = await describe_topics(self._kafka, self.topics[1:])
            self.exists = all(isinstance(topic, Topic) for topic in found.values())
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
            for ended in self._ended & self.pending.keys():
                tables = [table for table in self.pending.pop(ended) if table not in self._not_copied]
                # Those of before were reported then.
                if ended in awaited and tables:
                    log.info("rows of added tables copied", connector=self._name, tables=tables, notable=True)
            self.is_read = True

    async def request(self, tables: Sequence[str]) -> None:
        """Remember that the rows of these tables are needed, unless a request that is not begun has them.

        So a change that Kafka Connect refuses for hours causes one request.
        """
        async with self._lock:
            waiting = {table for id_, each in self.pending.items() if id_ not in self._begun for table in each}
            if new := [table for table in tables if table not in waiting]:
                request = secrets.token_hex(8)
                await self._produce(_KEY_OF_REQUESTS, {"id": request, "tables": new})
                self.pending[request] = new

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
                if request not in self._begun and is_due:
                    log.info("copying the rows of added tables", connector=self._name, tables=tables, notable=True)
                    data = {"type": "incremental", "data-collections": tables}
                    signal = {"id": request, "type": "execute-snapshot", "data": data}
                    await self._produce(self._prefix.encode(), signal)
                    self._sent_at[request] = time.monotonic()

    async def note_deletion(self, captured: Sequence[str] | None) -> None:
        """Remember what the connector captures, before it is deleted; None once it is created again.

        Kafka Connect keeps its offsets, but not its configuration: tables that are added meanwhile need a request.
        """
        async with self._lock:
            await self._produce(_KEY_OF_DELETIONS, {"captured": captured})
            self.captured_when_deleted = captured

    def _note_request(self, value: Mapping[str, Any]) -> None:
        """A later record of a request replaces the earlier one. Without tables it is withdrawn."""
        match value:
            case {"id": str(request), "tables": [*tables]}:
                self.pending[request] = tables
                if not tables:
                    del self.pending[request]

    def _note(self, notification: Mapping[str, Any]) -> None:
        request, kind = notification.get("id"), notification.get("type")
        if not isinstance(request, str):
            return
        facts = notification.get("additional_data") or {}
        self._begun.add(request)
        if kind in ("COMPLETED", "ABORTED"):
            # Debezium adds the tables of a request to a snapshot that is running, whose notifications have the id of
            # the last request from then on.
            self._ended |= self._begun
        table = facts.get("scanned_collection", "")
        if kind == "TABLE_SCAN_COMPLETED" and facts.get("status") in ("SUCCEEDED", "EMPTY"):
            self._not_copied.discard(table)
        elif kind == "TABLE_SCAN_COMPLETED":
            self._not_copied.add(table)
            log.warning(
                "rows of an added table not copied",
                connector=self._name,
                table=table,
                reason=facts.get("status"),
                hint="sync-service routes backfill copies them",
                notable=True,
            )

    async def _produce(self, key: bytes, value: Mapping[str, Any]) -> None:
        async with self._kafka.started(self._kafka.producer()) as producer:
            await producer.send_and_wait(self._signals, json.dumps(value).encode(), key=key, partition=0)


def topics_of(config: Mapping[str, str]) -> tuple[str, str, str]:
    """What the log of a connector depends on: the prefix of its topics, and those of signals and of notifications."""
    return config["topic.prefix"], config[SIGNALS], config[NOTIFICATIONS]


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
        await know_topics(consumer, [each.topic for each in positions])
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
