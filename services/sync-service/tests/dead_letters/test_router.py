"""Events that can't be applied go to the dead letters, alone."""

import json

import pytest

from service_kit.kafka import KafkaClients
from support.change_events import Record, mongodb_event
from support.polling import eventually
from support.records import read_records
from support.sync_harness import SyncHarness, becomes, tweet_event, tweet_id
from sync_service.dead_letters.limits import DeadLetterLimits
from sync_service.dead_letters.router import DeadLetterRouter
from sync_service.dead_letters.store import DeadLetterReader, DeadLetterWriter
from sync_service.routes.exclusion import ExcludedFields

# As much as fits into a record by the defaults of producer and broker.
BIGGEST = 1_048_400


@pytest.mark.parametrize("place", [0, 10, 19])
async def test_poison_goes_to_the_dead_letters_alone(harness: SyncHarness, place: int) -> None:
    key, value = tweet_event(99, "poison")
    assert value is not None
    poisons: list[Record] = [
        (key, b"{not json"),
        (key, value.replace(b'"op": "c"', b'"op": "t"')),
        (b"", value),
        mongodb_event({"_id": {"$oid": tweet_id(99)}, "text": 5}),
        mongodb_event({"_id": {"$oid": tweet_id(99)}, "lang": "x" * 21}),
        (key, b'{"op":' + b"[" * 5000),
        (key, b"{" * BIGGEST),
    ]
    good = [tweet_event(n, "good") for n in range(20)]
    await harness.send(harness.tweets_topic, *good[:place], *poisons, *good[place:])

    runner = harness.start_sync()

    await eventually(harness.tweets, lambda rows: len(rows) == 20)
    await becomes(runner.member.lag.by_topic, {harness.users_topic: 0, harness.tweets_topic: 0})
    letters = await harness.dead_letters()
    assert sorted((letter.key, letter.value) for letter in letters) == sorted(poisons)
    headers = [dict(letter.headers) for letter in letters]
    assert {int(each["__connect.errors.offset"]) for each in headers} == set(range(place, place + len(poisons)))
    assert {each["__connect.errors.stage"] for each in headers} == {b"VALUE_CONVERTER", b"TASK_PUT"}
    assert all(each["__connect.errors.exception.message"] for each in headers)


async def test_change_before_a_rejected_update_is_applied(harness: SyncHarness) -> None:
    poison = mongodb_event({"_id": {"$oid": tweet_id(1)}, "lang": "x" * 21}, op="u", ordinal=3)
    await harness.send(
        harness.tweets_topic, tweet_event(1, "first"), tweet_event(1, "second", op="u", ordinal=2), poison
    )
    harness.start_sync()
    await becomes(harness.tweets, {tweet_id(1): "second"})
    assert [letter.value for letter in await harness.dead_letters()] == [poison[1]]


async def test_dead_letter_keeps_the_headers_of_the_record(harness: SyncHarness) -> None:
    await harness.producer.send_and_wait(
        harness.tweets_topic, key=b"k", value=json.dumps({"x": 1}).encode(), headers=[("origin", b"test")], partition=0
    )
    harness.start_sync()
    letters = await eventually(harness.dead_letters)
    assert dict(letters[0].headers)["origin"] == b"test"


async def test_existing_dead_letters_are_known_in_every_batch(harness: SyncHarness) -> None:
    """The offsets are set back over several batches whose events have dead letters."""
    kafka = KafkaClients.of(harness.settings)
    letters, reader = DeadLetterWriter(kafka), DeadLetterReader(kafka)
    await harness.send(harness.tweets_topic, *[(b"k", b"broken")] * 3)
    records = await read_records(harness.settings.kafka_bootstrap_servers, harness.tweets_topic)

    async def one_event_a_batch() -> None:
        router = DeadLetterRouter(
            "tweets", letters, reader, DeadLetterLimits(max_consecutive=10, max_ratio=1), ExcludedFields([])
        )
        for record in records:
            batch = router.begin([record], "id-of-the-topic")
            await batch.send_to_dead_letters(record, "VALUE_CONVERTER", ValueError("broken"))
            batch.done(record.offset + 1)

    try:
        await one_event_a_batch()
        await one_event_a_batch()
    finally:
        await letters.close()
    assert [dict(letter.headers)["__connect.errors.offset"] for letter in await harness.dead_letters()] == [
        b"0",
        b"1",
        b"2",
    ]
