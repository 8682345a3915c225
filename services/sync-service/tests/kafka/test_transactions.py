"""Topics with transactions (KIP-98): aborted records are never applied, and markers at the end are no lag."""

import asyncio
import json
import secrets
from collections.abc import Sequence
from typing import Any

import httpx
from aiokafka import AIOKafkaProducer
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from support.change_events import Record, mongodb_event
from support.polling import eventually
from support.sync_process import SyncProcess, tweet_event, tweet_id
from sync_service.dead_letters.models import DEAD_LETTERS_TOPIC

# More than the difference of clocks before the other events of this file.
LONG_BEFORE_MS = 1_795_490_000_000


async def in_transactions(sync: SyncProcess, topic: str, *transactions: tuple[Sequence[Record], bool]) -> None:
    """Each with its records, on partition 0, and whether it is committed. Each ends with a marker."""
    producer = AIOKafkaProducer(
        bootstrap_servers=sync.variables["KAFKA_BOOTSTRAP_SERVERS"], transactional_id=f"test-{secrets.token_hex(4)}"
    )
    async with producer:
        for records, is_committed in transactions:
            await producer.begin_transaction()
            for key, value in records:
                await producer.send_and_wait(topic, key=key, value=value, partition=0)
            await (producer.commit_transaction() if is_committed else producer.abort_transaction())


async def copied(engine: AsyncEngine) -> dict[str, str]:
    async with engine.connect() as connection:
        return {row.id: row.text for row in await connection.execute(text("SELECT id, text FROM tweets"))}


async def pipeline_route(client: httpx.AsyncClient, name: str) -> dict[str, Any]:
    routes: list[dict[str, Any]] = (await client.get("/v1/pipeline")).json()["routes"]
    return next(route for route in routes if route["name"] == name)


async def is_up_to_date(client: httpx.AsyncClient, name: str) -> None:
    async def lags() -> list[Any]:
        status = (await client.get("/v1/status")).json()
        here = next(route["lag"] for route in status["routes"] if route["name"] == name)
        return [here, (await pipeline_route(client, name))["lag"]]

    await eventually(lags, lambda seen: seen == [0, 0])


async def test_only_committed_records_are_applied_and_markers_are_no_lag(
    sync: SyncProcess, engine: AsyncEngine
) -> None:
    topic = sync.topic(sync.tweets)
    aborted = [tweet_event(number, text="aborted") for number in range(10, 40)]
    # A topic that begins with an aborted transaction, for a group that has committed nothing yet.
    await in_transactions(sync, topic, (aborted, False))
    async with sync.running() as replica:
        await is_up_to_date(replica.client, sync.tweets)
        await in_transactions(
            sync, topic, ([tweet_event(1, text="one")], True), (aborted, False), ([tweet_event(2, text="two")], True)
        )
        await eventually(lambda: copied(engine), lambda rows: rows == {tweet_id(1): "one", tweet_id(2): "two"})
        await is_up_to_date(replica.client, sync.tweets)
        await in_transactions(sync, topic, (aborted, False))
        await is_up_to_date(replica.client, sync.tweets)
    assert await copied(engine) == {tweet_id(1): "one", tweet_id(2): "two"}
    async with sync.running() as replica:
        await is_up_to_date(replica.client, sync.tweets)
        status = (await replica.client.get("/v1/status")).json()
        assert [route["applied"] + route["skipped"] for route in status["routes"]] == [0, 0]


async def test_open_transaction_is_no_lag_and_is_applied_when_it_is_committed(
    sync: SyncProcess, engine: AsyncEngine
) -> None:
    producer = AIOKafkaProducer(
        bootstrap_servers=sync.variables["KAFKA_BOOTSTRAP_SERVERS"], transactional_id=f"test-{secrets.token_hex(4)}"
    )
    async with producer, sync.running() as replica:
        async with producer.transaction():
            key, value = tweet_event(1, text="open")
            await producer.send_and_wait(sync.topic(sync.tweets), key=key, value=value, partition=0)
            await is_up_to_date(replica.client, sync.tweets)
            assert await copied(engine) == {}
        await eventually(lambda: copied(engine), lambda rows: rows == {tweet_id(1): "open"})
        await is_up_to_date(replica.client, sync.tweets)


async def test_inspect_and_the_feed_show_no_aborted_record(sync: SyncProcess) -> None:
    topic = sync.topic(sync.tweets)
    async with sync.running() as replica:

        async def streamed() -> list[int]:
            parameters = {"route": sync.tweets, "limit": 2, "seconds": 120}
            answer = await replica.client.get("/v1/events", params=parameters, timeout=150)
            lines = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: {")]
            return [event["offset"] for line in lines if "offset" in (event := json.loads(line))]

        listening = asyncio.create_task(streamed())

        async def clients() -> bool:
            return "sync_feed_clients 1.0" in (await replica.client.get("/metrics")).text

        await eventually(clients)
        # The stream begins at the end: the first transaction may come before that.
        seen: list[int] = []
        while not listening.done():
            await in_transactions(
                sync, topic, ([tweet_event(1, text="aborted")], False), ([tweet_event(2, text="x")], True)
            )
            seen.append(len(seen))
        offsets = await listening
    assert len(offsets) == 2
    # Aborted record, marker, committed record, marker.
    assert {offset % 4 for offset in offsets} == {2}
    code, output, errors = await sync.command(
        *("inspect", "--json", "--from-beginning", "--route", sync.tweets, "--limit", str(len(seen)))
    )
    assert (code, errors) == (0, "")
    assert {json.loads(line)["after"]["text"] for line in output.splitlines()} == {"x"}


async def test_dead_letters_end_at_the_end(sync: SyncProcess) -> None:
    """Another one may write to the topic of the dead letters in transactions."""
    await sync.send(sync.tweets, (b"k", b"broken"))
    async with sync.running() as replica:

        async def letters() -> list[dict[str, Any]]:
            answer = await replica.client.get("/v1/dead-letters", params={"route": sync.tweets})
            items: list[dict[str, Any]] = answer.json()["items"]
            return items

        (letter,) = await eventually(letters)
        for is_committed in (True, False):
            await in_transactions(sync, DEAD_LETTERS_TOPIC, ([(b"k", b"of another")] * 3, is_committed))
            assert await letters() == [letter]
        await sync.send(sync.tweets, (b"k", b"broken, too"))
        both = await eventually(letters, lambda found: len(found) == 2)
        for each in both:
            assert (await replica.client.post(f"/v1/dead-letters/{each['id']}/discard")).status_code == 200
        assert await letters() == []
        code, output, errors = await sync.command("dead-letters", "list", "--route", sync.tweets)
        assert (code, output, errors) == (0, "", "")


async def test_reconcile_does_not_count_markers_as_waiting_events(sync: SyncProcess, engine: AsyncEngine) -> None:
    topic = sync.topic(sync.tweets)
    async with sync.running() as replica:
        # Events of a document that the source does not have: the copy has a row too many.
        await in_transactions(sync, topic, ([tweet_event(1, text="extra")], True), ([tweet_event(2)] * 30, False))
        await eventually(lambda: copied(engine), lambda rows: rows == {tweet_id(1): "extra"})
        await is_up_to_date(replica.client, sync.tweets)
        arguments = ("reconcile", "--route", sync.tweets, "--json", "--patience", "5")
        code, output, errors = await sync.command(*arguments)
        assert code == 1, errors
        (report,) = json.loads(output)["routes"]
        assert (report["extra"], report["unsettled"], report["is_lagging"]) == (1, 0, False)
        code, output, _ = await sync.command(*arguments, "--repair")
        assert (code, json.loads(output)["routes"][0]["mended"]) == (0, 1)
        assert await copied(engine) == {}
        # The place of the newest event was found before the aborted ones, so that the row's past does not come back.
        past = {"_id": {"$oid": tweet_id(1)}, "version": 1, "text": "extra"}
        await sync.send(sync.tweets, mongodb_event(past, ts_ms=LONG_BEFORE_MS))
        await is_up_to_date(replica.client, sync.tweets)
        assert await copied(engine) == {}
