"""The connectors and topics that follow from `routes.yaml`. Pure.

Values like `${CDC_MYSQL_HOST}` are environment variables, which `connectors.py` inserts.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

from registrar.connectors import HEARTBEAT_TOPIC_PREFIX
from registrar.topics import TopicDeclaration
from sync_service.routes.config import Route
from sync_service.routes.loader import RoutesFile
from sync_service.sinks.source_declaration import Source

# The names of what a connector leaves out: regular expressions for MySQL, plain names for MongoDB (Debezium's
# documentation of its connectors).
EXCLUSIONS = {"mysql": "column.exclude.list", "mongodb": "field.exclude.list"}

# All events of a row have the same key, so one partition has them in order. They are kept for 7 days, so that a sync
# that is down over a weekend misses none; a broker's default may be hours. They are no backup: rows are restored from
# the stores, by a snapshot or by `sync-service reconcile --repair`.
# A broker deletes whole segments of a log, so records are kept for up to a day (segment.ms) longer.
# Never compacted: compaction removes the events of deletes, which a sync that reads from the beginning needs.
_EVENTS = {"retention.ms": "604800000", "segment.ms": "86400000", "cleanup.policy": "delete"}
_HEARTBEATS = TopicDeclaration(partitions=1, config={"retention.ms": "3600000"})
# The schema of the tables at each position of the binary log. Debezium needs the whole topic, without a time limit.
_SCHEMA_HISTORY = TopicDeclaration(partitions=1, config={"retention.ms": "-1", "cleanup.policy": "delete"})
# What the registrar asks of a connector, and the answers.
_SIGNALS = TopicDeclaration(partitions=1, config={"retention.ms": "2592000000", "cleanup.policy": "delete"})
# DDL statements, in which sync-service finds changes of rows without events.
_STATEMENTS = TopicDeclaration(partitions=1, config=_EVENTS)

_FACTOR = "${REGISTRAR_REPLICATION_FACTOR}"
_OF_ALL = {
    "skipped.operations": "none",
    "tombstones.on.delete": "true",
    "heartbeat.interval.ms": "2000",
}
_RETRIES = {"errors.max.retries": "-1", "errors.retry.delay.max.ms": "10000"}
_QUEUE = {"max.queue.size": "16384"}


def generated_connectors(file: RoutesFile) -> dict[str, dict[str, str]]:
    """The configuration of each source's connector, by its name. A source without routes has none."""
    found = {}
    for source in file.sources:
        tables = _tables(source, file.captured)
        if tables:
            found[source.name] = with_exclusions(connector_settings(source, tables), file.captured)
    return found


def connector_settings(source: Source, tables: Sequence[str]) -> dict[str, str]:
    """Of a connector that reads these tables or collections."""
    generate = _mysql if source.kind == "mysql" else _mongodb
    return {**generate(source, tables), **source.options}


def generated_topics(file: RoutesFile) -> dict[str, TopicDeclaration]:
    """The topics of the generated connectors."""
    topics: dict[str, TopicDeclaration] = {}
    for source in file.sources:
        tables = _tables(source, file.captured)
        events = TopicDeclaration(partitions=source.partitions, config=_EVENTS)
        topics |= {f"{source.topic_prefix}.{table}": events for table in tables}
        if tables:
            topics[HEARTBEAT_TOPIC_PREFIX + source.topic_prefix] = _HEARTBEATS
        if tables:
            topics |= {f"{source.topic_prefix}.{name}": _SIGNALS for name in ("signals", "notifications")}
        if tables and source.kind == "mysql":
            topics[_history_topic(source)] = _SCHEMA_HISTORY
            topics[source.topic_prefix] = _STATEMENTS
    return topics


def with_exclusions(config: Mapping[str, str], routes: Iterable[Route]) -> dict[str, str]:
    """Let a connector leave out what a route on its topics drops as personal and none copies.

    Its own exclusions stay.
    """
    kind = "mysql" if "MySqlConnector" in config["connector.class"] else "mongodb"
    setting = EXCLUSIONS[kind]
    declared = [entry for entry in config.get(setting, "").split(",") if entry]
    read = [
        (route, route.source)
        for route in routes
        if route.source is not None and route.topic == ".".join((config["topic.prefix"], *route.source))
    ]
    copied = {(source, path) for route, source in read for path in route.source_paths.values()}
    dropped = [
        ".".join(re.escape(step) if kind == "mysql" else step for step in (*source, *path))
        for route, source in read
        for path in route.excluded
        if (source, path) not in copied
    ]
    excluded = ",".join(dict.fromkeys([*declared, *dropped]))
    if not excluded or setting in config:
        return {**config, **({setting: excluded} if excluded else {})}
    changed: dict[str, str] = {}
    for name, value in config.items():
        changed[name] = value
        if name in ("table.include.list", "collection.include.list"):
            changed[setting] = excluded
    return {**changed, setting: excluded}


def with_statements(config: Mapping[str, str]) -> dict[str, str]:
    """Let a connector of MySQL write the DDL statements to the topic named by `topic.prefix`.

    sync-service finds changes of rows without events in them. Declarations of releases up to 0.1 have `false`, so
    theirs does not count.
    """
    is_of_mysql = "MySqlConnector" in config["connector.class"]
    return {**config, **({"include.schema.changes": "true"} if is_of_mysql else {})}


def _tables(source: Source, routes: Iterable[Route]) -> Sequence[str]:
    """`<database>.<table>` of each table or collection that a route copies from the source."""
    found = (source.table(route.topic) for route in routes)
    return list(dict.fromkeys(table for table in found if table is not None))


def _history_topic(source: Source) -> str:
    return f"{source.topic_prefix}.schema-history"


def _mysql(source: Source, tables: Sequence[str]) -> dict[str, str]:
    databases = dict.fromkeys(table.partition(".")[0] for table in tables)
    return {
        "connector.class": "io.debezium.connector.mysql.MySqlConnector",
        "tasks.max": "1",
        "topic.prefix": source.topic_prefix,
        "database.hostname": _variable(source, "HOST"),
        "database.port": _variable(source, "PORT"),
        "database.user": _variable(source, "USER"),
        "database.password": _variable(source, "PASSWORD"),
        "database.server.id": str(source.server_id),
        "database.include.list": ",".join(databases),
        "table.include.list": ",".join(tables),
        "database.allowPublicKeyRetrieval": "true",
        "driver.connectionCollation": "utf8mb4_0900_ai_ci",
        "driver.characterSetResults": "null",
        "schema.history.internal.kafka.bootstrap.servers": "${KAFKA_BOOTSTRAP_SERVERS}",
        "schema.history.internal.kafka.topic": _history_topic(source),
        # So that a table can be added later without a snapshot of its definition.
        "schema.history.internal.store.only.captured.tables.ddl": "false",
        "snapshot.mode": "when_needed",
        "snapshot.locking.mode": "minimal",
        "decimal.handling.mode": "string",
        "time.precision.mode": "isostring",
        "enable.time.adjuster": "false",
        **_OF_ALL,
        "poll.interval.ms": "500",
        "max.batch.size": "1",
        "connect.keep.alive.interval.ms": "5000",
        **_RETRIES,
        **_topic_creation(source),
        **_QUEUE,
        **_signals(source),
        # Snapshots of added tables take their place in the log from GTIDs, instead of writing to the database.
        "read.only": "true",
    }


def _mongodb(source: Source, collections: Sequence[str]) -> dict[str, str]:
    return {
        "connector.class": "io.debezium.connector.mongodb.MongoDbConnector",
        "tasks.max": "1",
        "topic.prefix": source.topic_prefix,
        "mongodb.connection.string": _variable(source, "URL"),
        "capture.scope": "database",
        "capture.target": str(source.database),
        "capture.mode": "change_streams_update_full",
        "collection.include.list": ",".join(collections),
        "snapshot.mode": "when_needed",
        **_OF_ALL,
        "poll.interval.ms": "20",
        "cursor.max.await.time.ms": "1000",
        "max.batch.size": "16",
        **_RETRIES,
        **_topic_creation(source),
        **_QUEUE,
        **_signals(source),
        # Snapshots of added collections mark their place in the change stream by documents of this collection.
        "signal.data.collection": f"{source.database}.debezium_signals",
        "incremental.snapshot.watermarking.strategy": "insert_delete",
    }


def _signals(source: Source) -> dict[str, str]:
    topic = f"{source.topic_prefix}.signals"
    return {
        "signal.enabled.channels": "kafka" if source.kind == "mysql" else "kafka,source",
        "signal.kafka.bootstrap.servers": "${KAFKA_BOOTSTRAP_SERVERS}",
        "signal.kafka.topic": topic,
        "signal.kafka.groupId": topic,
        "signal.poll.interval.ms": "1000",
        "notification.enabled.channels": "sink",
        "notification.sink.topic.name": f"{source.topic_prefix}.notifications",
    }


def _topic_creation(source: Source) -> dict[str, str]:
    """Topics exist before the connector. This is for one that is deleted while it runs."""
    return {
        "topic.creation.default.replication.factor": _FACTOR,
        "topic.creation.default.partitions": str(source.partitions),
        "topic.creation.groups": "heartbeats",
        "topic.creation.heartbeats.include": "__debezium-heartbeat[.].*",
        "topic.creation.heartbeats.replication.factor": _FACTOR,
        "topic.creation.heartbeats.partitions": "1",
    }


def _variable(source: Source, part: str) -> str:
    return f"${{{source.environment}_{part}}}"
