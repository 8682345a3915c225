"""`/v1/events`: clients get change events, and do not affect each other."""

import asyncio
import json
import re
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from service_kit.kafka import KafkaClients
from service_kit.sse.limits import StreamClient
from support.change_events import mysql_event
from support.polling import eventually
from support.replicas import Replica
from support.sse import Listener
from support.sync_harness import PARTITIONS, SyncHarness
from support.sync_harness import tweet_event as harness_event
from support.sync_process import SyncProcess, tweet_event, tweet_id
from sync_service.change_feed import hub
from sync_service.change_feed.event_view import EventFilter, EventView
from sync_service.change_feed.hub import Feed, FeedLimits
from sync_service.kafka import discovery
from sync_service.kafka.discovery import DiscoveringConsumer
from sync_service.metrics import FeedMetrics

Listen = Callable[..., Awaitable[Listener]]
DELETED = {"operation": "d", "deleted_at": datetime(2026, 1, 1, tzinfo=UTC)}
SOMEONE = StreamClient("192.0.2.1")


@pytest.fixture
async def listen(sync: SyncProcess) -> AsyncIterator[Listen]:
    """Connects as a `technical_worker`, with the query that is given."""
    listeners = []

    async def listen(
        replica: Replica, query: str = "", buffer: int | None = None, *, source: str | None = None, **claims: Any
    ) -> Listener:
        url = replica.client.base_url
        listener = await Listener.connect(
            url.host, url.port or 80, f"/v1/events?{query}", sync.bearer(**claims), buffer, source=source
        )
        listeners.append(listener)
        return listener

    yield listen
    for listener in listeners:
        listener.close()


async def metric(replica: Replica, name: str) -> float:
    found = re.search(rf"^{name} ([0-9.e+-]+)$", (await replica.client.get("/metrics")).text, re.MULTILINE)
    assert found is not None
    return float(found[1])


async def test_clients_get_the_events_that_match_their_filter(sync: SyncProcess, listen: Listen) -> None:
    await sync.send(sync.tweets, tweet_event(1, text="before anybody listened"))
    async with sync.running() as replica:
        everything = await listen(replica)
        assert (everything.status, everything.headers["content-type"].split(";")[0]) == (200, "text/event-stream")
        of_users = await listen(replica, f"route={sync.users}")
        of_updates = await listen(replica, "operation=update")
        of_one = await listen(replica, f"key={tweet_id(3)}")
        await sync.send(sync.tweets, tweet_event(2, text="two"))
        first = await everything.event()
        assert (first.event, first.data["op"], first.data["route"]) == ("change", "c", sync.tweets)
        assert (first.data["key"], first.data["after"]["text"]) == ({"_id": tweet_id(2)}, "two")
        assert (first.data["before"], first.data["source"]["connector"]) == (None, "mongodb")
        await sync.send(sync.users, mysql_event({"id": "u1", "name": "Ada"}))
        await sync.send(sync.tweets, tweet_event(3, text="three", op="u", ordinal=2), partition=1)
        await sync.send(sync.tweets, (b"k", b"broken"), partition=1)
        assert (await of_users.event()).data["after"]["name"] == "Ada"
        assert (await of_updates.event()).data["after"]["text"] == "three"
        assert (await of_one.event()).data["after"]["text"] == "three"
        kinds = {(await everything.event()).event for _ in range(3)}
        assert kinds == {"change", "broken"}


async def test_opening_the_stream_needs_the_scope(sync: SyncProcess) -> None:
    async with sync.running() as replica:
        for headers, expected in (({"Authorization": ""}, 401), (sync.bearer("customer"), 403)):
            assert (await replica.client.get("/v1/events", headers=headers)).status_code == expected
        for query in ("operation=x", "route=nowhere", "limit=0"):
            assert (await replica.client.get(f"/v1/events?{query}")).status_code == 422


async def test_heartbeats_are_sent_without_events_and_limits_end_the_stream(sync: SyncProcess, listen: Listen) -> None:
    async with sync.running(SYNC_FEED_HEARTBEAT_SECONDS="0.2", SYNC_FEED_CLIENTS="2") as replica:
        listener = await listen(replica, "limit=2")
        texts = [message.text for _ in range(3) if (message := await listener.message()) is not None]
        assert texts[0].startswith("retry: ")
        assert texts[1:] == [": heartbeat"] * 2
        other = await listen(replica)
        refused = await listen(replica)
        assert (refused.status, (await refused.body())["code"]) == (503, "too-many-streams")
        other.close()

        async def timed() -> Listener | None:
            listener = await listen(replica, "seconds=1")
            return listener if listener.status == 200 else None

        ending = await eventually(timed)
        assert ending is not None
        while await ending.message() is not None:
            pass
        await sync.send(sync.tweets, *(tweet_event(number) for number in range(5)))
        assert [(await listener.event()).data["offset"] for _ in range(2)] == [0, 1]
        assert await listener.message() is None


async def test_stream_ends_when_the_token_expires(sync: SyncProcess, listen: Listen) -> None:
    async with sync.running() as replica:
        # On a busy machine a token may expire before the stream is open, which is a 401.
        for seconds in (2, 4, 8, 16, 32):
            listener = await listen(replica, exp=int(time.time()) + seconds)
            if listener.status == 200:
                break
        end = await listener.event()
        assert (end.event, end.data["code"]) == ("end", "token-expired")
        assert await listener.message() is None


@pytest.mark.parametrize(
    "change", [{"is_active": False}, {"tokens_valid_after": datetime(2100, 1, 1, tzinfo=UTC)}, {"_sync": DELETED}]
)
async def test_silent_stream_ends_when_the_token_is_revoked(
    sync: SyncProcess, listen: Listen, database: Any, change: dict[str, Any]
) -> None:
    # No heartbeat comes before the deadline of the event.
    async with sync.running(SYNC_FEED_HEARTBEAT_SECONDS="600") as replica:
        listener = await listen(replica)
        await database["users_copy"].insert_one({"_id": "u-technical_worker", **change})
        end = await listener.event()
        assert (end.event, end.data["code"]) == ("end", "token-revoked")
        assert await listener.message() is None


async def test_one_client_can_not_take_all_streams(sync: SyncProcess, listen: Listen) -> None:
    limits = {"CLIENTS": "6", "CLIENTS_PER_ADDRESS": "2", "CLIENTS_PER_ACCOUNT": "3"}
    async with sync.running(**{f"SYNC_FEED_{name}": value for name, value in limits.items()}) as replica:
        attack = [await listen(replica, source="127.0.0.2") for _ in range(6)]
        assert [stream.status for stream in attack] == [200] * 2 + [429] * 4
        assert (await attack[-1].body())["code"] == "too-many-streams-of-client"
        assert int(attack[-1].headers["retry-after"]) > 0
        of_account = [await listen(replica, source=f"127.0.0.{number}") for number in (3, 4)]
        assert [stream.status for stream in of_account] == [200, 429]
        assert (await listen(replica, source="127.0.0.4", role="admin")).status == 200


async def test_slow_client_is_disconnected_and_delays_no_other(sync: SyncProcess, listen: Listen) -> None:
    async with sync.running(SYNC_FEED_BACKLOG="8") as replica:
        slow, quick = await listen(replica, buffer=4096), await listen(replica)
        number = 0
        while await metric(replica, "sync_feed_dropped_total") == 0:
            assert number < 200
            await sync.send(sync.tweets, tweet_event(number, text="x" * 50_000))
            assert (await quick.event()).data["offset"] == number
            number += 1

        async def clients() -> float:
            return await metric(replica, "sync_feed_clients")

        await eventually(clients, lambda count: count == 1)
        await sync.send(sync.tweets, tweet_event(number))
        assert (await quick.event()).data["offset"] == number
        while await slow.message() is not None:
            pass


async def test_streams_end_when_the_process_stops(sync: SyncProcess, listen: Listen) -> None:
    async with sync.running() as replica:
        listener = await listen(replica)
        assert await listener.message() is not None
        await replica.end(signal.SIGTERM)
        while await listener.message() is not None:
            pass
        # What the server writes if it had to break them off.
        assert "graceful shutdown exceeded" not in replica.log.read_text()


async def test_clients_share_one_consumer_that_stops_with_the_last_client(
    sync: SyncProcess, kafka_bootstrap_servers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, closed = [], []

    @asynccontextmanager
    async def counted(*arguments: Any, **named: Any) -> AsyncIterator[DiscoveringConsumer]:
        async with original(*arguments, **named) as discovering:
            opened.append(discovering.consumer)
            yield discovering
        closed.append(discovering.consumer)

    original = hub.discovering_consumer
    monkeypatch.setattr(hub, "discovering_consumer", counted)
    limits = FeedLimits(clients=10, clients_per_address=10, clients_per_account=10, buffered=100, heartbeat_seconds=10)
    feed = Feed(
        KafkaClients(kafka_bootstrap_servers),
        {sync.topic(sync.tweets): "tweets"},
        FeedMetrics(CollectorRegistry()),
        limits,
    )

    async def is_closed() -> bool:
        return len(closed) == len(opened)

    for round_number in (1, 2):
        async with feed.subscription(EventFilter(), SOMEONE) as one, feed.subscription(EventFilter(), SOMEONE) as other:
            for each in (one, other):
                await each.begin()
            await sync.send(sync.tweets, tweet_event(round_number))
            texts = await asyncio.gather(one.next(), other.next())
            assert texts[0] == texts[1]
            assert len(opened) == round_number
            assert opened[-1]._group_id is None
        await eventually(is_closed)
    await feed.close()


async def test_topic_that_is_created_later_is_streamed(harness: SyncHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "DISCOVER_SECONDS", 0.2)
    await harness.send(harness.tweets_topic, harness_event(1, "before"))
    await harness.delete_topic(harness.users_topic)
    limits = FeedLimits(clients=10, clients_per_address=10, clients_per_account=10, buffered=100, heartbeat_seconds=30)
    routes = {harness.tweets_topic: "tweets", harness.users_topic: "users"}
    feed = Feed(harness.kafka, routes, FeedMetrics(CollectorRegistry()), limits)
    async with feed.subscription(EventFilter(), SOMEONE) as subscription:
        await subscription.begin()

        async def shown() -> tuple[str, int, int]:
            (text,) = await subscription.next()
            view = json.loads(text.decode().split("data: ", 1)[1])
            return view["route"], view["partition"], view["offset"]

        await harness.send(harness.tweets_topic, harness_event(2, "one"))
        assert await shown() == ("tweets", 0, 1)
        await harness.create_topic(harness.users_topic)
        await harness.send(harness.users_topic, mysql_event({"id": "u1"}))
        assert await shown() == ("users", 0, 0)
        await harness.add_partitions(harness.tweets_topic, PARTITIONS + 1)
        await harness.send(harness.tweets_topic, harness_event(3, "new"), partition=PARTITIONS)
        assert await shown() == ("tweets", PARTITIONS, 0)
        await harness.send(harness.tweets_topic, harness_event(4, "two"))
        assert await shown() == ("tweets", 0, 2)
    await feed.close()


async def test_first_route_is_streamed_to_those_who_waited_for_it(harness: SyncHarness) -> None:
    limits = FeedLimits(clients=10, clients_per_address=10, clients_per_account=10, buffered=100, heartbeat_seconds=30)
    feed = Feed(harness.kafka, {}, FeedMetrics(CollectorRegistry()), limits)
    await harness.delete_topic(harness.tweets_topic)
    async with feed.subscription(EventFilter(), SOMEONE) as subscription:
        await subscription.begin()
        feed.change_routes({harness.tweets_topic: "tweets"}, {})
        await harness.create_topic(harness.tweets_topic)
        receiving = asyncio.create_task(subscription.next())

        async def has_received() -> bool:
            """The feed begins at the end of a topic."""
            await harness.send(harness.tweets_topic, harness_event(1, "first"))
            return receiving.done()

        await eventually(has_received)
        (text, *_) = await receiving
        assert json.loads(text.decode().split("data: ", 1)[1])["route"] == "tweets"
    await feed.close()


async def test_stream_without_a_broker_is_503() -> None:
    limits = FeedLimits(clients=10, clients_per_address=10, clients_per_account=10, buffered=100, heartbeat_seconds=10)
    feed = Feed(KafkaClients("127.0.0.1:1"), {"a": "a"}, FeedMetrics(CollectorRegistry()), limits)
    for _ in range(2):
        with pytest.raises(hub.KafkaError):
            async with feed.subscription(EventFilter(), SOMEONE):
                pass
    await feed.close()


def test_json_is_one_line() -> None:
    assert "\n" not in EventView("t", {"error": "a\nb\r"}).as_json()
    assert json.loads(EventView("t", {"error": "ü\u2028"}).as_json()) == {"error": "ü\u2028"}
