"""Who listens hears of every tweet once, in order, whatever happens to him, to others, or to MongoDB."""

import asyncio
import json
import random
import re
import secrets
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pymongo
import pytest
from bson import ObjectId
from pymongo.database import Database

from embedded_stack import Stack
from support import sse
from support.jwt_issuer import AUDIENCE, ISSUER, Issuer
from support.polling import eventually
from support.replicas import Replica, running_processes
from support.sse import Listener, Message
from tweet_service.stream.backlog import Backlog
from tweet_service.stream.events import StreamEvent, Wanted
from tweet_service.tweets.service import new_tweet

Documents = Database[dict[str, Any]]
BACKLOG = 40
HEARTBEAT_SECONDS = 0.4
LISTENERS = 1000


@asynccontextmanager
async def serving(stack: Stack, issuer: Issuer, mongodb_url: str, **variables: str) -> AsyncIterator[Replica]:
    own = {
        "MONGODB_URL": mongodb_url,
        "AUTH_JWKS_URL": issuer.url,
        "AUTH_ISSUER": ISSUER,
        "AUTH_AUDIENCE": AUDIENCE,
        "TWEET_STREAM_HEARTBEAT_SECONDS": str(HEARTBEAT_SECONDS),
    }
    async with running_processes("tweet-service", 1, stack, **{**own, **variables}) as (replica,):
        yield replica


@pytest.fixture(scope="module")
async def service(stack: Stack, issuer: Issuer, database_url: str) -> AsyncIterator[Replica]:
    """The service as it is, but with a faster heart."""
    async with serving(stack, issuer, database_url) as replica:
        yield replica


@pytest.fixture(scope="module")
async def forgetful(stack: Stack, issuer: Issuer, database_url: str) -> AsyncIterator[Replica]:
    """Another process on the same tweets, with a short memory and place for few."""
    few = {"TWEET_STREAM_BACKLOG": str(BACKLOG), "TWEET_STREAM_CLIENTS": "5"}
    async with serving(stack, issuer, database_url, **few) as replica:
        yield replica


class Author:
    """Somebody of this test's own, who posts."""

    def __init__(self, client: httpx.AsyncClient, issuer: Issuer, documents: Documents) -> None:
        self.id = f"u-{secrets.token_hex(6)}"
        self.username = f"ada_{secrets.token_hex(4)}"
        self._client = client
        self._headers = {"Authorization": f"Bearer {issuer.token(sub=self.id, username=self.username)}"}
        self._documents = documents
        documents["users_copy"].insert_one({"_id": self.id, "username": self.username, "name": "Ada"})

    async def post(self, text: str = "x") -> dict[str, Any]:
        answer = await self._client.post("/v1/tweets", json={"text": text}, headers=self._headers)
        assert answer.status_code == 201, answer.text
        tweet: dict[str, Any] = answer.json()
        return tweet

    async def edit(self, tweet: dict[str, Any], text: str) -> dict[str, Any]:
        answer = await self._client.patch(
            f"/v1/tweets/{tweet['id']}", json={"text": text}, headers={**self._headers, "If-Match": "*"}
        )
        assert answer.status_code == 200, answer.text
        edited: dict[str, Any] = answer.json()
        return edited

    async def delete(self, tweet: dict[str, Any]) -> None:
        answer = await self._client.delete(f"/v1/tweets/{tweet['id']}", headers=self._headers)
        assert answer.status_code == 204, answer.text

    def store(self, count: int, text: str = "x") -> list[str]:
        """Many at once, past the service. Answers their ids."""
        tweets = [dict(new_tweet(self.id, text)) for _ in range(count)]
        self._documents["tweets"].insert_many(tweets)
        return [str(tweet["_id"]) for tweet in tweets]


@pytest.fixture
def author(service: Replica, issuer: Issuer, documents: Documents) -> Author:
    return Author(service.client, issuer, documents)


Listen = Callable[..., Awaitable[Listener]]


@pytest.fixture
async def listen(service: Replica) -> AsyncIterator[Listen]:
    """Connects, to the service unless another one is named, with the query and the headers that are given."""
    listeners = []

    async def listen(
        query: str = "", *, to: Replica = service, after: str | None = None, buffer: int | None = None, **headers: str
    ) -> Listener:
        url = to.client.base_url
        if after is not None:
            headers["Last-Event-ID"] = after
        listener = await Listener.connect(url.host, url.port or 0, f"/v1/stream?{query}", headers, buffer)
        listeners.append(listener)
        return listener

    yield listen
    for listener in listeners:
        listener.close()


async def metric(replica: Replica, name: str) -> float:
    text = (await replica.client.get("/metrics")).text
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


async def ids(listener: Listener, count: int) -> list[str]:
    """Of so many events, what they are about."""
    return [(await listener.event()).data["id"] for _ in range(count)]


# --- what arrives


async def test_tweets_edits_and_deletions_arrive_as_they_happen(
    service: Replica, author: Author, listen: Listen
) -> None:
    listener = await listen()

    posted = await author.post("Hello #Tandem")
    arrived = await listener.event()
    assert (arrived.event, arrived.data) == ("tweet", posted)

    edited = await author.edit(posted, "Hello again\n#Tandem")
    arrived = await listener.event()
    assert (arrived.event, arrived.data) == ("edit", edited)
    assert arrived.data["version"] == 2

    await author.delete(posted)
    arrived = await listener.event()
    assert (arrived.event, arrived.data) == ("delete", {"id": posted["id"]})
    assert arrived.id == listener.last_id


async def test_what_was_before_does_not_arrive(author: Author, listen: Listen) -> None:
    other = await listen()
    await author.post()
    await other.event()
    listener = await listen()
    after = await author.post()
    assert (await listener.event()).data["id"] == after["id"]


async def test_answer_is_passed_on_unbuffered_and_uncached(listen: Listen) -> None:
    listener = await listen()
    assert listener.status == 200
    assert listener.headers["content-type"].startswith("text/event-stream")
    assert listener.headers["cache-control"] == "no-cache"
    assert listener.headers["x-accel-buffering"] == "no"
    assert "ratelimit" in listener.headers
    opening = await listener.message()
    assert opening is not None
    assert re.fullmatch(r"retry: \d+\nid: [0-9A-F]+", opening.text)


async def test_filters_are_combined_and_deletions_reach_everybody(
    service: Replica, author: Author, issuer: Issuer, documents: Documents, listen: Listen
) -> None:
    other = Author(service.client, issuer, documents)
    by_author = await listen(f"author={author.username}")
    by_tag = await listen("hashtag=%23STRA%E1%BA%9EE")
    by_both = await listen(f"author={author.username}&hashtag=strasse")

    tagged = await author.post("#Straße")
    plain = await author.post("no tag")
    foreign = await other.post("#straße")
    retagged = await author.edit(plain, "#strasse")
    await other.delete(foreign)

    assert await ids(by_author, 4) == [tagged["id"], plain["id"], retagged["id"], foreign["id"]]
    assert await ids(by_tag, 4) == [tagged["id"], foreign["id"], retagged["id"], foreign["id"]]
    assert await ids(by_both, 3) == [tagged["id"], retagged["id"], foreign["id"]]


async def test_unknown_author_is_not_found(listen: Listen) -> None:
    refused = await listen("author=nobody-of-this-name")
    assert (refused.status, (await refused.body())["code"]) == (404, "user-not-found")


async def test_invalid_token_is_refused(listen: Listen) -> None:
    refused = await listen(Authorization="Bearer nonsense")
    assert (refused.status, (await refused.body())["code"]) == (401, "invalid-token")


async def test_document_that_is_no_tweet_stops_nobody(author: Author, documents: Documents, listen: Listen) -> None:
    listener = await listen()
    stored = documents["tweets"].insert_one({"author_id": author.id, "text": None})
    posted = await author.post()
    assert (await listener.event()).data["id"] == posted["id"]
    documents["tweets"].delete_one({"_id": stored.inserted_id})


async def test_stream_ends_after_so_many_events_or_seconds(author: Author, listen: Listen) -> None:
    limited, brief = await listen("limit=2"), await listen("seconds=0.2")
    author.store(3)
    assert len(await ids(limited, 2)) == 2
    async with asyncio.timeout(30):
        assert await limited.message() is None
        while await brief.message() is not None:
            pass


# --- silence, and going on


async def test_heartbeat_tells_where_to_go_on(author: Author, listen: Listen) -> None:
    listener = await listen(f"author={author.username}")

    async def heartbeat() -> Message:
        async with asyncio.timeout(30):
            while (message := await listener.message()) is None or not message.text.startswith(": heartbeat"):
                pass
        return message

    await heartbeat()
    beat = await heartbeat()
    listener.close()
    (missed,) = author.store(1)
    assert beat.id is not None
    assert await ids(await listen(after=beat.id), 1) == [missed]


@pytest.mark.parametrize("where", ["header", "query"])
async def test_resumes_from_memory(service: Replica, author: Author, listen: Listen, where: str) -> None:
    other = await listen()
    before = await metric(service, 'tweet_stream_resumed_total{source="backlog"}')
    listener = await listen()
    posted = author.store(1)
    assert await ids(listener, 1) == posted
    listener.close()
    missed = author.store(5)
    await ids(other, 6)
    back = (
        await listen(after=listener.last_id) if where == "header" else await listen(f"last_event_id={listener.last_id}")
    )
    assert await ids(back, 5) == missed
    assert await metric(service, 'tweet_stream_resumed_total{source="backlog"}') == before + 1


async def test_resumes_from_the_log_what_memory_has_lost(forgetful: Replica, author: Author, listen: Listen) -> None:
    listener = await listen(to=forgetful)
    posted = author.store(1)
    assert await ids(listener, 1) == posted
    position = listener.last_id
    missed = author.store(5 * BACKLOG)
    assert await ids(listener, 5 * BACKLOG) == missed
    listener.close()

    back = await listen(to=forgetful, after=position)
    filtered = await listen(f"author={author.username}", to=forgetful, after=position)
    live = author.store(5)
    assert await ids(back, 5 * BACKLOG + 5) == missed + live
    assert await ids(filtered, 5 * BACKLOG + 5) == missed + live
    assert await metric(forgetful, 'tweet_stream_resumed_total{source="log"}') == 2


async def test_after_a_restart_what_all_have_missed_is_read_once(
    stack: Stack, issuer: Issuer, database_url: str, author: Author, listen: Listen
) -> None:
    listener = await listen()
    author.store(1)
    position = (await listener.event()).id
    missed = author.store(150)
    async with serving(stack, issuer, database_url) as restarted:
        back = [await listen(to=restarted, after=position) for _ in range(5)]
        live = author.store(2)
        for each in back:
            assert await ids(each, 152) == missed + live
        assert await metric(restarted, 'tweet_stream_resumed_total{source="backlog"}') == 5
        for each in back:
            each.close()


@pytest.mark.parametrize("seed", range(3))
async def test_whoever_is_cut_off_at_random_misses_and_repeats_nothing(
    service: Replica, forgetful: Replica, author: Author, listen: Listen, seed: int
) -> None:
    """From one process to the other, as behind a load balancer."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    opening = await (await listen()).message()
    assert opening is not None
    posted: list[str] = []
    heard: list[str] = []

    async def post() -> None:
        while len(posted) < 200:
            posted.extend(await asyncio.to_thread(author.store, min(chance.randint(1, 12), 200 - len(posted))))

    posting = asyncio.create_task(post())
    position = opening.id
    while not posting.done() or len(heard) < len(posted):
        listener = await listen(to=chance.choice([service, forgetful]), after=position)
        heard += await ids(listener, min(chance.randint(0, 40), 200 - len(heard)))
        position = listener.last_id or position
        listener.close()
    await posting
    assert heard == posted


@pytest.mark.parametrize(
    "garbage", ["x", "82", "-1", "82" + "F" * 16, "826924EA2F00000001FF", "826924EA2F000000012B02", "8" * 999]
)
async def test_garbage_is_refused_before_the_stream_begins(listen: Listen, garbage: str) -> None:
    refused = await listen(after=garbage)
    assert (refused.status, (await refused.body())["code"]) == (422, "invalid-stream-position")


async def test_position_that_the_log_has_not_got_is_gone(author: Author, listen: Listen) -> None:
    listener = await listen()
    author.store(1)
    position = (await listener.event()).id
    assert position is not None
    refused = await listen(after="82" + "0000000100000001" + position[18:])
    assert (refused.status, (await refused.body())["code"]) == (410, "stream-position-lost")


# --- many, and slow ones


async def test_slow_one_is_dropped_and_delays_nobody(forgetful: Replica, author: Author, listen: Listen) -> None:
    slow = await listen(to=forgetful, buffer=4096)
    quick = await listen(to=forgetful)
    posted: list[str] = []
    heard: list[str] = []
    before = await metric(forgetful, "tweet_stream_dropped_total")
    while await metric(forgetful, "tweet_stream_dropped_total") == before:
        assert len(posted) < 2000
        posted += author.store(10, "🐘" * 280)
        heard += await ids(quick, 10)
    assert heard == posted

    async def clients() -> float:
        return await metric(forgetful, "tweet_stream_clients")

    assert await eventually(clients, lambda number: number == 1) == 1
    got = 0
    async with asyncio.timeout(30):
        while await slow.message() is not None:
            got += 1
    assert got < len(posted)
    assert await ids(await listen(to=forgetful, after=slow.last_id), 1) == [posted[got - 1]]


async def test_one_too_many_is_told_to_come_back(forgetful: Replica, listen: Listen) -> None:
    async def clients() -> float:
        return await metric(forgetful, "tweet_stream_clients")

    await eventually(clients, lambda number: number == 0)
    others = [await listen(to=forgetful) for _ in range(5)]
    refused = await listen(to=forgetful)
    assert (refused.status, (await refused.body())["code"]) == (503, "too-many-streams")
    assert int(refused.headers["retry-after"]) > 0
    others[0].close()
    await eventually(clients, lambda number: number == 4)
    assert (await listen(to=forgetful)).status == 200


def change_streams(mongodb_url: str, database: str) -> int:
    """Those that are open on the server."""
    with pymongo.MongoClient[dict[str, Any]](mongodb_url) as client:
        operations = list(client.admin.aggregate([{"$currentOp": {"idleCursors": True, "allUsers": True}}]))
    commands = (
        operation.get("cursor", {}).get("originatingCommand") or operation.get("command", {})
        for operation in operations
    )
    return sum(
        command.get("$db") == database and "$changeStream" in command.get("pipeline", [{}])[0] for command in commands
    )


async def test_thousand_share_one_change_stream_and_end_with_the_process(
    stack: Stack, issuer: Issuer, mongodb_url: str
) -> None:
    database = f"tweet_test_{secrets.token_hex(4)}"
    url = mongodb_url.replace("/?", f"/{database}?")
    with pymongo.MongoClient[dict[str, Any]](url, tz_aware=True) as client:
        async with serving(stack, issuer, url, TWEET_STREAM_HEARTBEAT_SECONDS="15") as replica:
            author = Author(replica.client, issuer, client.get_default_database())
            await author.post()
            assert (await replica.client.get("/v1/stream", params={"seconds": 0.01})).status_code == 200
            assert replica._process is not None
            process = psutil.Process(replica._process.pid)
            memory = process.memory_info().rss
            address = replica.client.base_url
            listeners = await asyncio.create_subprocess_exec(
                sys.executable,
                str(Path(sse.__file__)),
                *(address.host, str(address.port), "/v1/stream", str(LISTENERS)),
                stdout=asyncio.subprocess.PIPE,
            )
            assert listeners.stdout is not None
            async with asyncio.timeout(60):
                assert json.loads(await listeners.stdout.readline()) == {"connected": LISTENERS}
                each = (process.memory_info().rss - memory) / LISTENERS
                assert change_streams(mongodb_url, database) == 1
                assert await metric(replica, "tweet_stream_clients") == LISTENERS
                began = time.time()
                await author.post()
                arrivals = json.loads(await listeners.stdout.readline())
            print(
                f"{each / 1024:.1f} KiB a listener; first after {1000 * (arrivals['first'] - began):.0f} ms, "
                f"last of {LISTENERS} after {1000 * (arrivals['last'] - began):.0f} ms"
            )
            assert await metric(replica, 'tweet_stream_events_total{event="tweet"}') == 1
            assert await metric(replica, 'http_requests_total{method="GET",route="/v1/stream",status="200"}') == 1
            assert 'seconds_count{method="GET",route="/v1/stream"}' not in (await replica.client.get("/metrics")).text

            deaf = await Listener.connect(address.host, address.port or 0, "/v1/stream", buffer=4096)
            author.store(300, "🐘" * 280)
            began = time.monotonic()
            await replica.end(signal.SIGTERM)
            deaf.close()
            # What a service promises; a stream that waited for its next heartbeat would take longer.
            assert time.monotonic() - began < 10
            assert await asyncio.wait_for(listeners.wait(), 20) == 0
            assert "Traceback" not in replica.log.read_text()
        client.drop_database(database)


# --- MongoDB away


async def test_goes_on_when_mongodb_is_back(stack: Stack, service: Replica, author: Author, listen: Listen) -> None:
    listener = await listen()
    posted = author.store(1)
    assert await ids(listener, 1) == posted
    await asyncio.to_thread(stack.kill, "mongo")

    async def interruptions() -> float:
        return await metric(service, "tweet_stream_interruptions_total")

    await eventually(interruptions)
    await asyncio.to_thread(stack.start, "mongo")
    posted = await asyncio.to_thread(author.store, 3)
    assert await ids(listener, 3) == posted


async def test_all_are_told_when_the_collection_is_dropped_and_may_begin_anew(
    stack: Stack, issuer: Issuer, mongodb_url: str
) -> None:
    database = f"tweet_test_{secrets.token_hex(4)}"
    url = mongodb_url.replace("/?", f"/{database}?")
    with pymongo.MongoClient[dict[str, Any]](url, tz_aware=True) as client:
        async with serving(stack, issuer, url) as replica:
            tweets = client.get_default_database()
            author = Author(replica.client, issuer, tweets)
            address = replica.client.base_url
            listener = await Listener.connect(address.host, address.port or 0, "/v1/stream")
            tweets.drop_collection("tweets")
            end = await listener.event()
            assert (end.event, end.data["code"]) == ("end", "stream-position-lost")
            async with asyncio.timeout(30):
                assert await listener.message() is None
            anew = await Listener.connect(address.host, address.port or 0, "/v1/stream")
            posted = author.store(1)
            assert await ids(anew, 1) == posted
            listener.close()
            anew.close()
        client.drop_database(database)


# --- pure parts


def event(number: int, **of: Any) -> StreamEvent:
    return StreamEvent(f"82{number:016X}", of.pop("kind", "tweet"), b"", **of)


def test_backlog_knows_how_far_back_it_reaches() -> None:
    backlog = Backlog(4, "82" + "0" * 16)
    for number in range(1, 8):
        backlog.append(event(number))
    assert (backlog.first, backlog.end, backlog.low) == (3, 7, event(3).position)
    assert [backlog[number] for number in range(3, 7)] == [event(number) for number in range(4, 8)]
    assert backlog.reaches_back_to(event(3).position)
    assert not backlog.reaches_back_to(event(2).position)
    assert backlog.number_behind(event(3).position) == 3
    assert backlog.number_behind(event(5).position + "2B") == 5
    assert backlog.number_behind(event(9).position) == backlog.end


def test_backlog_is_extended_backwards_where_it_has_room() -> None:
    backlog = Backlog(4, event(3).position)
    backlog.append(event(4))
    assert backlog.room == 3
    backlog.prepend([event(2), event(3)], event(1).position)
    assert [backlog[number] for number in range(backlog.first, backlog.end)] == [event(2), event(3), event(4)]
    assert backlog.number_behind(event(1).position) == backlog.first
    for number in (5, 6):
        backlog.append(event(number))
    assert (backlog.low, backlog.room, backlog[backlog.first]) == (event(2).position, 0, event(3))


@pytest.mark.parametrize("number", [2, 7])
def test_backlog_has_nothing_outside(number: int) -> None:
    backlog = Backlog(4, "82" + "0" * 16)
    for each in range(1, 8):
        backlog.append(event(each))
    with pytest.raises(IndexError):
        backlog[number]


def test_wanted_is_what_matches_in_everything() -> None:
    ada = event(1, author_id="ada", tags=frozenset({"x", "y"}))
    gone = event(2, kind="delete")
    assert Wanted().includes(ada)
    assert Wanted("ada", "x").includes(ada)
    assert not Wanted("bob", "x").includes(ada)
    assert not Wanted("ada", "z").includes(ada)
    assert Wanted("bob", "z").includes(gone)
    change = {"operationType": "delete", "documentKey": {"_id": ObjectId()}}
    assert Wanted("bob", "z").includes_change(change)
    assert not Wanted("bob").includes_change({"operationType": "update", "fullDocument": None})
