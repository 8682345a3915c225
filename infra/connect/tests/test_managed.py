"""What follows from what is known about one connector."""

import pytest

from registrar.connectors import Connector
from registrar.managed import ManagedConnector
from registrar.snapshots import SnapshotLog
from registrar.state import ConnectorMonitor, ConnectorState
from service_kit.kafka import KafkaClients

CONFIG = {
    "topic.prefix": "cdc.shop",
    "collection.include.list": "shop.a,shop.b",
    "heartbeat.interval.ms": "2000",
    "signal.kafka.topic": "cdc.shop.signals",
    "signal.enabled.channels": "source,kafka",
    "notification.enabled.channels": "sink",
    "notification.sink.topic.name": "cdc.shop.notifications",
}


@pytest.mark.parametrize(
    ("state", "pending", "awaited"),
    [
        (None, [], []),
        (ConnectorState(None), [], ["shop.a", "shop.b"]),
        # It takes its first snapshot.
        (ConnectorState(CONFIG, "RUNNING", ("RUNNING",)), [], ["shop.a", "shop.b"]),
        (ConnectorState(CONFIG, "RUNNING", ("RUNNING",), heartbeats_unknown="no broker"), [], []),
        (ConnectorState(CONFIG, "RUNNING", ("RUNNING",), sends_heartbeats=False), [], []),
        (ConnectorState(CONFIG, "RUNNING", ("RUNNING",), heartbeat_age=1.0), [], []),
        (ConnectorState(CONFIG, "RUNNING", ("RUNNING",), heartbeat_age=1.0), ["shop.b"], ["shop.b"]),
        (
            ConnectorState({**CONFIG, "collection.include.list": "shop.b"}, "RUNNING", ("RUNNING",), heartbeat_age=1.0),
            [],
            ["shop.a"],
        ),
    ],
)
def test_rows_that_a_snapshot_has_to_copy(state: ConnectorState | None, pending: list[str], awaited: list[str]) -> None:
    log = SnapshotLog(KafkaClients("127.0.0.1:1"), "shop", CONFIG)
    log.pending = {"request": pending}
    managed = ManagedConnector(Connector("shop", CONFIG), ConnectorMonitor("shop", 60.0), log, state)
    assert managed.rows_awaited == awaited
