"""Requests for rows of added tables are kept in the topic of a connector's signals."""

import json
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import structlog
from aiokafka.errors import KafkaError, LeaderNotAvailableError

from registrar.captured import NOTIFICATIONS, SIGNALS
from registrar.snapshots import SnapshotLog, unknown_tables
from registrar.topics import TopicDeclaration, ensure_topics
from service_kit.kafka import KafkaClients
from support.records import read_records


@pytest.fixture
def config() -> Mapping[str, str]:
    prefix = f"test-{secrets.token_hex(4)}"
    return {
        "topic.prefix": prefix,
        SIGNALS: f"{prefix}.signals",
        NOTIFICATIONS: f"{prefix}.notifications",
        "schema.history.internal.kafka.topic": f"{prefix}.history",
    }


@pytest.fixture
async def kafka(kafka_bootstrap_servers: str, config: Mapping[str, str]) -> KafkaClients:
    kafka = KafkaClients(kafka_bootstrap_servers)
    topics = [name for name in config.values() if name != config["topic.prefix"]]
    await ensure_topics(kafka, {topic: TopicDeclaration(partitions=1) for topic in topics}, deadline_seconds=120)
    return kafka


async def send(kafka: KafkaClients, topic: str, *records: tuple[bytes | None, Any]) -> None:
    async with kafka.started(kafka.producer()) as producer:
        for key, value in records:
            content = value if isinstance(value, bytes) else json.dumps(value).encode()
            await producer.send_and_wait(topic, content, key=key)


async def read(kafka: KafkaClients, config: Mapping[str, str]) -> SnapshotLog:
    """As a registrar that starts now does."""
    log = SnapshotLog(kafka, "shop", config)
    await log.refresh()
    return log


async def pending(kafka: KafkaClients, config: Mapping[str, str]) -> list[Sequence[str]]:
    return list((await read(kafka, config)).pending.values())


async def test_table_that_is_not_captured_any_more_is_requested_no_longer(
    kafka: KafkaClients, config: Mapping[str, str]
) -> None:
    log = await read(kafka, config)
    await log.request(["shop.a", "shop.b"])
    await log.request(["shop.c"])
    assert await pending(kafka, config) == [["shop.a", "shop.b"], ["shop.c"]]
    await log.withdraw(captured=["shop.a"])
    assert list(log.pending.values()) == [["shop.a"]]
    assert await pending(kafka, config) == [["shop.a"]]
    await log.withdraw(captured=["shop.a"])
    # A table that is captured again is requested again.
    await log.request(["shop.c"])
    assert await pending(kafka, config) == [["shop.a"], ["shop.c"]]


async def test_table_is_requested_once_until_its_snapshot_has_begun(
    kafka: KafkaClients, config: Mapping[str, str]
) -> None:
    log = await read(kafka, config)
    for _ in range(3):
        await log.request(["shop.a"])
    await log.request(["shop.b", "shop.a"])
    assert await pending(kafka, config) == [["shop.a"], ["shop.b"]]
    (first, _) = log.pending
    begun = {"aggregate_type": "Incremental Snapshot", "id": first, "type": "STARTED"}
    await send(kafka, config[NOTIFICATIONS], (None, begun))
    await log.refresh()
    await log.request(["shop.a"])
    assert await pending(kafka, config) == [["shop.a"], ["shop.b"], ["shop.a"]]
    await send(kafka, config[NOTIFICATIONS], (None, {**begun, "type": "COMPLETED"}))
    assert await pending(kafka, config) == [["shop.b"], ["shop.a"]]


async def test_records_of_others_in_the_topics_are_ignored(kafka: KafkaClients, config: Mapping[str, str]) -> None:
    log = await read(kafka, config)
    odd = [b"", b"no json", [], {}, {"id": 5, "tables": ["x"]}, {"id": "x"}, {"id": "x", "tables": "x"}]
    await send(kafka, config[SIGNALS], *((b"tandem", value) for value in odd), (b"tandem.deleted", b"no json"))
    kinds = [{"aggregate_type": "Incremental Snapshot"}, {"aggregate_type": "Initial Snapshot", "id": "x"}]
    await send(kafka, config[NOTIFICATIONS], *((None, value) for value in [*odd, *kinds]))
    await log.request(["shop.a"])
    await log.refresh()
    assert await pending(kafka, config) == [["shop.a"]]


async def test_what_a_deleted_connector_captured_is_remembered(kafka: KafkaClients, config: Mapping[str, str]) -> None:
    log = await read(kafka, config)
    assert log.captured_when_deleted is None
    await log.note_deletion(["shop.a"])
    assert (await read(kafka, config)).captured_when_deleted == ["shop.a"]
    await log.note_deletion(None)
    assert (await read(kafka, config)).captured_when_deleted is None


async def test_connector_whose_topics_do_not_exist_can_not_be_asked(
    kafka: KafkaClients, config: Mapping[str, str]
) -> None:
    assert (await read(kafka, config)).exists
    assert not (await read(kafka, {**config, NOTIFICATIONS: f"{config[NOTIFICATIONS]}.absent"})).exists


async def test_topic_whose_leader_is_not_available_is_not_missing(
    config: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def restarting(_kafka: KafkaClients, names: Sequence[str]) -> Mapping[str, KafkaError]:
        return {name: LeaderNotAvailableError(name) for name in names}

    monkeypatch.setattr("registrar.snapshots.describe_topics", restarting)
    with pytest.raises(LeaderNotAvailableError):
        await read(KafkaClients("127.0.0.1:1"), config)


async def test_only_named_tables_are_unknown_to_a_history_in_kafka(
    kafka: KafkaClients, config: Mapping[str, str]
) -> None:
    change = {"tableChanges": [{"type": "CREATE", "id": '"shop"."a"'}]}
    await send(kafka, config["schema.history.internal.kafka.topic"], (None, change))
    assert await unknown_tables(kafka, config, ["shop.a", "shop.b", "shop[.]c.*"]) == ["shop.b"]
    of_a_file = {name: value for name, value in config.items() if not name.startswith("schema.history")}
    assert await unknown_tables(kafka, of_a_file, ["shop.b"]) == []


async def test_signal_names_the_tables_that_are_left(
    kafka: KafkaClients, config: Mapping[str, str], kafka_bootstrap_servers: str
) -> None:
    log = await read(kafka, config)
    await log.request(["shop.a", "shop.b"])
    await log.withdraw(captured=["shop.b"])
    for _ in range(2):
        await log.signal()
    records = await read_records(kafka_bootstrap_servers, config[SIGNALS], 0)
    signals = [json.loads(record.value) for record in records if record.key == config["topic.prefix"].encode()]
    assert [signal["data"] for signal in signals] == [{"type": "incremental", "data-collections": ["shop.b"]}]


def test_end_of_a_snapshot_is_that_of_all_requests_whose_tables_were_added_to_it(config: Mapping[str, str]) -> None:
    """As seen with Debezium 3.6.1: two requests in a row, and no end with the id of the first."""
    log = SnapshotLog(KafkaClients("127.0.0.1:1"), "shop", config)
    log.pending = {"first": ["shop.a"], "second": ["shop.b"], "later": ["shop.c"]}
    for request, kind in (("first", "STARTED"), ("second", "IN_PROGRESS"), ("second", "COMPLETED")):
        log._note({"id": request, "type": kind})
    assert [request for request in log.pending if log._has_ended(request)] == ["first", "second"]


async def test_only_rows_that_were_copied_are_reported_as_copied(
    kafka: KafkaClients, config: Mapping[str, str]
) -> None:
    log = await read(kafka, config)
    await log.request(["shop.a", "shop.b"])
    (request,) = log.pending
    scans = [
        {"scanned_collection": table, "status": status}
        for table, status in (("shop.a", "UNKNOWN_SCHEMA"), ("shop.b", "SUCCEEDED"))
    ]
    notes = [("STARTED", {}), *(("TABLE_SCAN_COMPLETED", scan) for scan in scans), ("COMPLETED", {})]
    await send(
        kafka,
        config[NOTIFICATIONS],
        *(
            (None, {"aggregate_type": "Incremental Snapshot", "id": request, "type": kind, "additional_data": facts})
            for kind, facts in notes
        ),
    )
    with structlog.testing.capture_logs() as lines:
        await log.refresh()
    assert log.pending == {}
    assert [each["tables"] for each in lines if each["event"] == "rows of tables copied"] == [["shop.b"]]
    assert [each["table"] for each in lines if each["event"] == "rows of a table not copied"] == ["shop.a"]


def notes(request: str, *facts: tuple[str, Mapping[str, str]]) -> list[tuple[None, Mapping[str, Any]]]:
    """Notifications as Debezium 3.6.1 sends them."""
    kind = "Incremental Snapshot"
    return [
        (None, {"aggregate_type": kind, "id": request, "type": type_, "additional_data": data}) for type_, data in facts
    ]


def scanned(table: str, rows: int, status: str) -> tuple[str, Mapping[str, str]]:
    facts = {"scanned_collection": table, "total_rows_scanned": str(rows), "status": status}
    return "TABLE_SCAN_COMPLETED", facts


async def test_rows_of_a_captured_table_are_requested_once_and_followed(
    kafka: KafkaClients, config: Mapping[str, str]
) -> None:
    log = await read(kafka, config)
    await log.request(["shop.b"])
    first = await log.request_again("shop.a")
    assert (first.state, first.rows) == ("requested", 0)
    in_progress = ("IN_PROGRESS", {"current_collection_in_progress": "shop.a"})
    await send(kafka, config[NOTIFICATIONS], *notes(first.id, ("STARTED", {}), in_progress, in_progress))
    await log.refresh()
    running = await log.request_again("shop.a")
    assert (running.id, running.state, running.rows) == (first.id, "running", 2048)
    # As another registrar sees it.
    assert (await read(kafka, config)).find(first.id, "shop.a") == running
    ended = notes(first.id, scanned("shop.a", 1500, "SUCCEEDED"), ("COMPLETED", {}))
    await send(kafka, config[NOTIFICATIONS], *ended)
    await log.refresh()
    # Kafka Connect has not committed an offset without the snapshot yet.
    unsure = log.find(first.id, "shop.a")
    assert unsure is not None
    assert (unsure.state, unsure.rows, log.uncommitted) == ("running", 1500, {first.id})
    log.uncommitted.clear()
    copied = log.find(first.id, "shop.a")
    assert copied is not None
    assert (copied.state, copied.rows, copied.reason) == ("copied", 1500, None)
    assert log.find(first.id, "shop.b") is log.find("0123", "shop.a") is None
    assert (await log.request_again("shop.a")).id != first.id


async def test_request_for_rows_that_are_not_copied_says_why(kafka: KafkaClients, config: Mapping[str, str]) -> None:
    log = await read(kafka, config)
    odd, withdrawn = await log.request_again("shop.odd"), await log.request_again("shop.gone")
    await log.withdraw(captured=["shop.odd"])
    ended = notes(odd.id, ("STARTED", {}), scanned("shop.odd", 3, "UNKNOWN_SCHEMA"), ("COMPLETED", {}))
    await send(kafka, config[NOTIFICATIONS], *ended)
    await log.refresh()
    log.uncommitted.clear()
    found = [log.find(odd.id, "shop.odd"), log.find(withdrawn.id, "shop.gone")]
    assert [(each.state, each.reason) for each in found if each] == [
        ("not-copied", "UNKNOWN_SCHEMA"),
        ("withdrawn", None),
    ]


async def test_snapshot_that_the_connector_has_lost_is_requested_again(
    kafka: KafkaClients, config: Mapping[str, str], kafka_bootstrap_servers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kafka Connect was killed after Debezium's first notification, and before the next commit of its offsets."""
    log = await read(kafka, config)
    requested = await log.request_again("shop.a")
    await log.signal()
    await send(kafka, config[NOTIFICATIONS], *notes(requested.id, ("STARTED", {})))
    await log.refresh()
    assert not log.is_silent
    monkeypatch.setattr("registrar.snapshots.RESEND_SECONDS", 0)
    assert log.is_silent
    await log.signal_again()
    assert not log.is_silent
    await log.signal()
    records = await read_records(kafka_bootstrap_servers, config[SIGNALS], 0)
    signals = [json.loads(record.value) for record in records if record.key == config["topic.prefix"].encode()]
    assert [signal["id"] for signal in signals] == [requested.id] * 2


async def test_snapshot_that_begins_shows_that_the_one_before_is_lost(
    kafka: KafkaClients, config: Mapping[str, str]
) -> None:
    log = await read(kafka, config)
    lost, later = await log.request_again("shop.a"), await log.request_again("shop.b")
    await send(kafka, config[NOTIFICATIONS], *notes(lost.id, ("STARTED", {})), *notes(later.id, ("STARTED", {})))
    await log.refresh()
    states = [log.find(lost.id, "shop.a"), log.find(later.id, "shop.b")]
    assert [each.state for each in states if each] == ["requested", "running"]
