"""Paused routes: after `pause` no process applies an event, and after a resume every event is applied."""

import asyncio
import json
import secrets
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from itertools import count
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    GroupIdNotFound,
    GroupLoadInProgressError,
    NotCoordinatorForGroupError,
)
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from support.change_events import Record
from support.polling import eventually
from support.ports import free_port
from support.responses import problem
from support.sync_harness import SyncHarness, becomes, tweet_event, tweet_id
from support.sync_process import SyncProcess
from support.sync_process import tweet_event as tweet
from sync_service.kafka import group
from sync_service.kafka.members import members_in
from sync_service.kafka.pauses import Registration, processes
from sync_service.kafka.stops import Skip, Stop, Stops
from sync_service.reconciliation.topic_progress import TopicProgress
from sync_service.routes.pause import PAUSE_SECONDS, RoutePauser, pause_seconds
from sync_service.routes.problems import PauseNotConfirmed
from sync_service.routes.resume import EventsToPass, RouteResumer
from sync_service.runner import SyncRunner
from sync_service.sinks.base import Unavailable
from sync_service.sinks.mysql.sink import engine_for_sinks

POISON: Record = (b"k", b"broken")
NO_EVENTS = EventsToPass({}, {})


async def pause(harness: SyncHarness, seconds: float = 60.0) -> None:
    """As the command does, which is another process."""
    pauser = RoutePauser(harness.kafka, harness.settings.sync_group_id, Stops(harness.engine), harness.engine)
    await pauser.pause([harness.routes[1]], by="ada", seconds=seconds)


async def resume(harness: SyncHarness, events: EventsToPass = NO_EVENTS) -> None:
    resumer = RouteResumer(harness.kafka, harness.settings.sync_group_id, Stops(harness.engine))
    await resumer.resume(harness.routes[1], events, by="ada")


async def waiting(harness: SyncHarness) -> int:
    """The events of the route that the group has not applied, by its commits."""
    group = harness.settings.sync_group_id
    async with TopicProgress(harness.kafka, harness.tweets_topic, group, patience=1) as progress:
        return await progress.waiting()


async def share_the_partitions(*runners: SyncRunner) -> None:
    async def shares() -> list[int]:
        return [len(runner.member.workers) for runner in runners]

    await eventually(shares, lambda counts: all(counts) and sum(counts) == 6)


@asynccontextmanager
async def stream_of_tweets(harness: SyncHarness) -> AsyncIterator[dict[str, str]]:
    """Events to all partitions as long as the block runs. Yields what is sent so far."""
    sent: dict[str, str] = {}

    async def send() -> None:
        for number in count():
            sent[tweet_id(number)] = "sent"
            await harness.send(harness.tweets_topic, tweet_event(number, "sent"), partition=number % 3)

    task = asyncio.create_task(send())
    try:
        yield sent
    finally:
        task.cancel()
        await asyncio.wait([task])
        await harness.producer.flush()


async def test_pause_under_a_stream_of_events_holds_in_every_process(harness: SyncHarness) -> None:
    first, second = harness.start_sync(), harness.start_sync()
    await share_the_partitions(first, second)
    async with stream_of_tweets(harness) as sent:
        await eventually(harness.tweets, lambda copy: len(copy) > 20)
        await pause(harness)
        copy, already = await harness.tweets(), len(sent)

        async def sent_since() -> int:
            return len(sent) - already

        await eventually(sent_since, lambda number: number > 100)
        assert await harness.tweets() == copy
    for runner in (first, second):
        assert (runner.problem, runner.stopped) == (None, None)
        assert runner.paused == "tweets is paused: by ada"
        value = runner.metrics.registry.get_sample_value
        assert (value("sync_paused", {"route": "tweets"}), value("sync_stopped", {"route": "tweets"})) == (1, 0)

    # A process that takes the partitions over, and one that joins, keep to it.
    await harness.stop_sync(first)
    third = harness.start_sync()
    await share_the_partitions(second, third)
    await pause(harness)
    assert await harness.tweets() == copy
    await harness.stop_sync(second)
    await harness.stop_sync(third)
    assert await waiting(harness) >= len(sent) - len(copy)

    fourth = harness.start_sync()
    await resume(harness)
    await becomes(harness.tweets, sent)
    await becomes(lambda: waiting(harness), 0)
    await becomes(lambda: paused_of(fourth), None)


async def paused_of(runner: SyncRunner) -> str | None:
    return runner.paused


def test_pause_waits_for_the_end_of_the_session_of_a_killed_process() -> None:
    assert pause_seconds(6000) == PAUSE_SECONDS
    assert pause_seconds(45_000) == 60


async def test_pause_waits_for_the_batch_in_flight(harness: SyncHarness) -> None:
    runner = harness.start_sync()
    await harness.send(harness.tweets_topic, tweet_event(1, "one"))
    await becomes(harness.tweets, {tweet_id(1): "one"})
    async with harness.locked_tweet(1):
        await harness.send(harness.tweets_topic, tweet_event(1, "changed", op="u", ordinal=2))

        async def batches() -> int:
            return sum(not worker.is_idle for worker in runner.member.workers)

        await eventually(batches)
        with pytest.raises(PauseNotConfirmed, match=r"no confirmation from .*, process "):
            await pause(harness, seconds=1.0)
    await pause(harness)
    copy = await harness.tweets()
    await harness.send(harness.tweets_topic, tweet_event(2, "two"))
    await eventually(lambda: waiting(harness))
    assert await harness.tweets() == copy
    await resume(harness)
    await becomes(harness.tweets, {tweet_id(1): "changed", tweet_id(2): "two"})


async def test_pause_ends_the_retries_of_a_route_that_waits_for_its_store(
    harness: SyncHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = harness.start_sync()
    await becomes(lambda: problem_of(runner), None)

    async def fail(_changes: Any) -> None:
        raise Unavailable("MySQL: away")

    with monkeypatch.context() as broken:
        broken.setattr(runner.processors[harness.tweets_topic].sink, "write", fail)
        await harness.send(harness.tweets_topic, tweet_event(1, "one"))
        await becomes(lambda: problem_of(runner), "tweets: MySQL: away")
        await pause(harness)
        assert runner.problem is None
        assert await waiting(harness) == 1
    await resume(harness)
    await becomes(harness.tweets, {tweet_id(1): "one"})


async def problem_of(runner: SyncRunner) -> str | None:
    return runner.problem


async def test_fault_of_a_paused_route_stays_and_a_resume_ends_both(harness: SyncHarness) -> None:
    await harness.send(harness.tweets_topic, *[POISON] * 4, tweet_event(1, "one"))
    runner = harness.start_sync(sync_dead_letters_max_consecutive=3)
    await eventually(lambda: stopped_of(runner), lambda reason: "3 events in a row" in (reason or ""))
    await pause(harness)
    await becomes(lambda: paused_of(runner), "tweets is paused: by ada")
    assert "3 events in a row" in (runner.stopped or "")
    # Twice is once.
    await pause(harness)
    assert [stop.is_pause for stop in runner.stops.of(harness.tweets_topic)] == [False, True]
    await resume(harness, EventsToPass({0: 4}, {}))
    await becomes(harness.tweets, {tweet_id(1): "one"})
    await becomes(lambda: paused_of(runner), None)
    assert runner.stopped is None


async def stopped_of(runner: SyncRunner) -> str | None:
    return runner.stopped


async def test_paused_routes_are_no_fault_even_if_all_are(harness: SyncHarness) -> None:
    await pause(harness)
    harness.routes[:] = harness.routes[1:]
    runner = harness.start_sync()
    await becomes(lambda: problem_of(runner), None)
    assert runner.paused == "tweets is paused: by ada"


async def test_pause_is_not_confirmed_while_the_group_has_an_unknown_member(harness: SyncHarness) -> None:
    """Such as a process of a release without pauses, or one that has lost MySQL."""
    group_id = harness.settings.sync_group_id
    async with AIOKafkaConsumer(
        harness.tweets_topic, group_id=group_id, bootstrap_servers=harness.settings.kafka_bootstrap_servers
    ):
        with pytest.raises(
            PauseNotConfirmed, match=f"the consumer group {group_id} has members that have not confirmed"
        ):
            await pause(harness, seconds=1.0)
        # One that has confirmed it, and is in no group yet, does not count for the member.
        starting = Registration(harness.engine)
        await starting.renew([harness.tweets_topic])
        stops = Stops(harness.engine)
        paused = await stops.pause(harness.tweets_topic, "ada")
        await starting.confirm([paused])
        pauser = RoutePauser(harness.kafka, group_id, stops, harness.engine)
        reason = await pauser.unconfirmed_reason([paused])
        assert (reason or "").startswith(f"the consumer group {group_id} has members that have not confirmed it: aiok")
        await starting.close()
    await pause(harness)


def test_group_whose_members_the_broker_does_not_know_is_not_empty() -> None:
    def answer(error: int) -> SimpleNamespace:
        return SimpleNamespace(groups=[(error, "sync", "", "", "", [])])

    for error in (NotCoordinatorForGroupError, GroupLoadInProgressError, GroupAuthorizationFailedError):
        with pytest.raises(error):
            members_in(answer(error.errno))
    # The broker has no such group.
    assert members_in(answer(GroupIdNotFound.errno)) == {}


async def test_pause_waits_for_writes_that_were_given_up(harness: SyncHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their task has ended, and their store may still execute them."""
    runner = harness.start_sync()
    await harness.send(harness.tweets_topic, tweet_event(1, "one"))
    await becomes(harness.tweets, {tweet_id(1): "one"})
    assert runner.member.holds(harness.users_topic)
    monkeypatch.setattr(runner.member, "_close_seconds", 0.1)
    monkeypatch.setattr(group, "GIVEN_UP_SECONDS", 1e6)
    async with harness.locked_tweet(1):
        await harness.send(harness.tweets_topic, tweet_event(1, "changed", op="u", ordinal=2))

        async def batches() -> int:
            return sum(not worker.is_idle for worker in runner.member.workers)

        await eventually(batches)
        given_up = list(runner.member.workers)
        await runner.member.on_partitions_revoked([worker.partition for worker in given_up])
        await asyncio.wait([worker.task for worker in given_up])
        assert not runner.member.holds(harness.tweets_topic)
        assert runner.member.holds(harness.users_topic)
        # Another member follows with other routes.
        await runner.replace_routes(harness.routes[:1])
        assert not runner.member.holds(harness.tweets_topic)


async def test_pause_waits_until_the_copy_is_not_being_prepared(
    harness: SyncHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An operator may drop it afterwards."""
    runner = harness.start_sync()
    await becomes(lambda: problem_of(runner), None)
    sink = runner.processors[harness.tweets_topic].sink
    looks, continues, was_replaced = asyncio.Event(), asyncio.Event(), sink.was_replaced

    async def slow_look() -> bool:
        looks.set()
        await continues.wait()
        return await was_replaced()

    monkeypatch.setattr(sink, "was_replaced", slow_look)
    await asyncio.wait_for(looks.wait(), 60)
    await Stops(harness.engine).pause(harness.tweets_topic, "ada")
    holds_all = await runner._read_stops()
    assert not holds_all
    continues.set()
    await pause(harness)


async def test_resume_of_a_pause_keeps_what_was_decided_before(engine: AsyncEngine, topic: str) -> None:
    stops, skip = Stops(engine), Skip(topic, "id", 0, 7, discards=True, by="ada")
    fault = Stop(topic, "refused", "refused: a test", datetime.now(UTC), 0, "id", 3)

    async def skips() -> list[Skip]:
        await stops.refresh()
        return [each for each in stops.skips if each.topic == topic]

    stops.note(fault)
    await stops.refresh()
    await stops.resume(topic, [skip])
    await stops.pause(topic, "ada")
    await stops.resume(topic, [])
    assert await skips() == [skip]
    # The end of a fault is a new decision.
    stops.note(fault)
    await stops.pause(topic, "ada")
    await stops.resume(topic, [])
    assert await skips() == []


async def test_entry_of_a_lost_connection_is_deleted_although_the_next_one_failed(
    engine: AsyncEngine, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server may keep the lock of the first one, so that it counts as a process that lives."""
    process = Registration(engine)
    await process.renew([topic])
    first = process.process_id
    assert process._connection is not None
    await process._connection.invalidate()
    unreachable = engine_for_sinks(f"mysql://a:b@127.0.0.1:{free_port()}/nothing", pool_size=1)
    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(process, "_engine", unreachable)
        with pytest.raises(Unavailable):
            await process.renew([topic])
    await process.renew([topic])
    async with engine.connect() as connection:
        left = (await connection.execute(text("SELECT process_id FROM sync_processes"))).scalars().all()
    assert first not in left
    assert process.process_id in left
    await process.close()
    await unreachable.dispose()


async def test_process_counts_until_its_connection_is_gone(engine: AsyncEngine, topic: str) -> None:
    pause = await Stops(engine).pause(topic, "ada")
    running, hanging, killed = (Registration(engine) for _ in range(3))
    for each in (running, hanging, killed):
        await each.renew([topic])
    await running.confirm([pause])
    assert killed._connection is not None
    # As the kernel closes the connection of a process that is killed.
    await killed._connection.invalidate()

    async def holds() -> dict[str, bool]:
        return {each.process_id: each.holds for each in await processes(engine, pause)}

    ours = {each.process_id for each in (running, hanging, killed)}
    # The one without a connection may be connecting again.
    assert {name: held for name, held in (await holds()).items() if name in ours} == {
        running.process_id: True,
        hanging.process_id: False,
        killed.process_id: False,
    }
    async with engine.connect() as connection:
        await connection.execute(text("UPDATE sync_processes SET seen_at = seen_at - INTERVAL 1 MINUTE"))
    await eventually(holds, lambda found: found.keys() & ours == {running.process_id, hanging.process_id})

    # Another connection, and another pause.
    await killed.renew([topic])
    assert (await holds())[killed.process_id] is False
    ours.add(killed.process_id)
    await Stops(engine).resume(topic, [])
    pause = await Stops(engine).pause(topic, "ada")
    assert not (await holds())[running.process_id]
    for each in (running, hanging, killed):
        await each.close()
    assert not (await holds()).keys() & ours


@pytest.fixture
async def topic(engine: AsyncEngine) -> AsyncIterator[str]:
    """The name of a topic that does not exist. It is resumed afterwards."""
    name = f"test.{secrets.token_hex(4)}"
    yield name
    await Stops(engine).resume(name, [])


async def status_of(client: httpx.AsyncClient, route: str) -> dict[str, Any]:
    routes = (await client.get("/v1/status")).json()["routes"]
    (found,) = [each for each in routes if each["name"] == route]
    return dict(found)


async def texts(engine: AsyncEngine) -> list[str]:
    async with engine.connect() as connection:
        return list((await connection.execute(text("SELECT text FROM tweets ORDER BY id"))).scalars())


async def test_commands_and_http_pause_a_route_in_every_process(sync: SyncProcess, engine: AsyncEngine) -> None:
    async with sync.running() as first, sync.running():
        await sync.send(sync.tweets, tweet(1, text="before"))
        await eventually(lambda: texts(engine), lambda seen: seen == ["before"])
        assert await sync.command("routes", "pause", "nowhere") == (1, "", "error: there is no route nowhere\n")
        paused = await sync.command("routes", "pause", sync.tweets, "--timeout", "60", USER="ada")
        assert paused == (0, f"{sync.tweets} is paused: no process applies its events\n", "")
        for partition in (0, 1):
            await sync.send(sync.tweets, tweet(2 + partition, text="while it is paused"), partition=partition)

        public = await eventually(lambda: status_of(first.client, sync.tweets), lambda seen: seen["state"] == "paused")
        assert [(each["cause"], each["reason"]) for each in public["stops"]] == [("paused", "paused")]
        ready = await first.client.get("/readyz")
        assert (ready.status_code, ready.json()["status"]) == (200, "ready")
        assert f"{sync.tweets} is paused: by command line (ada)" in ready.json()["remarks"]
        metrics = (await first.client.get("/metrics")).text
        assert f'sync_paused{{route="{sync.tweets}"}} 1.0' in metrics
        assert f'sync_stopped{{route="{sync.tweets}"}} 0.0' in metrics
        # A process that hangs may have events in work.
        hanging = Registration(engine)
        await hanging.renew([])
        code, output, errors = await sync.command("routes", "pause", sync.users, "--timeout", "1")
        assert (code, output) == (1, "")
        assert errors.startswith("error: Paused, but it is not certain after 1 s that no more events are applied: ")
        assert f"{sync.users}: no confirmation from " in errors
        await hanging.close()
        both = await sync.command("routes", "pause", sync.users, sync.tweets, "--timeout", "60")
        assert (both[0], both[2]) == (0, "")
        assert await texts(engine) == ["before"]

        # Over HTTP.
        path = f"/v1/routes/{sync.tweets}/pause"
        assert problem(await first.client.post("/v1/routes/nowhere/pause")) == (404, "route-not-found")
        assert problem(await first.client.post(path, headers=sync.bearer("customer"))) == (403, "forbidden")
        answer = await first.client.post(path)
        assert (answer.status_code, answer.json()["name"]) == (200, sync.tweets)
        assert [each["reason"] for each in answer.json()["stops"]] == ["paused: by command line (ada)"]

        # A restart does not end it.
        await first.end(signal.SIGKILL)
        await first.start()
        assert (await status_of(first.client, sync.tweets))["state"] == "paused"
        assert await texts(engine) == ["before"]
        code, output, errors = await sync.command("routes", "resume", sync.users, sync.tweets)
        assert (code, errors) == (0, "")
        assert f"{sync.tweets} was paused: by command line (ada)\n{sync.tweets} continues within" in output
        await eventually(
            lambda: texts(engine), lambda seen: seen == ["before", "while it is paused", "while it is paused"]
        )


async def test_list_reports_the_states_of_the_service(sync: SyncProcess) -> None:
    async with sync.running() as replica:
        await sync.command("routes", "pause", sync.tweets)
        address = str(replica.client.base_url)
        await eventually(lambda: status_of(replica.client, sync.users), lambda seen: seen["state"] == "up to date")
        code, output, errors = await sync.command("routes", "list", "--json", SYNC_URL=address)
        assert (code, errors) == (0, "")
        listed = {each["name"]: each for each in json.loads(output)}
        source, target = f"mysql:test.{sync.users}", f"mongodb:{sync.routes[sync.users]['target']['collection']}"
        assert listed == {
            sync.users: {"name": sync.users, "source": source, "target": target, "state": "up to date", "lag": 0},
            sync.tweets: {**listed[sync.tweets], "state": "paused", "lag": 0},
        }
        # In the container of the service, only PORT is set.
        port = str(replica.client.base_url.port)
        inside = await sync.command("routes", "list", "--json", PORT=port)
        assert (inside[0], inside[2]) == (0, "")
        assert [each["state"] for each in json.loads(inside[1])] == [each["state"] for each in json.loads(output)]
        await sync.command("routes", "resume", sync.tweets)
    code, output, errors = await sync.command("routes", "list", "--json", SYNC_URL=address)
    assert (code, [(each["state"], each["lag"]) for each in json.loads(output)]) == (0, [(None, None)] * 2)
    assert errors.startswith(f"warning: no states: sync-service at {address} does not answer: ")
    code, output, errors = await sync.command("routes", "list", PORT=port)
    assert code == 0
    assert errors.startswith(f"warning: no states: sync-service at http://127.0.0.1:{port} does not answer: ")
    header, *lines = output.splitlines()
    assert header.split() == ["NAME", "SOURCE", "TARGET", "STATE", "LAG"]
    assert [sync.users, source, target, "-", "-"] in [line.split() for line in lines]
