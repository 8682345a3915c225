"""Records that carry an excluded field are deleted from the topics when they are applied, and no event is lost."""

import json
import secrets
import signal
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.structs import OffsetAndMetadata
from sqlalchemy.ext.asyncio import AsyncEngine

from service_kit.kafka import KafkaClients
from support.change_events import USER_COLUMNS, Record, mysql_event
from support.polling import eventually
from support.records import read_records
from support.replicas import Replica
from support.sync_process import SyncProcess, tweet_event
from sync_service.dead_letters.erasure import DeadLetterErasure
from sync_service.dead_letters.models import DEAD_LETTERS_TOPIC, DeadLetterId, dead_letter_headers, resolution_headers
from sync_service.dead_letters.store import DeadLetterReader, DeadLetterWriter
from sync_service.kafka.admin import existing_topics
from sync_service.kafka.erasure import ErasedOffsets
from sync_service.routes.exclusion import ExcludedFields

if TYPE_CHECKING:
    # motor's classes are generic for the type checker only.
    from motor.motor_asyncio import AsyncIOMotorDatabase

    Database = AsyncIOMotorDatabase[dict[str, Any]]

# Other tests of this broker have dead letters, too.
ADDRESS = f"@{secrets.token_hex(4)}.example.com"
FIELDS = ExcludedFields([("email",)])


def released_event(number: int, *, pos: int = 100, **changed: Any) -> Record:
    """A user's event as the connector of release 0.1.0 wrote it."""
    row = {**dict.fromkeys(USER_COLUMNS), "username": f"user{number}", "email": f"user{number}{ADDRESS}"}
    return mysql_event({"id": f"u{number}", **row, **changed}, pos=pos)


async def dead_letter(sync: SyncProcess, route: str, event: Record, offset: int) -> str:
    """As release 0.1.0 wrote it."""
    topic = (await existing_topics(kafka_of(sync), [sync.topic(route)]))[sync.topic(route)]
    key, value = event
    record: ConsumerRecord[bytes, bytes] = ConsumerRecord(
        topic=topic.name,
        partition=1,
        offset=offset,
        timestamp=0,
        timestamp_type=0,
        key=key,
        value=value,
        checksum=None,
        serialized_key_size=-1,
        serialized_value_size=-1,
        headers=[],
    )
    headers = dead_letter_headers(record, "VALUE_CONVERTER", ValueError(f"no: {value!r}"[:200]), topic.id)
    stored = await sync.producer.send_and_wait(DEAD_LETTERS_TOPIC, key=key, value=value, headers=headers)
    return f"{stored.partition}-{stored.offset}"


def kafka_of(sync: SyncProcess) -> KafkaClients:
    return KafkaClients(sync.variables["KAFKA_BOOTSTRAP_SERVERS"])


async def everything(sync: SyncProcess, topic: str, partitions: Sequence[int] = (0,)) -> bytes:
    """Every byte of keys, values and headers that a consumer can read."""
    servers = sync.variables["KAFKA_BOOTSTRAP_SERVERS"]
    records = [record for partition in partitions for record in await read_records(servers, topic, partition)]
    return b"\n".join(
        b"".join([each.key or b"", each.value or b"", *(value or b"" for _, value in each.headers)]) for each in records
    )


async def commit_as_the_last_release(sync: SyncProcess, offsets: dict[TopicPartition, int]) -> None:
    """Without the id of the topic."""
    consumer = kafka_of(sync).consumer(group_id=sync.variables["SYNC_GROUP_ID"], enable_auto_commit=False)
    async with kafka_of(sync).started(consumer):
        consumer.assign(list(offsets))
        await consumer.commit({place: OffsetAndMetadata(offset, "") for place, offset in offsets.items()})


async def open_letters(replica: Replica, sync: SyncProcess) -> dict[str, dict[str, Any]]:
    """By their keys and routes."""
    found = [
        each
        for route in (sync.users, sync.tweets)
        for each in (await replica.client.get("/v1/dead-letters", params={"route": route})).json()["items"]
    ]
    return {f"{each['route']} {each['key']}": each for each in found}


async def test_upgrade_that_is_killed_erases_the_address_and_loses_no_event(
    sync: SyncProcess, database: "Database"
) -> None:
    topic = sync.topic(sync.users)
    await sync.send(sync.users, *(released_event(number) for number in range(8)))
    await sync.send(sync.users, *(released_event(number) for number in range(20, 24)), partition=1)
    await commit_as_the_last_release(sync, {TopicPartition(topic, 0): 5, TopicPartition(topic, 1): 4})
    copied = [
        {"_id": f"u{number}", "username": f"user{number}", "email": f"user{number}{ADDRESS}", "_sync": {}}
        for number in (*range(5), *range(20, 24))
    ]
    await database["users_copy"].insert_many(copied)
    unfit = released_event(40, is_active="no boolean")
    await dead_letter(sync, sync.users, unfit, 40)
    await dead_letter(sync, sync.users, (b'{"id":"u41"}', f'{{"after":{{"email":"ada{ADDRESS}'.encode()), 41)
    resolved = DeadLetterId.of(await dead_letter(sync, sync.users, released_event(42), 42))
    assert resolved is not None
    headers = resolution_headers(resolved, "discarded", "ada")
    await sync.producer.send_and_wait(
        DEAD_LETTERS_TOPIC, key=str(resolved).encode(), partition=resolved.partition, headers=headers
    )
    await dead_letter(sync, sync.tweets, tweet_event(1, text=5), 43)
    await dead_letter(sync, sync.users, released_event(44, role=5), 44)
    await dead_letter(sync, sync.tweets, tweet_event(2, text=5), 45)

    async def begins() -> dict[TopicPartition, int]:
        async with kafka_of(sync).started(kafka_of(sync).consumer()) as consumer:
            places = [TopicPartition(topic, number) for number in (0, 1)]
            return dict(await consumer.beginning_offsets(places))

    async def with_address() -> int:
        return int(await database["users_copy"].count_documents({"email": {"$exists": True}}))

    async def found() -> bytes:
        return await everything(sync, topic, (0, 1)) + await everything(sync, DEAD_LETTERS_TOPIC)

    replica = Replica("sync-service", sync.variables, sync.stack.configuration.state)
    replica.client.headers.update(sync.bearer("admin"))
    try:
        # The first process dies as soon as something is deleted.
        await replica.begin()
        await eventually(begins, lambda offsets: max(offsets.values()) > 0)
        await replica.end(signal.SIGKILL)

        await replica.start()
        await eventually(found, lambda content: ADDRESS.encode() not in content)
        await eventually(with_address, lambda number: number == 0)
        assert await database["users_copy"].count_documents({}) == 12
        assert await database["users_copy"].count_documents({"username": {"$exists": True}}) == 12
        assert await begins() == {TopicPartition(topic, 0): 8, TopicPartition(topic, 1): 4}
        assert (await replica.client.get("/readyz")).json()["checks"]["consumer"] == "ok"
        # Events go on, and the open dead letters are the same.
        await sync.send(sync.users, mysql_event({**dict.fromkeys(USER_COLUMNS), "id": "u50", "username": "last"}))
        await eventually(lambda: database["users_copy"].find_one({"_id": "u50"}))
        opened = await open_letters(replica, sync)
        keys = [(sync.users, "u40"), (sync.users, "u41"), (sync.users, "u44")]
        tweets = [f"{sync.tweets} {(tweet_event(number)[0] or b'').decode()}" for number in (1, 2)]
        expected = {f"{route} {json.dumps({'id': key})}" for route, key in keys if key != "u41"}
        assert opened.keys() == {*expected, f'{sync.users} {{"id":"u41"}}', *tweets}
        letter = opened[f'{sync.users} {{"id": "u40"}}']
        whole = (await replica.client.get(f"/v1/dead-letters/{letter['id']}")).json()
        assert json.loads(whole["value"])["after"]["username"] == "user40"
        assert (letter["partition"], letter["offset"]) == (1, 40)
        assert ADDRESS not in replica.log.read_text()
        retried = await replica.client.post(f"/v1/dead-letters/{letter['id']}/retry")
        assert retried.json()["outcome"] == "rejected"
    finally:
        await replica.end(signal.SIGTERM)
        await replica.client.aclose()


async def test_event_that_comes_with_the_field_is_applied_and_deleted(sync: SyncProcess, database: "Database") -> None:
    """As long as the connector of the last release runs, or after a step back."""
    async with sync.running():
        await sync.send(sync.users, released_event(1))
        await eventually(lambda: database["users_copy"].find_one({"_id": "u1"}))
        await eventually(
            lambda: everything(sync, sync.topic(sync.users)), lambda content: ADDRESS.encode() not in content
        )
        await sync.send(sync.users, released_event(2, is_active="no boolean"))
        await eventually(
            lambda: everything(sync, DEAD_LETTERS_TOPIC), lambda content: b'"u2"' in content.replace(b" ", b"")
        )
        assert f"user2{ADDRESS}".encode() not in await everything(sync, DEAD_LETTERS_TOPIC)
    copied = await database["users_copy"].find_one({"_id": "u1"})
    assert copied is not None
    assert (copied["username"], "email" in copied) == ("user1", False)


async def test_dead_letters_that_were_written_twice_count_once(
    sync: SyncProcess, engine: AsyncEngine, kafka_bootstrap_servers: str
) -> None:
    """A process died after it had written the copies, and before it had deleted the originals."""
    await dead_letter(sync, sync.users, released_event(1, is_active="x"), 1)
    await dead_letter(sync, sync.tweets, tweet_event(1, text=5), 2)
    kafka = kafka_of(sync)
    reader, writer = DeadLetterReader(kafka), DeadLetterWriter(kafka)
    try:
        erasure = DeadLetterErasure(kafka, reader, writer, ErasedOffsets(engine), {sync.topic(sync.users): FIELDS})
        last = {0: (await kafka_end(kafka)) - 1}
        for _ in range(2):
            await erasure._replace(last, await reader.topic_id())
        async with sync.running() as replica:
            replica.client.headers.update(sync.bearer("admin"))
            assert len(await open_letters(replica, sync)) == 2
            await eventually(
                lambda: everything(sync, DEAD_LETTERS_TOPIC), lambda content: ADDRESS.encode() not in content
            )
            opened = await open_letters(replica, sync)
            assert len(opened) == 2
            for letter in opened.values():
                done = await replica.client.post(f"/v1/dead-letters/{letter['id']}/discard")
                assert done.json()["outcome"] == "discarded"
            assert await open_letters(replica, sync) == {}
    finally:
        await writer.close()


async def kafka_end(kafka: KafkaClients) -> int:
    place = TopicPartition(DEAD_LETTERS_TOPIC, 0)
    async with kafka.started(kafka.consumer()) as consumer:
        return int((await consumer.end_offsets([place]))[place])
