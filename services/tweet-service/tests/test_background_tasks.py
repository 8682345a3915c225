"""Background tasks of tweet-service are restarted."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from pymongo.database import Database

from service_kit.background import TaskEnded
from service_kit.event_loop import EventLoopMetrics
from service_kit.sse.limits import StreamClient
from support.polling import eventually
from support.task_failures import FAILURES, Failure, cancel_from_outside, fail_first_run, restarts, running_task
from tweet_service.batching import BatchLoader
from tweet_service.database import Preparation
from tweet_service.main import create_app
from tweet_service.settings import Settings
from tweet_service.stream.events import StreamFilter
from tweet_service.stream.hub import TweetHub
from tweet_service.stream.repository import TweetChanges
from tweet_service.tweets.service import new_tweet

Documents = Database[dict[str, Any]]
SOMEONE = StreamClient("192.0.2.1")


@asynccontextmanager
async def running_app(settings: Settings) -> AsyncIterator[tuple[FastAPI, httpx.AsyncClient]]:
    app = create_app(settings)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://tweets.test") as client,
    ):
        yield app, client


TASKS = {"preparation": (Preparation, "run"), "event-loop-lag": (EventLoopMetrics, "watch")}


@pytest.mark.parametrize(
    ("task", "how"),
    # To return is what the preparation is for.
    [(task, how) for task in TASKS for how in FAILURES if (task, how) != ("preparation", "returns")],
)
async def test_task_that_ends_is_restarted(
    settings: Settings,
    documents: Documents,
    monkeypatch: pytest.MonkeyPatch,
    task: str,
    how: Failure,
) -> None:
    owner, name = TASKS[task]
    runs = fail_first_run(monkeypatch, owner, name, how)

    async def times() -> int:
        return len(runs)

    async with running_app(settings) as (_, client):
        await eventually(times, lambda seen: seen == 2)
        assert await restarts(client, task) == 1

        async def readiness() -> int:
            return (await client.get("/readyz")).status_code

        await eventually(readiness, lambda status: status == 200)


async def arrives(documents: Documents, subscription: Any) -> None:
    """A tweet that is stored now reaches the subscriber."""
    text = new_tweet("u-1", "x")
    documents["tweets"].insert_one(dict(text))
    events: list[bytes] = []
    async with asyncio.timeout(120):
        while not events:
            events = await subscription.next()
    assert str(text["_id"]).encode() in events[0]


@pytest.mark.parametrize("how", ["cancelled", "raises"])
async def test_stream_continues_at_its_position_after_its_task_has_ended(
    settings: Settings, documents: Documents, monkeypatch: pytest.MonkeyPatch, how: Failure
) -> None:
    runs = fail_first_run(monkeypatch, TweetHub, "_follow", how)
    others = asyncio.all_tasks()
    async with running_app(settings) as (app, client):
        hub: TweetHub = app.state.stream
        async with hub.subscription(StreamFilter(), None, SOMEONE) as subscription:
            await subscription.begin()
            await arrives(documents, subscription)
            assert (len(runs), await restarts(client, "tweet-stream")) == (2, 1)
            following = running_task("tweet-stream", besides=others)
            assert following is not None
            following.cancel()
            # While nothing follows.
            await arrives(documents, subscription)
            await eventually(lambda: restarts(client, "tweet-stream"), lambda times: times == 2)


async def test_cancelled_start_of_the_stream_is_an_error_and_the_next_start_succeeds(
    settings: Settings, documents: Documents, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, waiting = TweetChanges.now, [asyncio.Event().wait]

    async def wait_once(changes: TweetChanges) -> Any:
        if waiting:
            await waiting.pop()()
        return await now(changes)

    monkeypatch.setattr(TweetChanges, "now", wait_once)
    async with running_app(settings) as (app, client):
        asking = asyncio.create_task(client.get("/v1/stream"))
        await cancel_from_outside("tweet-stream-start")
        answer = await asking
        assert (answer.status_code, answer.json()["code"]) == (503, "service-unavailable")
        async with app.state.stream.subscription(StreamFilter(), None, SOMEONE) as subscription:
            await subscription.begin()
            await arrives(documents, subscription)


@pytest.mark.parametrize("is_forced", [True, False])
async def test_cancelled_query_fails_its_requests(is_forced: bool) -> None:
    asked = asyncio.Event()

    async def find(keys: set[int]) -> dict[int, int]:
        if is_forced:
            task = asyncio.current_task()
            assert task is not None
            task.set_name("query")
            asked.set()
            await asyncio.Event().wait()
        raise asyncio.CancelledError

    loader = BatchLoader(find)
    asking = [asyncio.create_task(loader.get(key)) for key in (1, 2)]
    if is_forced:
        await asked.wait()
        await cancel_from_outside("query")
    answers = await asyncio.gather(*asking, return_exceptions=True)
    assert [type(answer) for answer in answers] == [TaskEnded] * 2
