"""Dead letters over HTTP and on the command line, with a sync that runs in a process of its own."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from embedded_stack import Stack
from service_kit.kafka import KafkaClients
from service_kit.pagination import encode_cursor
from support.change_events import Record
from support.polling import eventually
from support.responses import problem
from support.sync_process import SyncProcess, tweet_event, tweet_id
from sync_service.apply.ordering import REPAIRED
from sync_service.dead_letters import store
from sync_service.dead_letters.models import DEAD_LETTERS_TOPIC, DeadLetterId
from sync_service.dead_letters.store import DeadLetterReader
from sync_service.reconciliation.repair import UNKNOWN_POSITION

# The least setting: a dead letter may then have 2 MiB.
SMALL_RECORDS = str(1024 * 1024)

POISON = [
    (b'{"id":"{\\"$oid\\": \\"' + tweet_id(1).encode() + b'\\"}"}', b"{not json"),
    tweet_event(2, text=5),
    tweet_event(3, lang="x" * 21),
    (b"", tweet_event(4)[1]),
    (tweet_event(5)[0], (tweet_event(5)[1] or b"").replace(b'"op": "c"', b'"op": "t"')),
]


@pytest.fixture
def copied(engine: AsyncEngine) -> Callable[[], Awaitable[dict[str, Any]]]:
    """What the copy has of each tweet in the field `text`, by the tweet's number."""

    async def look() -> dict[str, Any]:
        async with engine.connect() as connection:
            rows = await connection.execute(text("SELECT id, text FROM tweets"))
            return {str(int(row.id, 16)): row.text for row in rows}

    return look


async def letters_of(client: httpx.AsyncClient, route: str, **query: Any) -> list[dict[str, Any]]:
    answer = await client.get("/v1/dead-letters", params={"route": route, **query})
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


async def diverted(client: httpx.AsyncClient, route: str, count: int) -> list[dict[str, Any]]:
    """The dead letters of the route, as soon as there are this many."""
    return await eventually(lambda: letters_of(client, route, limit=100), lambda found: len(found) == count)


async def test_poison_of_each_kind_is_listed_and_shown_with_its_reason(sync: SyncProcess) -> None:
    await sync.send(sync.tweets, *POISON)
    async with sync.running() as replica:
        letters = await diverted(replica.client, sync.tweets, len(POISON))
        letters.sort(key=lambda letter: int(letter["offset"]))
        assert [each["offset"] for each in letters] == list(range(len(POISON)))
        assert {each["topic"] for each in letters} == {sync.topic(sync.tweets)}
        assert [each["stage"] for each in letters].count("TASK_PUT") == 1
        assert all(each["reason"] and each["error"] for each in letters)
        for letter, (key, value) in zip(letters, POISON, strict=True):
            shown = (await replica.client.get(f"/v1/dead-letters/{letter['id']}")).json()
            assert shown.items() >= letter.items()
            assert (shown["value"], shown["encoding"]) == ((value or b"").decode(), "utf-8")
            assert shown["resolution"] is None
            assert shown["size"] == len(key) + len(value or b"")


async def test_cursors_are_stable_while_dead_letters_are_resolved(sync: SyncProcess) -> None:
    await sync.send(sync.tweets, *[(b"k", b"broken")] * 7)
    await sync.send(sync.users, (b"k", b"broken"))
    async with sync.running() as replica:
        everything = await diverted(replica.client, sync.tweets, 7)
        await diverted(replica.client, sync.users, 1)
        seen, url = [], f"/v1/dead-letters?route={sync.tweets}&limit=3"
        for size in (3, 3, 1):
            answer = await replica.client.get(url)
            items = answer.json()["items"]
            assert len(items) == size
            seen += items
            # Dead letters of earlier pages are resolved meanwhile, and later pages do not shift.
            await replica.client.post(f"/v1/dead-letters/{items[0]['id']}/discard")
            if answer.json()["next_cursor"] is not None:
                url = answer.links["next"]["url"]
        assert "next" not in answer.links
        assert seen == everything
        for end in ((-1, -1), (0, 2**63), (2**31, 0), (10**30, 10**30)):
            (await replica.client.get("/v1/dead-letters", params={"cursor": encode_cursor(*end)})).raise_for_status()
        for wrong in ("cursor=x", "cursor=WyJhIl0"):
            answer = await replica.client.get(f"/v1/dead-letters?{wrong}")
            assert problem(answer) == (422, "invalid-cursor")
        assert problem(await replica.client.get("/v1/dead-letters?route=nowhere")) == (422, "unknown-route")


async def test_reading_and_writing_need_their_scope(sync: SyncProcess) -> None:
    async with sync.running() as replica:
        requests = [
            ("GET", "/v1/dead-letters", None),
            ("POST", "/v1/dead-letters", {"action": "retry", "ids": ["0-0"]}),
            ("GET", "/v1/dead-letters/0-0", None),
            ("POST", "/v1/dead-letters/0-0/retry", None),
            ("POST", "/v1/dead-letters/0-0/discard", None),
        ]
        for method, path, body in requests:

            async def asked_with(headers: dict[str, str]) -> httpx.Response:
                return await replica.client.request(method, path, json=body, headers=headers)  # noqa: B023 - called here

            del replica.client.headers["Authorization"]
            assert problem(await asked_with({})) == (401, "not-authenticated")
            assert problem(await asked_with({"Authorization": "Bearer x.y.z"})) == (401, "invalid-token")
            for role in ("customer", *(["senior_manager"] if method == "POST" else [])):
                assert problem(await asked_with(sync.bearer(role))) == (403, "forbidden")
            replica.client.headers.update(sync.bearer("admin"))
        for role in ("senior_manager", "technical_worker", "admin"):
            assert (await replica.client.get("/v1/dead-letters", headers=sync.bearer(role))).status_code == 200
        # The claim of a technical worker's token in the last release, whose workers could retry.
        old = sync.bearer("technical_worker", scope="tweets:write sync:read")
        retried = await replica.client.post("/v1/dead-letters/0-99999999/retry", headers=old)
        assert problem(retried) == (404, "dead-letter-not-found")
        assert (await replica.client.get("/v1/status", headers={"Authorization": ""})).status_code == 200


async def test_token_is_refused_once_its_revocation_has_arrived(sync: SyncProcess, database: Any) -> None:
    async with sync.running() as replica:
        assert (await replica.client.get("/v1/dead-letters")).status_code == 200
        await database["users_copy"].insert_one({"_id": "u-technical_worker", "is_active": False})

        async def code() -> Any:
            return (await replica.client.get("/v1/dead-letters")).json().get("code")

        await eventually(code, lambda code: code == "token-revoked")


async def test_dead_letters_are_applied_after_their_route_is_fixed(
    sync: SyncProcess, copied: Callable[[], Awaitable[dict[str, Any]]]
) -> None:
    """The route's types were wrong: `text` was no text for it."""
    with sync.wrong_fields(sync.tweets, text={"from": "text", "type": "datetime"}):
        await sync.send(sync.tweets, *(tweet_event(number, text=f"text {number}") for number in range(3)), POISON[0])
        async with sync.running() as replica:
            letters = await diverted(replica.client, sync.tweets, 4)
            again = (await replica.client.post(f"/v1/dead-letters/{letters[0]['id']}/retry")).json()
            assert (again["id"], again["outcome"]) == (letters[0]["id"], "rejected")
            assert "text" in again["reason"]
            assert await letters_of(replica.client, sync.tweets) == letters
            assert await copied() == {}
    async with sync.running() as replica:
        first = (await replica.client.post(f"/v1/dead-letters/{letters[0]['id']}/retry")).json()
        assert (first["outcome"], first["reason"]) == ("applied", None)
        assert await copied() == {"0": "text 0"}
        many = {"action": "retry", "route": sync.tweets}
        answer = (await replica.client.post("/v1/dead-letters", json=many)).json()
        assert [each["outcome"] for each in answer["items"]] == ["applied", "applied", "rejected"]
        assert answer["next_cursor"] is None
        assert await copied() == {str(number): f"text {number}" for number in range(3)}
        assert await letters_of(replica.client, sync.tweets) == letters[3:]
        shown = (await replica.client.get(f"/v1/dead-letters/{letters[0]['id']}")).json()
        assert (shown["resolution"]["result"], shown["resolution"]["by"]) == ("applied", "technical_worker")
        path = f"/v1/dead-letters/{letters[0]['id']}"
        for action in ("retry", "discard"):
            assert problem(await replica.client.post(f"{path}/{action}")) == (409, "dead-letter-resolved")


async def test_dead_letter_that_is_older_than_its_row_is_skipped_and_resolved(
    sync: SyncProcess, copied: Callable[[], Awaitable[dict[str, Any]]]
) -> None:
    with sync.wrong_fields(sync.tweets, lang="integer"):
        await sync.send(sync.tweets, tweet_event(1, text="older", lang="en"), tweet_event(2, text="only", lang="en"))
        await sync.send(sync.tweets, tweet_event(1, text="newer", op="u", ordinal=2))
        async with sync.running() as replica:
            letters = await diverted(replica.client, sync.tweets, 2)
            await eventually(copied, lambda rows: rows == {"1": "newer"})
    async with sync.running() as replica:
        ids = [each["id"] for each in letters]
        answer = await replica.client.post("/v1/dead-letters", json={"action": "retry", "ids": ids})
        assert [each["outcome"] for each in answer.json()["items"]] == ["skipped", "applied"]
        assert await copied() == {"1": "newer", "2": "only"}
        assert await letters_of(replica.client, sync.tweets) == []


async def test_dead_letter_stays_open_if_nothing_proves_that_its_row_is_newer(
    sync: SyncProcess, engine: AsyncEngine, copied: Callable[[], Awaitable[dict[str, Any]]]
) -> None:
    await sync.send(sync.tweets, tweet_event(1, text="first"))
    async with sync.running():
        await eventually(copied, lambda rows: rows == {"1": "first"})
    with sync.wrong_fields(sync.tweets, lang="integer"):
        await sync.send(sync.tweets, tweet_event(1, text="second", lang="en", op="u", ordinal=2))
        async with sync.running() as replica:
            ids = [each["id"] for each in await diverted(replica.client, sync.tweets, 1)]
    async with engine.begin() as connection:
        # As a repair does that can't tell the position of what it has read.
        repaired = {"operation": REPAIRED, "epoch": UNKNOWN_POSITION.generation, "position": UNKNOWN_POSITION.text}
        repair = "UPDATE tweets_copy SET sync_operation = :operation, sync_epoch = :epoch, sync_position = :position"
        await connection.execute(text(repair), repaired)
    async with sync.running() as replica:
        answer = await replica.client.post("/v1/dead-letters", json={"action": "retry", "ids": ids})
        (result,) = answer.json()["items"]
        assert (result["outcome"], "reconcile" in result["reason"]) == ("rejected", True)
        assert [each["id"] for each in await letters_of(replica.client, sync.tweets)] == ids
        assert await copied() == {"1": "first"}


async def test_dead_letter_from_before_the_tombstones_creates_no_row(
    sync: SyncProcess, copied: Callable[[], Awaitable[dict[str, Any]]]
) -> None:
    with sync.wrong_fields(sync.tweets, lang="integer"):
        await sync.send(sync.tweets, tweet_event(1, text="deleted since?", lang="en"))
        async with sync.running() as replica:
            (fresh,) = await diverted(replica.client, sync.tweets, 1)
        reader = DeadLetterReader(KafkaClients(sync.variables["KAFKA_BOOTSTRAP_SERVERS"]))
        (record,) = [each async for each in reader.at([DeadLetterId.of(fresh["id"]) or DeadLetterId(0, 0)])]
        eight_days_ago = datetime.now(UTC) - timedelta(days=8)
        await sync.producer.send_and_wait(
            DEAD_LETTERS_TOPIC,
            key=record.key,
            value=record.value,
            headers=list(record.headers),
            timestamp_ms=int(eight_days_ago.timestamp() * 1000),
        )
    async with sync.running() as replica:
        (old,) = [each for each in await diverted(replica.client, sync.tweets, 2) if each["id"] != fresh["id"]]
        answer = (await replica.client.post(f"/v1/dead-letters/{old['id']}/retry")).json()
        assert (answer["outcome"], "may have been deleted" in answer["reason"]) == ("rejected", True)
        assert await copied() == {}
        answer = (await replica.client.post(f"/v1/dead-letters/{fresh['id']}/retry")).json()
        assert (answer["outcome"], await copied()) == ("applied", {"1": "deleted since?"})


async def test_dead_letter_of_a_refused_route_stops_no_other_retry(
    sync: SyncProcess, engine: AsyncEngine, copied: Callable[[], Awaitable[dict[str, Any]]]
) -> None:
    poison = (b"", tweet_event(4)[1])
    await sync.send(sync.tweets, tweet_event(1, text="one"), tweet_event(2, lang="x" * 21))
    await sync.send(sync.users, poison)
    async with sync.running() as replica:
        ids = [each["id"] for each in await diverted(replica.client, sync.tweets, 1)]
        ids += [each["id"] for each in await diverted(replica.client, sync.users, 1)]
        async with engine.begin() as connection:
            await connection.execute(text("RENAME TABLE tweets_copy TO tweets_elsewhere"))
        try:
            answer = await replica.client.post("/v1/dead-letters", json={"action": "retry", "ids": ids})
        finally:
            async with engine.begin() as connection:
                await connection.execute(text("RENAME TABLE tweets_elsewhere TO tweets_copy"))
        assert [each["outcome"] for each in answer.json()["items"]] == ["rejected", "rejected"], answer.text


async def test_concurrent_retries_apply_once(
    sync: SyncProcess, copied: Callable[[], Awaitable[dict[str, Any]]]
) -> None:
    with sync.wrong_fields(sync.tweets, lang="integer"):
        await sync.send(sync.tweets, *(tweet_event(number, text="x", lang="en") for number in range(8)))
        async with sync.running() as replica:
            await diverted(replica.client, sync.tweets, 8)
    async with sync.running() as one, sync.running() as other:
        many = {"action": "retry", "route": sync.tweets}
        answers = await asyncio.gather(*(each.client.post("/v1/dead-letters", json=many) for each in (one, other) * 2))
        outcomes: dict[str, list[str]] = {}
        for answer in answers:
            for item in answer.json()["items"]:
                outcomes.setdefault(item["id"], []).append(item["outcome"])
        assert len(outcomes) == 8
        for each in outcomes.values():
            # Of two at the very same time both may find that it was applied.
            assert "applied" in each
            assert set(each) <= {"applied", "skipped", "already-resolved"}
        assert await copied() == {str(number): "x" for number in range(8)}
        assert await letters_of(other.client, sync.tweets) == []


async def test_discarded_dead_letter_is_resolved_and_unknown_ids_are_404(sync: SyncProcess) -> None:
    await sync.send(sync.tweets, *POISON)
    async with sync.running() as replica:
        letters = await diverted(replica.client, sync.tweets, len(POISON))
        path = f"/v1/dead-letters/{letters[0]['id']}"
        assert (await replica.client.post(f"{path}/discard")).json()["outcome"] == "discarded"
        assert (await replica.client.get(path)).json()["resolution"]["result"] == "discarded"
        assert problem(await replica.client.post(f"{path}/discard")) == (409, "dead-letter-resolved")
        # The resolution is a record of the topic, but no dead letter.
        beyond = ["0-999999999999999999", "7-0"]
        partition, offset = letters[-1]["id"].split("-")
        for letter_id in (*beyond, f"{partition}-{int(offset) + 1}"):
            for method, end in (("GET", ""), ("POST", "/retry"), ("POST", "/discard")):
                answer = await replica.client.request(method, f"/v1/dead-letters/{letter_id}{end}")
                assert problem(answer) == (404, "dead-letter-not-found")
        assert problem(await replica.client.get("/v1/dead-letters/x")) == (422, "validation-failed")
        ids = [letters[0]["id"], letters[1]["id"], *beyond]
        answer = await replica.client.post("/v1/dead-letters", json={"action": "discard", "ids": ids})
        outcomes = {each["id"]: each["outcome"] for each in answer.json()["items"]}
        assert outcomes == dict(zip(ids, ["already-resolved", "discarded", "not-found", "not-found"], strict=True))
        assert await letters_of(replica.client, sync.tweets) == letters[2:]
        for wrong in ({"action": "discard"}, {"action": "discard", "ids": ["0-0"], "route": "x"}, {"action": "x"}):
            assert problem(await replica.client.post("/v1/dead-letters", json=wrong)) == (422, "validation-failed")


async def test_database_that_is_down_resolves_nothing(sync: SyncProcess, stack: Stack) -> None:
    await sync.send(sync.tweets, tweet_event(1, lang="x" * 21))
    async with sync.running() as replica:
        letters = await diverted(replica.client, sync.tweets, 1)
        stack.kill("mysql")
        try:
            answer = await replica.client.post(f"/v1/dead-letters/{letters[0]['id']}/retry")
            assert problem(answer) == (503, "service-unavailable")
            assert await letters_of(replica.client, sync.tweets) == letters
        finally:
            await asyncio.to_thread(stack.start, "mysql")


async def test_id_beyond_the_end_of_the_topic_is_404_and_blocks_no_reader(
    kafka_bootstrap_servers: str,
) -> None:
    """As of a topic that was created again, or of a broker that has lost its last records."""
    reader = DeadLetterReader(KafkaClients(kafka_bootstrap_servers))
    for _ in range(store._CONSUMERS + 1):
        async with asyncio.timeout(120):
            assert [record async for record in reader.at([DeadLetterId(0, 10**9)])] == []


@pytest.mark.parametrize("limit", ["producer", "topic", "headers"])
async def test_too_large_event_has_a_dead_letter_without_its_value(
    sync: SyncProcess, copied: Callable[[], Awaitable[dict[str, Any]]], limit: str
) -> None:
    kafka = KafkaClients(sync.variables["KAFKA_BOOTSTRAP_SERVERS"])
    size, headers = {"producer": (3_000_000, 0), "topic": (200_000, 0), "headers": (10, 3_000_000)}[limit]
    if limit == "topic":
        # An operator has set less than the producer would send.
        await set_largest_letter(kafka, 100_000)
    await sync.producer.send_and_wait(
        sync.topic(sync.tweets), key=b"k", value=b"x" * size, headers=[("own", b"x" * headers)], partition=0
    )
    await sync.send(sync.tweets, tweet_event(2, text="next"))
    async with sync.running(KAFKA_MAX_RECORD_BYTES=SMALL_RECORDS) as replica:
        try:
            (letter,) = await diverted(replica.client, sync.tweets, 1)
        finally:
            await set_largest_letter(kafka, kafka.max_message_bytes)
        await eventually(copied, lambda rows: rows == {"2": "next"})
        shown = (await replica.client.get(f"/v1/dead-letters/{letter['id']}")).json()
        assert (shown["value"], shown["key"], shown["offset"]) == (None, None, 0)
        assert shown["size"] == size + 1


async def set_largest_letter(kafka: KafkaClients, size: int) -> None:
    configs = {"max.message.bytes": str(size), "retention.ms": str(30 * 24 * 3600 * 1000)}
    async with kafka.started(kafka.admin()) as admin:
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, DEAD_LETTERS_TOPIC, configs=configs)])


async def test_too_large_event_is_retried_from_its_own_topic(
    sync: SyncProcess, copied: Callable[[], Awaitable[dict[str, Any]]]
) -> None:
    with sync.wrong_fields(sync.tweets, lang="integer"):
        await sync.send(sync.tweets, tweet_event(1, text="large", lang="en", other="x" * 3_000_000), tweet_event(2))
        async with sync.running(KAFKA_MAX_RECORD_BYTES=SMALL_RECORDS) as replica:
            (letter,) = await diverted(replica.client, sync.tweets, 1)
            await eventually(copied, lambda rows: rows.keys() == {"2"})
            shown = (await replica.client.get(f"/v1/dead-letters/{letter['id']}")).json()
            assert (shown["value"], shown["key"], shown["offset"]) == (None, None, 0)
            assert shown["size"] > 3_000_000
    async with sync.running() as replica:
        answer = await replica.client.post(f"/v1/dead-letters/{letter['id']}/retry")
        assert answer.json()["outcome"] == "applied", answer.text
        assert (await copied())["1"] == "large"


async def stop_reason(client: httpx.AsyncClient, route: str) -> str:
    """Why a route is stopped; empty while it is not."""
    routes = (await client.get("/v1/pipeline")).json()["routes"]
    (found,) = [each for each in routes if each["name"] == route]
    return "; ".join(stop["reason"] for stop in found["stops"])


async def is_stopped(client: httpx.AsyncClient, route: str, because: str) -> None:
    await eventually(lambda: stop_reason(client, route), lambda reason: because in reason)


async def test_too_many_consecutive_failures_stop_the_route_after_each_restart(sync: SyncProcess) -> None:
    await sync.send(sync.tweets, *[(b"k", b"broken")] * 12)
    limited = {"SYNC_DEAD_LETTERS_MAX_CONSECUTIVE": "5"}
    listed = ("dead-letters", "list", "--route", sync.tweets, "--json")
    for _ in range(2):
        async with sync.running(**limited) as replica:
            await is_stopped(replica.client, sync.tweets, "5 events in a row could not be applied")
            _, output, _ = await sync.command(*listed)
            assert len(output.splitlines()) == 5

    # They are resolved, so the count starts again.
    code, output, _ = await sync.command("dead-letters", "discard", "--all", "--route", sync.tweets)
    assert (code, output.count("discarded")) == (0, 5)
    async with sync.running(**limited) as replica:
        code, output, errors = await sync.command("routes", "resume", sync.tweets)
        assert code == 0, errors
        await is_stopped(replica.client, sync.tweets, f"{sync.topic(sync.tweets)}-0 offset 10")
    _, output, _ = await sync.command(*listed)
    assert [json.loads(line)["offset"] for line in output.splitlines()] == list(range(5, 10))


@pytest.mark.parametrize("poison", [(b"k", b"broken"), tweet_event(1, lang="x" * 21)], ids=["unreadable", "refused"])
async def test_consecutive_failures_count_across_restarts(sync: SyncProcess, poison: Record) -> None:
    await sync.send(sync.tweets, tweet_event(0), *[poison] * 6)
    async with sync.running() as replica:
        await diverted(replica.client, sync.tweets, 6)
    await sync.send(sync.tweets, *[poison] * 6)
    async with sync.running(SYNC_DEAD_LETTERS_MAX_CONSECUTIVE="10") as replica:
        await is_stopped(replica.client, sync.tweets, "10 events in a row could not be applied")
    _, output, _ = await sync.command("dead-letters", "list", "--route", sync.tweets, "--json")
    offsets = sorted(json.loads(line)["offset"] for line in output.splitlines())
    assert (len(offsets), offsets[:6]) == (10, list(range(1, 7)))


async def test_too_large_share_of_failures_stops_the_route(sync: SyncProcess) -> None:
    broken: Record = (b"k", b"broken")
    events = [broken if number % 3 else tweet_event(number) for number in range(600)]
    await sync.send(sync.tweets, *events)
    listed = ("dead-letters", "list", "--route", sync.tweets, "--json", "--limit", "600")
    counts = []
    for _ in range(2):
        async with sync.running() as replica:
            await is_stopped(replica.client, sync.tweets, "of the latest")
            counts.append(len((await sync.command(*listed))[1].splitlines()))
            # Nor does a resume without a decision let more through.
            before = await stop_reason(replica.client, sync.tweets)
            assert (await replica.client.post(f"/v1/routes/{sync.tweets}/resume")).status_code == 200
            await is_stopped(replica.client, sync.tweets, before)
            counts.append(len((await sync.command(*listed))[1].splitlines()))
    assert 100 <= counts[0] < 400
    assert counts == [counts[0]] * 4


async def test_event_with_a_dead_letter_gets_no_second_one(sync: SyncProcess) -> None:
    """A process ended between the dead letter and the commit: the event is delivered again."""
    await sync.send(sync.tweets, *POISON)
    async with sync.running() as replica:
        await diverted(replica.client, sync.tweets, len(POISON))
    async with sync.running(SYNC_GROUP_ID=f"{sync.tweets}-again") as replica:

        async def counted() -> int:
            routes = (await replica.client.get("/v1/status")).json()["routes"]
            return sum(each["dead_lettered"] for each in routes)

        await eventually(counted, lambda count: count == len(POISON))
        assert len(await letters_of(replica.client, sync.tweets)) == len(POISON)


async def test_commands_list_show_retry_and_discard(
    sync: SyncProcess, copied: Callable[[], Awaitable[dict[str, Any]]]
) -> None:
    with sync.wrong_fields(sync.tweets, lang="integer"):
        await sync.send(sync.tweets, *(tweet_event(number, text=f"text {number}", lang="en") for number in range(3)))
        await sync.send(sync.tweets, POISON[0], (b"k", b"\xff\xfe"))
        async with sync.running() as replica:
            letters = await diverted(replica.client, sync.tweets, 5)
        ids = [each["id"] for each in letters]

        code, output, errors = await sync.command("dead-letters", "list", "--route", sync.tweets, "--limit", "4")
        assert (code, errors) == (0, "there are more than 4; use --limit to show more\n")
        assert [line.split()[0] for line in output.splitlines()] == ids[:4]
        assert f"{sync.topic(sync.tweets)}-0@0  UnfitValue: lang: " in output
        code, output, _ = await sync.command("dead-letters", "show", ids[0])
        assert code == 0
        assert f"letter: {ids[0]}, open\nroute: {sync.tweets}\n" in output
        assert "text 0" in output
        _, output, _ = await sync.command("dead-letters", "show", ids[4], "--json")
        assert (json.loads(output)["encoding"], json.loads(output)["value"]) == ("base64", "//4=")

        # The file of the routes is what the command goes by; the service need not run.
        assert (await sync.command("dead-letters", "retry", ids[0]))[0] == 1
    code, output, errors = await sync.command("dead-letters", "retry", ids[0], ids[1], USER="ada")
    assert (code, output, errors) == (0, f"{ids[0]}  applied\n{ids[1]}  applied\n", "")
    code, output, _ = await sync.command("dead-letters", "retry", "--all", "--route", sync.tweets)
    assert code == 1
    assert [line.split()[1].rstrip(":") for line in output.splitlines()] == ["applied", "rejected", "rejected"]
    assert await copied() == {str(number): f"text {number}" for number in range(3)}
    _, output, _ = await sync.command("dead-letters", "show", ids[0])
    assert output.startswith(f"letter: {ids[0]}, applied by command line (ada) at ")

    code, output, _ = await sync.command("dead-letters", "discard", "--all", "--route", sync.tweets)
    assert (code, output) == (0, f"{ids[3]}  discarded\n{ids[4]}  discarded\n")
    assert (await sync.command("dead-letters", "list", "--route", sync.tweets))[:2] == (0, "")
    for wrong, told in (
        (("show", "0-999999999"), "error: Dead letter not found. Dead letters are kept for 30 days.\n"),
        (("list", "--route", "nowhere"), "error: Route not found.\n"),
    ):
        code, _, errors = await sync.command("dead-letters", *wrong)
        assert (code, errors) == (1, told)
    code, _, errors = await sync.command("dead-letters", "list", KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1")
    assert code == 1
    assert errors.startswith("error: the broker at 127.0.0.1:1 does not answer")
    assert errors.count("\n") == 1
