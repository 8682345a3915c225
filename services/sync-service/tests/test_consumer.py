"""The whole sync on a real broker and real databases, in this process, with topics of its own."""

import asyncio
import json
import time
from collections.abc import Sequence
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.consumer.fetcher import Fetcher
from aiokafka.errors import GroupAuthorizationFailedError, KafkaConnectionError, KafkaError, KafkaTimeoutError
from sqlalchemy import text

from embedded_stack import Stack
from service_kit.kafka import KafkaClients
from support.change_events import Record, mongodb_event, mysql_event
from support.forced_ends import Ends
from support.polling import eventually
from support.records import records_of
from support.sync_bench import PARTITIONS, Bench, becomes, tweet_event, tweet_id
from sync_service import runner
from sync_service.apply.retry import Persistence
from sync_service.dead_letters.limits import Limits
from sync_service.dead_letters.router import Diversion, TooManyDeadLetters
from sync_service.dead_letters.store import DeadLetters, LetterReader
from sync_service.kafka import clients
from sync_service.kafka.group import PAUSED_FETCH_WAIT_MS, end_offsets
from sync_service.kafka.partition import RECORDS_WAITING, PartitionWorker
from sync_service.runner import SyncOperation
from sync_service.sinks import mysql

# As much as fits into a record by the defaults of producer and broker.
BIGGEST = 1_048_400


async def test_inserts_updates_deletes_and_snapshot_reads_reach_both_copies(bench: Bench) -> None:
    ada = {"id": "u1", "username": "ada", "name": "Ada", "is_active": 1, "created_at": "2026-11-24T03:17:34.081894Z"}
    await bench.send(
        bench.users_topic, mysql_event(ada, op="r", pos=1), mysql_event({**ada, "name": "Ada L."}, op="u", pos=2)
    )
    await bench.send(bench.users_topic, mysql_event({"id": "u2"}, pos=3), mysql_event({"id": "u2"}, op="d", pos=4))
    await bench.send(bench.tweets_topic, tweet_event(1, "one", op="r"), tweet_event(2, "two"))
    await bench.send(bench.tweets_topic, tweet_event(2, "", op="d", ordinal=2), (tweet_event(2, "")[0], None))

    operation = bench.start_sync()

    await becomes(bench.tweets, {tweet_id(1): "one"})
    user = await eventually(lambda: bench.user("u1"), lambda user: user is not None and user["name"] == "Ada L.")
    assert user is not None
    assert user["is_active"] is True
    assert await bench.user("u2") is None
    await becomes(operation.member.lag, {bench.users_topic: 0, bench.tweets_topic: 0})


async def test_what_is_done_is_not_done_again_by_the_next_process(bench: Bench) -> None:
    await bench.send(bench.tweets_topic, *(tweet_event(n, "x") for n in range(50)))
    first = bench.start_sync()
    await eventually(bench.tweets, lambda rows: len(rows) == 50)
    await bench.stop_sync(first)

    await bench.send(bench.tweets_topic, tweet_event(50, "x"))
    second = bench.start_sync()

    await eventually(bench.tweets, lambda rows: len(rows) == 51)
    assert second.applications[bench.tweets_topic].statistics.finished == 1


async def test_redelivery_of_everything_changes_nothing_and_is_counted(bench: Bench) -> None:
    await bench.send(bench.tweets_topic, *(tweet_event(n, f"text {n}") for n in range(30)))
    await bench.send(bench.tweets_topic, *(tweet_event(n, "", op="d", ordinal=2) for n in range(10)))
    first = bench.start_sync()
    wanted = {tweet_id(n): f"text {n}" for n in range(10, 30)}
    await becomes(bench.tweets, wanted)
    await bench.stop_sync(first)

    again = bench.start_sync(sync_group_id=f"{bench.settings.sync_group_id}-again")
    statistics = again.applications[bench.tweets_topic].statistics

    async def finished() -> int:
        return statistics.finished

    await becomes(finished, 40)
    assert statistics.outcomes["skipped"] + statistics.outcomes["superseded"] >= 40 - len(wanted)
    assert await bench.tweets() == wanted


@pytest.mark.parametrize("place", [0, 10, 19])
async def test_poison_goes_to_the_dead_letters_alone(bench: Bench, place: int) -> None:
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
    await bench.send(bench.tweets_topic, *good[:place], *poisons, *good[place:])

    operation = bench.start_sync()

    await eventually(bench.tweets, lambda rows: len(rows) == 20)
    await becomes(operation.member.lag, {bench.users_topic: 0, bench.tweets_topic: 0})
    letters = await bench.dead_letters()
    assert sorted((letter.key, letter.value) for letter in letters) == sorted(poisons)
    headers = [dict(letter.headers) for letter in letters]
    assert {int(each["__connect.errors.offset"]) for each in headers} == set(range(place, place + len(poisons)))
    assert {each["__connect.errors.stage"] for each in headers} == {b"VALUE_CONVERTER", b"TASK_PUT"}
    assert all(each["__connect.errors.exception.message"] for each in headers)


async def test_state_before_a_poisoned_update_is_not_lost_with_it(bench: Bench) -> None:
    poison = mongodb_event({"_id": {"$oid": tweet_id(1)}, "lang": "x" * 21}, op="u", ordinal=3)
    await bench.send(bench.tweets_topic, tweet_event(1, "first"), tweet_event(1, "second", op="u", ordinal=2), poison)
    bench.start_sync()
    await becomes(bench.tweets, {tweet_id(1): "second"})
    assert [letter.value for letter in await bench.dead_letters()] == [poison[1]]


async def test_database_that_is_down_blocks_its_own_route_and_nothing_is_lost(bench: Bench, stack: Stack) -> None:
    operation = bench.start_sync()
    await bench.send(bench.tweets_topic, tweet_event(1, "before"))
    await becomes(bench.tweets, {tweet_id(1): "before"})

    stack.kill("mysql")
    await bench.send(bench.tweets_topic, *(tweet_event(n, "while down") for n in range(2, 20)))
    await bench.send(bench.users_topic, mysql_event({"id": "u1", "username": "ada"}))
    await eventually(lambda: bench.user("u1"))

    async def problem() -> str:
        return operation.problem or ""

    await eventually(problem, lambda reason: "MySQL" in reason)
    await asyncio.to_thread(stack.start, "mysql")
    await bench.engine.dispose()

    await eventually(bench.tweets, lambda rows: len(rows) == 19)
    await becomes(problem, "")
    assert await bench.dead_letters() == []


async def test_members_that_come_and_go_lose_nothing(bench: Bench) -> None:
    sent = 0

    async def send_steadily(stop: asyncio.Event) -> None:
        nonlocal sent
        while not stop.is_set():
            await bench.send(bench.tweets_topic, tweet_event(sent, "x"), partition=sent % PARTITIONS)
            sent += 1

    stop = asyncio.Event()
    sending = asyncio.create_task(send_steadily(stop))
    first = bench.start_sync()
    await eventually(bench.tweets)
    second = bench.start_sync()

    async def shares() -> tuple[int, int]:
        return len(first.member.workers), len(second.member.workers)

    await eventually(shares, lambda counts: all(counts) and sum(counts) == 2 * PARTITIONS)
    await bench.stop_sync(first)
    await becomes(shares, (0, 2 * PARTITIONS))
    stop.set()
    await sending

    await eventually(bench.tweets, lambda rows: len(rows) == sent)
    assert await bench.dead_letters() == []


async def test_commit_that_the_broker_refuses_is_made_up_for(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    refusals = [GroupAuthorizationFailedError("not today")]
    commit = AIOKafkaConsumer.commit

    async def refused_once(consumer: AIOKafkaConsumer, offsets: Any) -> None:
        if refusals:
            raise refusals.pop()
        await commit(consumer, offsets)

    monkeypatch.setattr(AIOKafkaConsumer, "commit", refused_once)
    await bench.send(bench.tweets_topic, tweet_event(1, "one"))
    operation = bench.start_sync()
    await becomes(bench.tweets, {tweet_id(1): "one"})
    await bench.send(bench.tweets_topic, tweet_event(2, "two"))
    await becomes(bench.tweets, {tweet_id(1): "one", tweet_id(2): "two"})

    async def seen() -> tuple[dict[str, int], str | None]:
        try:
            return await operation.member.lag(), operation.problem
        except KafkaError:
            # The consumer was being replaced.
            return {}, operation.problem

    await becomes(seen, ({bench.users_topic: 0, bench.tweets_topic: 0}, None))
    assert refusals == []


async def test_lag_is_an_error_and_no_endless_wait_while_the_broker_is_frozen(bench: Bench, stack: Stack) -> None:
    operation = bench.start_sync()
    await bench.send(bench.tweets_topic, tweet_event(1, "one"))
    await becomes(bench.tweets, {tweet_id(1): "one"})
    stack.pause("kafka")
    try:
        async with asyncio.timeout(20):
            with pytest.raises(KafkaError):
                await operation.member.lag()
    finally:
        stack.resume("kafka")


async def test_dead_letter_keeps_the_records_own_headers(bench: Bench) -> None:
    await bench.producer.send_and_wait(
        bench.tweets_topic, key=b"k", value=json.dumps({"x": 1}).encode(), headers=[("origin", b"test")], partition=0
    )
    bench.start_sync()
    letters = await eventually(bench.dead_letters)
    assert dict(letters[0].headers)["origin"] == b"test"


async def test_partition_that_stands_still_is_a_problem_until_it_gets_on(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "WATCH_SECONDS", 0.2)
    monkeypatch.setattr(runner, "STUCK_SECONDS", 1.0)
    operation = bench.start_sync()
    await bench.send(bench.tweets_topic, tweet_event(1, "one"))
    await becomes(bench.tweets, {tweet_id(1): "one"})

    async def problem() -> str:
        return operation.problem or ""

    async def lag_seconds() -> float:
        return value_of(operation, "sync_lag_seconds", route="tweets")

    async with bench.engine.connect() as connection:
        await connection.execute(text("BEGIN"))
        await connection.execute(text("SELECT * FROM tweets_copy WHERE id = :id FOR UPDATE"), {"id": tweet_id(1)})
        await bench.send(bench.tweets_topic, tweet_event(1, "two", op="u", ordinal=2))
        await eventually(problem, lambda told: told.startswith(f"no progress: {bench.tweets_topic}-0"))
        await eventually(lag_seconds, lambda seconds: seconds > 1)
        await connection.execute(text("ROLLBACK"))

    await becomes(bench.tweets, {tweet_id(1): "two"})
    await becomes(problem, "")
    await becomes(lag_seconds, 0)
    assert value_of(operation, "sync_rebalances_total") >= 1
    applied = {"route": "tweets", "outcome": "applied"}
    assert value_of(operation, "sync_events_total", operation="c", **applied) == 1
    assert value_of(operation, "sync_events_total", operation="u", **applied) == 1


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Ends:
    """A watchdog that looks more often; why it would have ended the process."""
    monkeypatch.setattr(runner, "WATCH_SECONDS", 0.2)
    monkeypatch.setattr(runner, "STUCK_SECONDS", 1.0)
    return Ends()


@pytest.mark.parametrize("answers_questions", [True, False])
async def test_consumer_that_gets_nothing_though_the_broker_serves_it_ends_the_process(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, impatient: Ends, answers_questions: bool
) -> None:
    operation = bench.start_sync(sync_watchdog_seconds=5)
    operation._supervisor.end = impatient
    await bench.send(bench.tweets_topic, tweet_event(1, "one"))
    await becomes(bench.tweets, {tweet_id(1): "one"})
    getmany = AIOKafkaConsumer.getmany

    async def none_for_the_group(consumer: AIOKafkaConsumer, *partitions: TopicPartition, **options: Any) -> Any:
        if consumer._group_id is None:
            return await getmany(consumer, *partitions, **options)
        cut_off.set()
        await asyncio.sleep(options["timeout_ms"] / 1000)
        return {}

    end_offsets = AIOKafkaConsumer.end_offsets

    async def ends_for_others(consumer: AIOKafkaConsumer, partitions: Sequence[TopicPartition]) -> Any:
        if consumer._group_id is None:
            return await end_offsets(consumer, partitions)
        raise KafkaConnectionError("broken")

    cut_off = asyncio.Event()
    monkeypatch.setattr(AIOKafkaConsumer, "getmany", none_for_the_group)
    if not answers_questions:
        monkeypatch.setattr(AIOKafkaConsumer, "end_offsets", ends_for_others)
    await cut_off.wait()
    await bench.send(bench.tweets_topic, tweet_event(2, "two"))

    reason, _ = await impatient.first()
    assert reason.startswith(f"no progress: {bench.tweets_topic}-0 for ")
    monkeypatch.undo()
    await becomes(bench.tweets, {tweet_id(1): "one", tweet_id(2): "two"})
    assert operation.member.problem is None


async def test_broker_that_serves_nobody_is_waited_for(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, impatient: Ends
) -> None:
    """It answers questions for offsets, and no fetch."""
    operation = bench.start_sync(sync_watchdog_seconds=5)
    operation._supervisor.end = impatient
    await bench.send(bench.tweets_topic, tweet_event(1, "one"))
    await becomes(bench.tweets, {tweet_id(1): "one"})
    monkeypatch.setattr(clients, "READABLE_SECONDS", 1.0)
    fetch = Fetcher._proc_fetch_request
    unanswered = 0

    async def unanswered_fetch(*_fetch: Any) -> bool:
        nonlocal unanswered
        unanswered += 1
        cut_off.set()
        await asyncio.sleep(0.5)
        return False

    cut_off = asyncio.Event()
    monkeypatch.setattr(Fetcher, "_proc_fetch_request", unanswered_fetch)
    # The broker has a fetch still from before; it answers it without events.
    await cut_off.wait()
    await bench.send(bench.tweets_topic, tweet_event(2, "two"))

    async def stood() -> float:
        return operation.metrics.registry.get_sample_value("sync_stalled_seconds", {"route": "tweets"}) or 0

    await eventually(stood, lambda seconds: seconds > 10)
    assert unanswered > 10
    assert operation.problem is not None
    assert operation.problem.startswith(f"no progress: {bench.tweets_topic}-0 for ")
    monkeypatch.setattr(Fetcher, "_proc_fetch_request", fetch)
    await becomes(bench.tweets, {tweet_id(1): "one", tweet_id(2): "two"})
    assert impatient.reasons == []


@pytest.mark.parametrize("timestamp_ms", [-1, 0, None], ids=["none", "the epoch", "half an hour from now"])
async def test_lag_stays_sensible_whatever_timestamps_come(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, timestamp_ms: int | None
) -> None:
    monkeypatch.setattr(runner, "WATCH_SECONDS", 0.2)
    if timestamp_ms is None:
        timestamp_ms = int(time.time() * 1000) + 1_800_000
    operation = bench.start_sync()
    await bench.send(bench.tweets_topic, tweet_event(1, "one"))
    await becomes(bench.tweets, {tweet_id(1): "one"})

    async def lag() -> tuple[float, float]:
        registry = operation.metrics.registry
        events = registry.get_sample_value("sync_lag_events", {"route": "tweets"})
        return events or 0, registry.get_sample_value("sync_lag_seconds", {"route": "tweets"}) or 0

    async with bench.engine.connect() as connection:
        await connection.execute(text("BEGIN"))
        await connection.execute(text("SELECT * FROM tweets_copy WHERE id = :id FOR UPDATE"), {"id": tweet_id(1)})
        key, value = tweet_event(1, "two", op="u", ordinal=2)
        await bench.producer.send_and_wait(
            bench.tweets_topic, key=key, value=value, partition=0, timestamp_ms=timestamp_ms
        )
        _, seconds = await eventually(lag, lambda seen: seen[0] == 1)
        assert 0 <= seconds < 60
        await connection.execute(text("ROLLBACK"))
    await becomes(lag, (0, 0))


def value_of(sync: SyncOperation, metric: str, /, **labels: str) -> float:
    value = sync.metrics.registry.get_sample_value(metric, labels)
    assert value is not None, metric
    return value


async def test_letters_of_the_process_before_are_known_in_every_batch_not_only_the_first(bench: Bench) -> None:
    """The offsets are set back over several batches whose events have their letters."""
    kafka = KafkaClients.of(bench.settings)
    letters, reader = DeadLetters(kafka), LetterReader(kafka)
    await bench.send(bench.tweets_topic, *[(b"k", b"broken")] * 3)
    records = await records_of(bench.settings.kafka_bootstrap_servers, bench.tweets_topic)

    async def one_event_a_batch() -> None:
        diversion = Diversion("tweets", letters, reader, Limits(max_consecutive=10, max_ratio=1))
        for record in records:
            batch = diversion.begin([record], "id-of-the-topic")
            await batch.divert(record, "VALUE_CONVERTER", ValueError("broken"))
            batch.done(record.offset + 1)

    try:
        await one_event_a_batch()
        await one_event_a_batch()
    finally:
        await letters.close()
    assert [dict(letter.headers)["__connect.errors.offset"] for letter in await bench.dead_letters()] == [
        b"0",
        b"1",
        b"2",
    ]


async def test_partition_is_full_by_bytes_as_by_records(bench: Bench) -> None:
    application = bench.start_sync().applications[bench.tweets_topic]
    await bench.send(bench.tweets_topic, *[(b"k", b"x" * 900_000)] * 3)
    records = await records_of(bench.settings.kafka_bootstrap_servers, bench.tweets_topic)
    worker = PartitionWorker(
        TopicPartition(bench.tweets_topic, 0), application, "id", on_done=lambda _: None, on_room=lambda: None
    )
    worker.accept(records[:2])
    assert not worker.is_full
    worker.accept(records[2:])
    assert worker.is_full
    await worker.close()


async def test_no_fetch_waits_long_while_a_partition_is_paused(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """aiokafka has one fetch under way: a partition that is resumed would wait for its end."""
    waits: list[int] = []
    fetch = Fetcher._proc_fetch_request

    async def noted_fetch(fetcher: Fetcher, assignment: Any, node: int, request: Any) -> Any:
        waits.append(request._max_wait_ms)
        return await fetch(fetcher, assignment, node, request)

    operation = bench.start_sync(sync_fetch_max_wait_ms=500)
    await bench.send(bench.tweets_topic, tweet_event(0, "one"))
    await becomes(bench.tweets, {tweet_id(0): "one"})
    worker = next(each for each in operation.member.workers if each.partition == (bench.tweets_topic, 0))

    async def is_full() -> bool:
        return worker.is_full

    async def wait_of_the_last() -> int:
        return waits[-1] if waits else 0

    async with bench.engine.connect() as connection:
        await connection.execute(text("BEGIN"))
        await connection.execute(text("SELECT * FROM tweets_copy WHERE id = :id FOR UPDATE"), {"id": tweet_id(0)})
        await bench.send(bench.tweets_topic, tweet_event(0, "two", op="u", ordinal=2))
        await bench.send(bench.tweets_topic, *(tweet_event(n, "x") for n in range(1, 3 * RECORDS_WAITING)))
        await eventually(is_full)
        monkeypatch.setattr(Fetcher, "_proc_fetch_request", noted_fetch)
        await eventually(wait_of_the_last, lambda wait: wait == PAUSED_FETCH_WAIT_MS)
        await connection.execute(text("ROLLBACK"))
    await eventually(wait_of_the_last, lambda wait: wait == 500)


async def test_partition_that_is_given_up_while_it_waits_for_a_store_blocks_nothing_any_more(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mysql, "WRITE_SECONDS", 0.3)
    operation = bench.start_sync()
    await bench.send(bench.tweets_topic, tweet_event(1, "one"))
    await becomes(bench.tweets, {tweet_id(1): "one"})
    statistics = operation.applications[bench.tweets_topic].statistics

    async def blocked() -> str:
        return statistics.blocked_by or ""

    async with bench.engine.connect() as connection:
        await connection.execute(text("BEGIN"))
        await connection.execute(text("SELECT * FROM tweets_copy WHERE id = :id FOR UPDATE"), {"id": tweet_id(1)})
        await bench.send(bench.tweets_topic, tweet_event(1, "two", op="u", ordinal=2))
        await eventually(blocked, lambda reason: reason.startswith("MySQL"))
        # Another partition gets on meanwhile, which says nothing of this one.
        await bench.send(bench.tweets_topic, tweet_event(2, "other"), partition=1)
        await eventually(bench.tweets, lambda tweets: tweet_id(2) in tweets)
        assert (await blocked()).startswith("MySQL")
        await bench.stop_sync(operation)
        assert await blocked() == ""
        await connection.execute(text("ROLLBACK"))


async def test_failure_of_the_batch_that_is_finished_while_the_consumer_closes_ends_the_process(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    operation, ends, applying = bench.start_sync(), Ends(), asyncio.Event()
    operation._supervisor.end = ends
    await bench.send(bench.tweets_topic, tweet_event(1, "one"))
    await becomes(bench.tweets, {tweet_id(1): "one"})
    getmany = AIOKafkaConsumer.getmany

    async def fail_when_closing(_records: Any, _topic_id: str, persistence: Persistence) -> None:
        applying.set()
        await persistence._closing.wait()
        raise TooManyDeadLetters("of the last batch")

    async def lose_the_broker(consumer: AIOKafkaConsumer, **options: Any) -> Any:
        if applying.is_set():
            raise KafkaConnectionError("lost")
        return await getmany(consumer, **options)

    monkeypatch.setattr(operation.applications[bench.tweets_topic], "apply", fail_when_closing)
    monkeypatch.setattr(AIOKafkaConsumer, "getmany", lose_the_broker)
    await bench.send(bench.tweets_topic, tweet_event(2, "two"))

    reason, _ = await ends.first()
    assert reason.startswith("too many dead letters: of the last batch")


async def test_partitions_assigned_while_the_consumer_closes_do_not_stay(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    operation = bench.start_sync()
    await becomes(operation.member.lag, {bench.users_topic: 0, bench.tweets_topic: 0})
    stop = AIOKafkaConsumer.stop

    async def stop_late(consumer: AIOKafkaConsumer) -> None:
        """As aiokafka does it when a join is under way."""
        await operation.member.on_partitions_assigned([TopicPartition(bench.tweets_topic, 0)])
        await stop(consumer)

    monkeypatch.setattr(AIOKafkaConsumer, "stop", stop_late)
    await bench.stop_sync(operation)
    assert operation.member.workers == ()


class OneWithoutLeader:
    """What aiokafka answers when a partition has no leader, which a broker that is alone can't be brought to."""

    def __init__(self, led: TopicPartition, seen: dict[TopicPartition, int]) -> None:
        self._led = led
        self._seen = seen

    async def end_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        if partitions != [self._led]:
            await asyncio.Event().wait()
        return {self._led: 7}

    def assignment(self) -> frozenset[TopicPartition]:
        return frozenset({self._led, *self._seen})

    def highwater(self, partition: TopicPartition) -> int | None:
        """As aiokafka does it."""
        assert partition in self.assignment(), "Partition is not assigned"
        return self._seen.get(partition)


async def test_partition_without_a_leader_does_not_hide_the_lag_of_others() -> None:
    led, without, revoked = TopicPartition("t", 0), TopicPartition("t", 1), TopicPartition("t", 2)
    consumer: Any = OneWithoutLeader(led, seen={without: 5})
    assert await end_offsets(consumer, [led, without, revoked]) == {led: 7, without: 5}
    with pytest.raises(KafkaTimeoutError):
        await end_offsets(consumer, [without])
