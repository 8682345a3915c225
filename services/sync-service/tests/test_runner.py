"""The whole sync on a real broker and real databases, in this process, with topics of its own."""

import asyncio

from embedded_stack import Stack
from support.built_in_routes import built_in_declarations
from support.change_events import user_event
from support.polling import eventually
from support.sync_harness import SyncHarness, becomes, tweet_event, tweet_id
from sync_service.dead_letters.models import DeadLetter, read
from sync_service.dead_letters.service import DeadLetterService
from sync_service.dead_letters.store import DeadLetterReader
from sync_service.routes.config import Route


async def test_inserts_updates_deletes_and_snapshot_reads_reach_both_copies(harness: SyncHarness) -> None:
    ada = {"id": "u1", "username": "ada", "name": "Ada", "is_active": 1, "created_at": "2026-11-24T03:17:34.081894Z"}
    await harness.send(
        harness.users_topic, user_event(ada, op="r", pos=1), user_event({**ada, "name": "Ada L."}, op="u", pos=2)
    )
    await harness.send(harness.users_topic, user_event({"id": "u2"}, pos=3), user_event({"id": "u2"}, op="d", pos=4))
    await harness.send(harness.tweets_topic, tweet_event(1, "one", op="r"), tweet_event(2, "two"))
    await harness.send(harness.tweets_topic, tweet_event(2, "", op="d", ordinal=2), (tweet_event(2, "")[0], None))

    runner = harness.start_sync()

    await becomes(harness.tweets, {tweet_id(1): "one"})
    user = await eventually(lambda: harness.user("u1"), lambda user: user is not None and user["name"] == "Ada L.")
    assert user is not None
    assert user["is_active"] is True
    assert await harness.user("u2") is None
    await becomes(runner.member.lag.by_topic, {harness.users_topic: 0, harness.tweets_topic: 0})


async def test_next_process_does_not_repeat_applied_events(harness: SyncHarness) -> None:
    await harness.send(harness.tweets_topic, *(tweet_event(n, "x") for n in range(50)))
    first = harness.start_sync()
    await eventually(harness.tweets, lambda rows: len(rows) == 50)
    await harness.becomes_committed(harness.tweets_topic, 50)
    await harness.stop_sync(first)

    await harness.send(harness.tweets_topic, tweet_event(50, "x"))
    second = harness.start_sync()

    await eventually(harness.tweets, lambda rows: len(rows) == 51)
    assert second.processors[harness.tweets_topic].statistics.finished == 1


async def test_redelivery_of_everything_changes_nothing_and_is_counted(harness: SyncHarness) -> None:
    await harness.send(harness.tweets_topic, *(tweet_event(n, f"text {n}") for n in range(30)))
    await harness.send(harness.tweets_topic, *(tweet_event(n, "", op="d", ordinal=2) for n in range(10)))
    first = harness.start_sync()
    wanted = {tweet_id(n): f"text {n}" for n in range(10, 30)}
    await becomes(harness.tweets, wanted)
    await harness.stop_sync(first)

    again = harness.start_sync(sync_group_id=f"{harness.settings.sync_group_id}-again")
    statistics = again.processors[harness.tweets_topic].statistics

    async def finished() -> int:
        return statistics.finished

    await becomes(finished, 40)
    assert statistics.outcomes["skipped"] + statistics.outcomes["superseded"] >= 40 - len(wanted)
    assert await harness.tweets() == wanted


async def test_unavailable_database_blocks_only_its_route_and_loses_no_event(
    harness: SyncHarness, stack: Stack
) -> None:
    runner = harness.start_sync()
    await harness.send(harness.tweets_topic, tweet_event(1, "before"))
    await becomes(harness.tweets, {tweet_id(1): "before"})

    stack.kill("mysql")
    await harness.send(harness.tweets_topic, *(tweet_event(n, "while down") for n in range(2, 20)))
    await harness.send(harness.users_topic, user_event({"id": "u1", "username": "ada"}))
    await eventually(lambda: harness.user("u1"))

    async def problem() -> str:
        return runner.problem or ""

    await eventually(problem, lambda reason: "MySQL" in reason)
    await asyncio.to_thread(stack.start, "mysql")
    await harness.engine.dispose()

    await eventually(harness.tweets, lambda rows: len(rows) == 19)
    await becomes(problem, "")
    assert await harness.dead_letters() == []


def selecting(route: Route, where: str) -> Route:
    declared = built_in_declarations()["tweets"]
    return Route.model_validate({**declared, "name": "tweets", "topic": route.topic, "where": where})


async def test_rows_leave_and_enter_the_copy_and_a_failed_expression_is_a_dead_letter(harness: SyncHarness) -> None:
    """A retry of the dead letter, when the expression is corrected, takes no row back."""
    harness.routes[1] = selecting(harness.routes[1], "text.startsWith('ok') && version / (size(text) - 4) >= 0")
    topic = harness.tweets_topic
    await harness.send(topic, tweet_event(1, "ok 1"), tweet_event(2, "other"), tweet_event(3, "ok three"))
    await harness.send(topic, tweet_event(1, "another", op="u", ordinal=2), tweet_event(2, "ok two", op="u", ordinal=2))
    runner = harness.start_sync()
    await becomes(harness.tweets, {tweet_id(2): "ok two", tweet_id(3): "ok three"})

    (record,) = await harness.dead_letters()
    letter = read(record)
    assert isinstance(letter, DeadLetter)
    assert letter.reason == ("where: text.startsWith('ok') && version / (size(text) - 4) >= 0: a division by zero")
    corrected = selecting(harness.routes[1], "text.startsWith('ok')")
    letters = DeadLetterService(
        DeadLetterReader(harness.kafka),
        runner.dead_letters,
        lambda: [corrected],
        lambda _: runner.processors[topic].sink,
        runner.stops.is_dropped,
    )
    result = await letters.resolve("retry", letter.id, by="a test")
    assert result.outcome == "skipped"
    assert await harness.tweets() == {tweet_id(2): "ok two", tweet_id(3): "ok three"}


async def test_new_column_of_the_source_is_reported_and_its_events_are_applied(harness: SyncHarness) -> None:
    topic = harness.users_topic
    await harness.send(
        topic, user_event({"id": "u1", "bio": "unlisted"}), user_event({"id": "u2", "bio": "", "city": "Łódź"})
    )
    runner = harness.start_sync()
    assert await eventually(lambda: harness.user("u2"))
    assert runner.processors[topic].statistics.new_fields == ["city"]
