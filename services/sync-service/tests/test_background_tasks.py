"""No background task of sync-service ends unseen, and no `CancelledError` that aiokafka lets out ends the sync."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaConnectionError, KafkaError
from aiokafka.protocol.fetch import FetchRequest
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from embedded_stack import Stack
from service_kit.background import EXIT_SOFTWARE, TaskEnded
from service_kit.event_loop import EventLoopMetrics
from service_kit.kafka import KafkaClients, stop
from service_kit.sse.limits import StreamClient
from support.polling import eventually
from support.ports import free_port
from support.sync_process import SyncProcess, tweet_event
from support.task_failures import (
    FAILURES,
    Failure,
    RecordedExits,
    cancel_from_outside,
    fail_first_run,
    restarts,
    running_task,
)
from sync_service import runner
from sync_service.change_feed.event_view import EventFilter
from sync_service.change_feed.hub import Feed, FeedLimits
from sync_service.kafka.partition import PartitionWorker
from sync_service.main import create_app
from sync_service.metrics import FeedMetrics
from sync_service.monitoring.cache import SingleFlightCache
from sync_service.reconciliation import jobs as reconciliation_jobs
from sync_service.reconciliation.jobs import Job, Jobs
from sync_service.routes.loader import load_routes
from sync_service.runner import SyncRunner
from sync_service.settings import Settings

SOMEONE = StreamClient("192.0.2.1")
LIMITS = FeedLimits(clients=10, clients_per_address=10, clients_per_account=10, buffered=100, heartbeat_seconds=10)


@asynccontextmanager
async def running_app(sync: SyncProcess) -> AsyncIterator[tuple[FastAPI, httpx.AsyncClient]]:
    """The service in this process, as soon as it consumes."""
    settings = Settings.model_validate({name.lower(): value for name, value in sync.variables.items()})
    app = create_app(settings, load_routes(Path(sync.variables["SYNC_ROUTES_FILE"])))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://sync.test") as client,
    ):
        yield app, client


async def is_applied(sync: SyncProcess, app: FastAPI, number: int) -> None:
    """An event that is sent now reaches the copy, and its offset is committed."""
    await sync.send(sync.tweets, tweet_event(number, text="x"))
    statistics = app.state.runner.processors[sync.topic(sync.tweets)].statistics

    async def applied() -> bool:
        labels = {"route": sync.tweets, "operation": "c", "outcome": "applied"}
        value = statistics.metrics.registry.get_sample_value("sync_events_total", labels)
        return value is not None and value >= number

    await eventually(applied)


# --- tasks of the service


@pytest.mark.parametrize(
    ("task", "owner", "name", "how"),
    [
        *(("purge", SyncRunner, "_purge", how) for how in FAILURES),
        *(("gaps", SyncRunner, "_refresh_gaps", how) for how in FAILURES),
        # To return is what they are for.
        *(("views", runner, "make_views_once_possible", how) for how in FAILURES if how != "returns"),
        *(("event-loop-lag", EventLoopMetrics, "watch", how) for how in FAILURES),
    ],
)
async def test_ended_task_is_restarted(
    sync: SyncProcess, monkeypatch: pytest.MonkeyPatch, *, task: str, owner: Any, name: str, how: Failure
) -> None:
    runs = fail_first_run(monkeypatch, owner, name, how)

    async def times() -> int:
        return len(runs)

    async with running_app(sync) as (app, client):
        ends = RecordedExits.of(app)
        await eventually(times, lambda seen: seen == 2)
        assert await restarts(client, task) == 1
        await is_applied(sync, app, 1)
    assert ends.reasons == []


@pytest.mark.parametrize("how", FAILURES)
@pytest.mark.parametrize(("task", "name"), [("sync", "run"), ("watchdog", "_watch")])
async def test_task_without_which_the_sync_is_dead_ends_the_process(
    sync: SyncProcess, monkeypatch: pytest.MonkeyPatch, task: str, name: str, how: Failure
) -> None:
    fail_first_run(monkeypatch, SyncRunner, name, how)
    async with running_app(sync) as (app, _):
        reason, code = await RecordedExits.of(app).first()
    assert reason.startswith(f"background task {task} ended: ")
    assert code == EXIT_SOFTWARE


PROGRAM = """
import asyncio
from sync_service.kafka.group import ConsumerGroupMember

async def run(self):
    await asyncio.sleep(0.1)
    {end}

ConsumerGroupMember.run = run

from sync_service.cli import main

main()
"""


@pytest.mark.parametrize(
    "end", ["return", "raise RuntimeError('ended by a test')", "raise asyncio.CancelledError"], ids=["r", "e", "c"]
)
async def test_process_whose_consumer_has_ended_ends_with_70(sync: SyncProcess, end: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PROGRAM.format(end=end), "run"),
        env={"PATH": os.environ["PATH"], "PORT": str(free_port()), **sync.variables},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), 120)
    except TimeoutError:
        process.kill()
        raise
    assert process.returncode == EXIT_SOFTWARE, output.decode()
    assert "background task sync ended" in output.decode()


# --- the consumer


@pytest.mark.parametrize("name", ["commits", "worker"])
async def test_cancelled_task_of_the_consumer_leads_to_a_new_consumer(sync: SyncProcess, name: str) -> None:
    async with running_app(sync) as (app, _):
        ends = RecordedExits.of(app)
        await is_applied(sync, app, 1)
        member = app.state.runner.member
        consumer = member._assignment.consumer
        await cancel_from_outside(name if name == "commits" else f"{sync.topic(sync.tweets)}-0")

        async def other_consumer() -> bool:
            return member._assignment.consumer is not None and member._assignment.consumer is not consumer

        await eventually(other_consumer)
        await is_applied(sync, app, 2)
        assert running_task("commits") is not None
    assert ends.reasons == []


async def test_worker_that_returns_early_leads_to_a_new_consumer(
    sync: SyncProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = fail_first_run(monkeypatch, PartitionWorker, "_run", "returns")
    async with running_app(sync) as (app, _):
        ends = RecordedExits.of(app)
        await is_applied(sync, app, 1)
    assert len(runs) > 1
    assert ends.reasons == []


async def test_consumer_whose_own_task_was_cancelled_is_replaced(sync: SyncProcess) -> None:
    """aiokafka lets the `CancelledError` of its coordination out of `getmany`."""
    async with running_app(sync) as (app, _):
        ends = RecordedExits.of(app)
        await is_applied(sync, app, 1)
        app.state.runner.member._assignment.consumer._coordinator._coordination_task.cancel()
        await is_applied(sync, app, 2)
    assert ends.reasons == []


async def test_cancelled_error_that_leaves_stop_does_not_end_the_sync(
    sync: SyncProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop, getmany = AIOKafkaConsumer.stop, AIOKafkaConsumer.getmany
    stopped, losses = 0, 0

    async def stop_as_after_a_lost_broker(consumer: AIOKafkaConsumer) -> None:
        nonlocal stopped
        await stop(consumer)
        if consumer._group_id is None:
            # Of another task.
            return
        stopped += 1
        raise asyncio.CancelledError

    async def lose_the_broker(consumer: AIOKafkaConsumer, **options: Any) -> Any:
        nonlocal losses
        if losses:
            losses -= 1
            raise KafkaConnectionError("lost")
        return await getmany(consumer, **options)

    monkeypatch.setattr(AIOKafkaConsumer, "stop", stop_as_after_a_lost_broker)
    monkeypatch.setattr(AIOKafkaConsumer, "getmany", lose_the_broker)
    async with running_app(sync) as (app, _):
        ends = RecordedExits.of(app)
        for number in (1, 2, 3):
            await is_applied(sync, app, number)
            losses = 1

            async def has_stopped(times: int = number) -> bool:
                return stopped == times

            await eventually(has_stopped)
        await is_applied(sync, app, 4)
    assert ends.reasons == []


async def waiting_for_a_lost_broker(servers: str, topic: str) -> AIOKafkaConsumer:
    """A consumer whose fetch has failed and is to be tried again after a pause."""
    consumer = AIOKafkaConsumer(bootstrap_servers=servers)
    await consumer.start()
    consumer.assign([TopicPartition(topic, 0)])
    send, failed = consumer._client.send, asyncio.Event()

    async def lose(node: int, request: Any, **options: Any) -> Any:
        if isinstance(request, FetchRequest):
            consumer._fetcher._retry_backoff = 60
            failed.set()
            raise KafkaConnectionError("lost")
        return await send(node, request, **options)

    consumer._client.send = lose
    await asyncio.wait_for(failed.wait(), 120)
    await asyncio.sleep(0)
    return consumer


def connections(consumer: AIOKafkaConsumer) -> list[Any]:
    """Those that are open."""
    return [each for each in consumer._client._conns.values() if each.connected()]


async def test_stop_lets_no_cancelled_error_out_and_closes_the_connections(
    sync: SyncProcess, kafka_bootstrap_servers: str
) -> None:
    topic = sync.topic(sync.tweets)
    consumer = await waiting_for_a_lost_broker(kafka_bootstrap_servers, topic)
    # What aiokafka 0.14 does: as soon as this fails, there is no more need for `service_kit.kafka.stop`.
    with pytest.raises(asyncio.CancelledError):
        await consumer.stop()
    assert connections(consumer)
    await consumer._client.close()

    consumer = await waiting_for_a_lost_broker(kafka_bootstrap_servers, topic)
    await stop(consumer)
    assert not connections(consumer)
    assert consumer._client._sync_task is None


async def test_stop_ends_the_fetches_although_the_group_can_not_be_left(
    sync: SyncProcess, kafka_bootstrap_servers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail() -> None:
        raise LookupError

    kafka = KafkaClients(kafka_bootstrap_servers)
    consumer = kafka.consumer(sync.topic(sync.tweets))
    await kafka.start(consumer)
    coordinator, fetches = consumer._coordinator, consumer._fetcher._fetch_task
    with monkeypatch.context() as broken:
        broken.setattr(coordinator, "close", fail)
        with pytest.raises(LookupError):
            await stop(consumer)
    assert fetches.done()
    assert not connections(consumer)
    await coordinator.close()


async def test_stop_is_cancelled_with_its_own_task(sync: SyncProcess, kafka_bootstrap_servers: str) -> None:
    consumer = await waiting_for_a_lost_broker(kafka_bootstrap_servers, sync.topic(sync.tweets))
    stopping = asyncio.create_task(stop(consumer))
    await asyncio.sleep(0)
    stopping.cancel()
    await asyncio.wait([stopping])
    assert stopping.cancelled()
    assert not connections(consumer)


@pytest.mark.long
async def test_broker_that_is_restarted_ends_nothing(sync: SyncProcess, stack: Stack) -> None:
    """Its process is the same one after three restarts."""
    async with sync.running() as replica:
        for number in range(1, 4):
            await asyncio.to_thread(stack.restart, "kafka")
            await sync.send(sync.tweets, tweet_event(number, text="x"))

            async def applied(number: int = number) -> bool:
                status = (await replica.client.get("/v1/status")).json()
                (tweets,) = (route for route in status["routes"] if route["name"] == sync.tweets)
                return bool(tweets["applied"] >= number)

            await eventually(applied)
        assert replica._process is not None
        assert replica._process.returncode is None


async def cancelled_fetcher(kafka: KafkaClients, topic: str) -> None:
    """A consumer one of whose own tasks was cancelled lets that out of `getmany`."""
    async with kafka.started(kafka.consumer()) as consumer:
        consumer.assign([TopicPartition(topic, 0)])
        consumer._coordinator._reset_committed_task.cancel()
        await asyncio.sleep(0)
        monitored = consumer._coordinator._reset_committed_task = asyncio.ensure_future(asyncio.Event().wait())
        monitored.cancel()
        await asyncio.wait([monitored])
        while True:
            await consumer.getmany(timeout_ms=100)


async def test_client_whose_own_task_was_cancelled_raises_a_kafka_error(
    sync: SyncProcess, kafka_bootstrap_servers: str
) -> None:
    with pytest.raises(KafkaError):
        await asyncio.wait_for(
            cancelled_fetcher(KafkaClients(kafka_bootstrap_servers), sync.topic(sync.tweets)), timeout=30
        )


# --- tasks that requests begin


async def has_begun(feed: Feed) -> "asyncio.Task[None]":
    async def following() -> "asyncio.Task[None] | None":
        return feed._following

    task = await eventually(following)
    assert task is not None
    return task


async def test_feed_that_is_cancelled_ends_its_streams_and_begins_again(
    sync: SyncProcess, kafka_bootstrap_servers: str
) -> None:
    kafka = KafkaClients(kafka_bootstrap_servers)
    feed = Feed(kafka, {sync.topic(sync.tweets): "tweets"}, FeedMetrics(CollectorRegistry()), LIMITS)
    async with feed.subscription(EventFilter(), SOMEONE) as subscription:
        await subscription.begin()
        (await has_begun(feed)).cancel()
        with pytest.raises(Exception, match="service-unavailable"):
            await subscription.next()
    async with feed.subscription(EventFilter(), SOMEONE) as subscription:
        await subscription.begin()
        await sync.send(sync.tweets, tweet_event(1))
        assert await subscription.next()
    await feed.close()


async def test_feed_cancelled_before_its_start_fails_the_waiting_clients(kafka_bootstrap_servers: str) -> None:
    feed = Feed(KafkaClients(kafka_bootstrap_servers), {}, FeedMetrics(CollectorRegistry()), LIMITS)
    await cancelled_before_it_begins(feed._start_source, "feed", KafkaError)
    await feed.close()


async def cancelled_before_it_begins(begin: Callable[[], Any], task: str, error: type[Exception]) -> None:
    asking = asyncio.create_task(begin())
    await asyncio.sleep(0)
    found = running_task(task)
    assert found is not None
    found.cancel()
    with pytest.raises(error):
        await asyncio.wait_for(asking, 120)


async def test_cancelled_call_is_an_error_and_the_next_call_works() -> None:
    answers = [asyncio.Event().wait, partial(asyncio.sleep, 0, True)]

    async def ask() -> bool:
        return await answers.pop(0)()

    recent = SingleFlightCache(ask, seconds=5)
    asking = asyncio.create_task(recent.get())

    async def asked() -> "asyncio.Task[bool] | None":
        return recent._call

    task = await eventually(asked)
    assert task is not None
    task.cancel()
    with pytest.raises(TaskEnded):
        await asking
    assert await recent.get() is True


@pytest.fixture
def jobs() -> Jobs:
    return Jobs(
        Settings(
            mysql_url="mysql://nobody@127.0.0.1:1/tweets",
            mongodb_url="mongodb://127.0.0.1:1/tweets",
            kafka_bootstrap_servers="127.0.0.1:1",
            auth_jwks_url="http://127.0.0.1:1/",
        )
    )


async def ended(job: Job) -> tuple[str, str | None]:
    async def state() -> str:
        return job.state

    return await eventually(state, lambda seen: seen != "running"), job.problem


@pytest.mark.integration
@pytest.mark.parametrize("has_begun", [True, False])
async def test_comparison_that_is_cancelled_has_failed_and_blocks_no_other(jobs: Jobs, has_begun: bool) -> None:
    job = Job("tweets", repair=False, sample=None)
    jobs.start(job)
    if has_begun:
        await asyncio.sleep(0)
    await cancel_from_outside("reconciliation")
    assert await ended(job) == ("failed", "it was cancelled")
    jobs.start(Job("tweets", repair=False, sample=None))
    await jobs.close()


@pytest.mark.integration
async def test_comparison_whose_process_crashes_has_failed(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's own exit code for it is that of copies that differ."""
    monkeypatch.setattr(reconciliation_jobs, "_COMMAND", "raise RuntimeError('crashed')")
    job = Job("tweets", repair=False, sample=None)
    jobs.start(job)
    assert await ended(job) == ("failed", "RuntimeError: crashed")
    await jobs.close()
