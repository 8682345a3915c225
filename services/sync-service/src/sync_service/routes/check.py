"""What would stop a route: `sync-service routes check` finds it beforehand, as far as its servers are there to ask."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from itertools import combinations

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError, TopicAuthorizationFailedError, UnknownTopicOrPartitionError

from service_kit.kafka import KafkaClients
from service_kit.kafka_topics import Topic, describe_topics
from sync_service.debezium.envelope import decode
from sync_service.debezium.errors import InvalidEvent, MissingColumn, MissingKey, NoKeys
from sync_service.kafka.admin import OffsetRange, offset_ranges_or_errors
from sync_service.kafka.clients import consumer_of_topics, read_until
from sync_service.kafka.deadlines import within
from sync_service.routes.config import Route
from sync_service.routes.mapping import map_event_key, map_fields
from sync_service.sinks.registry import refused_schemas
from sync_service.sinks.sources import SOURCES

# The last offsets of a partition that are searched for an event: some are transaction markers or tombstones.
_LAST_OFFSETS = 10
_READ_SECONDS = 60.0
# The field of the declaration that an error of every event is about.
_FAULTS = {NoKeys: "topic", MissingKey: "key", MissingColumn: "fields"}


@dataclass(frozen=True, slots=True)
class Finding:
    """`field` is the one in the declaration of the route that the reason is about. A doubt may be no fault."""

    route: str
    field: str
    reason: str
    is_doubt: bool = False


def static_findings(routes: Sequence[Route], mongodb_database: str | None = None) -> list[Finding]:
    """What the declarations alone show. Pure.

    `mongodb_database` is that of `MONGODB_URL`, with the copies whose routes name none; None if it is not known.
    """
    return [
        *_shared_names(routes),
        *_equal_columns(routes),
        *_other_sources(routes),
        *_copies_that_a_connector_reads(routes, mongodb_database),
    ]


def _shared_names(routes: Sequence[Route]) -> Iterator[Finding]:
    """A copy has a table and a view: the table of route `a` and the view of route `a_copy` have one name."""
    for first, second in combinations(routes, 2):
        same_place = first.target.store == second.target.store and first.target.database == second.target.database
        names = {first.target.name, first.target.copy_name} & {second.target.name, second.target.copy_name}
        shared = same_place and first.target.name == second.target.name
        if same_place and names and not shared:
            reason = (
                f"both this route and route {first.name} need the name {min(names)}: a copy has the name of its "
                "target for the live rows, and <name>_copy for all rows"
            )
            yield Finding(second.name, "target", reason)


def _equal_columns(routes: Iterable[Route]) -> Iterator[Finding]:
    for route in routes:
        if route.target.has_case_sensitive_fields:
            continue
        seen: dict[str, str] = {}
        for name in (*route.key, *route.fields):
            first = seen.setdefault(name.lower(), name)
            if first != name:
                reason = f"{first} and {name} are one column, because {route.target.store} ignores the case of names"
                yield Finding(route.name, "fields", reason)


def _other_sources(routes: Iterable[Route]) -> Iterator[Finding]:
    for route in routes:
        prefix = route.topic.rpartition(".")[0].lower()
        named = {store for store, source in SOURCES.items() if any(word in prefix for word in source.names)}
        if named and route.source_store not in named:
            yield Finding(route.name, "topic", _other_source(route, f"the name of {route.topic} says"), is_doubt=True)


def _other_source(route: Route, source: str) -> str:
    return (
        f"{source} that its events do not come from {route.source_store}, and a target in {route.target.store} is a "
        f"copy of {route.source_store}"
    )


def _copies_that_a_connector_reads(routes: Sequence[Route], mongodb_database: str | None) -> Iterator[Finding]:
    """Copies in the default database, if a connector gets its every change: bulk in a copy starves the connector.

    The loader refuses those in a database that a route names.
    """
    for route in routes:
        target = route.target
        if target.database is not None or not target.is_read_whole:
            continue
        readers = [
            each.name
            for each in routes
            if each.source_store == target.store
            and (mongodb_database is None or each.reads(target.store, mongodb_database))
        ]
        if readers:
            place = mongodb_database or "the database of MONGODB_URL"
            condition = "" if mongodb_database else " if it reads that database"
            reason = (
                f"the copy is in {place}, and the connector of route {readers[0]} reads every change of the copy, "
                f"too{condition}: many changes starve it. Add `database: {_free_database(route, routes)}`, and the "
                "sync moves the copy (docs/operations.md)"
            )
            yield Finding(route.name, "target", reason, is_doubt=True)


def _free_database(route: Route, routes: Sequence[Route]) -> str:
    """The name of the source's database; with `_copy` if a connector of the target's server reads one of that name."""
    name = route.source[0] if route.source else route.name
    is_free = not any(each.reads(route.target.store, name) for each in routes)
    return name if is_free else f"{name}_copy"


async def refused_targets(mysql_url: str, routes: Sequence[Route]) -> list[Finding]:
    """What the store of a target refuses. Raises `Unavailable`, `TimeoutError`."""
    refused = await refused_schemas(mysql_url, routes)
    return [Finding(name, "target", reason) for name, reason in refused.items()]


async def refused_events(kafka: KafkaClients, routes: Sequence[Route]) -> list[Finding]:
    """Whether each topic can be read, and its newest events be applied at all.

    Topics that do not exist yet are left out. Raises `KafkaError` if the broker does not answer.
    """
    by_topic = {route.topic: route for route in routes}
    findings: list[Finding] = []
    async with within(_READ_SECONDS, "the newest events could not be read"):
        topics = []
        for name, topic in (await describe_topics(kafka, by_topic)).items():
            if isinstance(topic, Topic):
                topics.append(topic)
            elif not isinstance(topic, UnknownTopicOrPartitionError):
                findings.append(await _unreadable(kafka, by_topic[name], topic))
        async with consumer_of_topics(kafka, topics, client_id="sync-service-check") as consumer:
            led = [
                each for topic in topics for each in topic.topic_partitions if each.partition not in topic.leaderless
            ]
            answers = await offset_ranges_or_errors(consumer, led)
            for topic in topics:
                kept = {each: answers.get(each) for each in topic.topic_partitions}
                findings += await _check_topic(kafka, consumer, by_topic[topic.name], kept)
    return findings


async def _unreadable(kafka: KafkaClients, route: Route, error: KafkaError) -> Finding:
    return Finding(route.name, "topic", await kafka.explain(error), is_doubt=bool(error.retriable))


async def _check_topic(
    kafka: KafkaClients,
    consumer: AIOKafkaConsumer,
    route: Route,
    kept: Mapping[TopicPartition, OffsetRange | KafkaError | None],
) -> list[Finding]:
    """At most one finding. Partitions without offsets are a doubt: they may have no leader at the moment only."""
    ranges = {
        partition: (max(found.begin, found.end - _LAST_OFFSETS), found.end)
        for partition, found in kept.items()
        if isinstance(found, OffsetRange)
    }
    try:
        filled = {partition: offsets for partition, offsets in ranges.items() if offsets[0] < offsets[1]}
        async with aclosing(read_until(consumer, filled)) as records:
            async for record in records:
                if (finding := _finding(route, record)) is not None:
                    return [finding]
    except TopicAuthorizationFailedError as error:
        return [await _unreadable(kafka, route, error)]
    if numbers := [str(partition.partition) for partition in kept if partition not in ranges]:
        reason = f"the broker has no offsets of partition {', '.join(numbers)} of {route.topic}: events not checked"
        return [Finding(route.name, "topic", reason, is_doubt=True)]
    return []


def _finding(route: Route, record: "ConsumerRecord[bytes, bytes]") -> Finding | None:
    """Why no event like this can be applied. Whatever concerns a single event is no fault of the route."""
    place = f"{record.topic}-{record.partition}@{record.offset}"
    try:
        event = decode(record.key, record.value)
        if event is None:
            return None
        if event.source.connector != route.source_store:
            return Finding(route.name, "topic", _other_source(route, f"the event {place} says"))
        map_event_key(route, event.key)
        if event.after is not None:
            map_fields(route, event.after)
    except InvalidEvent as error:
        field = next((field for kind, field in _FAULTS.items() if isinstance(error, kind)), None)
        # The event may be older than its column.
        is_doubt = isinstance(error, MissingColumn)
        return None if field is None else Finding(route.name, field, f"{place}: {error}", is_doubt)
    return None
