"""With `CONNECT_EXACTLY_ONCE` a crash of Kafka Connect repeats no change event."""

import asyncio
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from e2e.copies import Copies, copies_of
from e2e.users import Register, registration
from embedded_stack import Stack, temporary_stack
from support.polling import eventually
from support.records import read_records

pytestmark = [pytest.mark.integration, pytest.mark.long]

TOPICS = ("cdc.mysql.auth.users", "cdc.mongo.tweets.tweets")
KILLS = 3


@pytest.fixture(scope="module")
def exactly_once_stack(log_folder: Path) -> Iterator[Stack]:
    with temporary_stack("tandem-exactly-once-", logs=log_folder / "exactly-once", exactly_once=True) as stack:
        stack.start()
        yield stack


@pytest.fixture
async def copies(exactly_once_stack: Stack) -> AsyncIterator[Copies]:
    async with copies_of(exactly_once_stack) as copies:
        yield copies


@pytest.fixture
async def register(exactly_once_stack: Stack) -> AsyncIterator[Register]:
    async with registration(exactly_once_stack.addresses["GATEWAY_URL"]) as register:
        yield register


async def test_crash_of_connect_repeats_no_event_and_loses_none(
    exactly_once_stack: Stack, register: Register, copies: Copies
) -> None:
    stack, stop = exactly_once_stack, asyncio.Event()
    user = await register()
    tweets: list[str] = []
    renamed = 0

    async def write_steadily() -> None:
        nonlocal renamed
        while not stop.is_set():
            tweets.append((await user.tweet(f"{len(tweets)}"))["id"])
            renamed += 1
            await copies.execute("UPDATE auth.users SET name = :name WHERE id = :id", name=f"{renamed}", id=user.id)
            await asyncio.sleep(0.02)

    async def written() -> int:
        return len(tweets)

    async def name_of_the_copy() -> str | None:
        found = await copies.user(user.id)
        return found and found["name"]

    async with asyncio.TaskGroup() as writing:
        writing.create_task(write_steadily())
        try:
            for _ in range(KILLS):
                before = len(tweets)
                await eventually(written, lambda count, least=before + 30: count >= least)
                stack.kill("connect")
                await asyncio.to_thread(stack.start, "connect")
        finally:
            stop.set()
    for tweet in tweets:
        await eventually(lambda wanted=tweet: copies.tweet(wanted), within=180)
    await eventually(name_of_the_copy, lambda name: name == f"{renamed}", within=180)

    repeated = {
        topic: [event for event, count in (await events(stack, topic)).items() if count > 1] for topic in TOPICS
    }
    assert repeated == {topic: [] for topic in TOPICS}
    # The last offsets are transaction markers. They are no lag.
    await eventually(lambda: lags(stack), lambda found: set(found.values()) == {0.0})


async def events(stack: Stack, topic: str) -> Counter[tuple[str, str, str]]:
    """How often each committed change event is in the topic, by its row, operation and position."""
    found: Counter[tuple[str, str, str]] = Counter()
    for partition in range(6):
        for record in await read_records(
            stack.addresses["KAFKA_BOOTSTRAP_SERVERS"], topic, partition, isolation_level="read_committed"
        ):
            if record.value is not None:
                event = json.loads(record.value)
                names = ("ts_ms", "ord", "lsid", "txnNumber", "gtid", "file", "pos", "row")
                position = json.dumps({name: event["source"].get(name) for name in names})
                found[(record.key or b"").decode(), event["op"], position] += 1
    assert found, f"{topic} has no events"
    return found


async def lags(stack: Stack) -> dict[str, float]:
    async with httpx.AsyncClient(base_url=stack.addresses["SYNC_URL"], timeout=20) as client:
        metrics = (await client.get("/metrics")).text
    return {
        name: float(value) for name, value in re.findall(r"^(sync_lag_events\{[^}]*\}) (\S+)$", metrics, re.MULTILINE)
    }
