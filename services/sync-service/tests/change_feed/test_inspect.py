"""`sync-service inspect`: filters, start and output."""

import asyncio
import json
import os
import pty
import signal
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.change_events import mysql_event
from support.commands import COMMANDS
from support.polling import eventually
from support.sync_process import SyncProcess, tweet_event, tweet_id
from sync_service.change_feed.formatting import changed_fields
from sync_service.change_feed.inspect import parse_begin

SYNC_SERVICE = str(COMMANDS / "sync-service")


async def inspected(sync: SyncProcess, *arguments: str) -> list[dict[str, Any]]:
    code, output, errors = await sync.command("inspect", "--json", *arguments)
    assert (code, errors) == (0, "")
    return [json.loads(line) for line in output.splitlines()]


def update(row: dict[str, Any], before: dict[str, Any]) -> tuple[bytes, bytes]:
    key, value = mysql_event(row, op="u", pos=2)
    return key, json.dumps({**json.loads(value or b""), "before": before}).encode()


async def test_changed_fields_are_marked(sync: SyncProcess) -> None:
    before = {"id": "u1", "name": "Ada", "role": "customer", "phone": "1"}
    after = {"id": "u1", "name": "Ada L.", "role": "customer", "city": "London"}
    await sync.send(sync.users, update(after, before))
    code, output, _ = await sync.command("inspect", "--from-beginning", "--limit", "1")
    assert code == 0
    lines = output.splitlines()
    assert lines[0] == f"2026-11-24T03:17:34.095000Z  update  {sync.topic(sync.users)}-0@0  route {sync.users}"
    assert lines[2:4] == [f"  before  {json.dumps(before)}", f"  after   {json.dumps(after)}"]
    assert lines[4:7] == ['    ~ name: "Ada" → "Ada L."', '    - phone: "1"', '    + city: "London"']
    assert lines[7].startswith('  source  {"connector": "mysql"')


async def test_row_before_a_change_in_mongodb_is_unknown(sync: SyncProcess) -> None:
    await sync.send(sync.tweets, tweet_event(1, text="x"), tweet_event(1, text="y", op="u"), tweet_event(1, op="d"))
    _, output, _ = await sync.command("inspect", "--from-beginning", "--limit", "3")
    befores = [line.strip() for line in output.splitlines() if line.startswith("  before")]
    assert befores == ["before  null", *["before  unknown: the source's log does not contain it"] * 2]
    assert "~" not in output


async def test_missing_topic_is_named_and_the_others_are_shown(sync: SyncProcess) -> None:
    await sync.send(sync.tweets, tweet_event(1, text="x"))
    sync.routes[sync.users]["topic"] = "test.nowhere"
    sync.write_routes()
    code, output, errors = await sync.command("inspect", "--from-beginning", "--limit", "1", "--json")
    assert (code, json.loads(output)["route"]) == (0, sync.tweets)
    assert (
        errors == "topic test.nowhere does not exist or can't be read yet; its events are shown when it can be read\n"
    )
    code, _, errors = await sync.command("inspect", "--route", sync.users)
    assert (code, errors) == (1, "error: topic test.nowhere does not exist\n")


async def test_invalid_row_before_a_change_is_reported_and_inspect_continues(sync: SyncProcess) -> None:
    key, value = update({"id": "u1", "username": "ada"}, before={})
    broken = json.dumps({**json.loads(value), "before": "no row"}).encode()
    await sync.send(sync.users, (key, broken), mysql_event({"id": "u2", "username": "bob"}))
    one, other = await inspected(sync, "--route", sync.users, "--from-beginning", "--limit", "2")
    assert "op" not in one
    assert "object" in one["error"]
    assert other["op"] == "c"


async def test_events_are_filtered(sync: SyncProcess) -> None:
    await sync.send(sync.users, mysql_event({"id": "u1"}), mysql_event({"id": "u2"}), mysql_event({"id": "u2"}, op="d"))
    await sync.send(sync.tweets, tweet_event(1, text="x"), tweet_event(2, text="y", op="u"))
    begin = ("--from-beginning", "--limit")
    of_users = await inspected(sync, *begin, "3", "--route", sync.users)
    assert [(each["route"], each["op"]) for each in of_users] == [(sync.users, op) for op in "ccd"]
    (of_topic,) = await inspected(sync, *begin, "1", "--topic", sync.topic(sync.tweets), "--operation", "u")
    assert of_topic["key"] == {"_id": tweet_id(2)}
    of_key = await inspected(sync, *begin, "2", "--key", "u2")
    assert [(each["key"], each["op"]) for each in of_key] == [({"id": "u2"}, op) for op in "cd"]
    (whole,) = await inspected(sync, *begin, "1", "--key", '{"id": "u1"}', "--operation", "create")
    assert whole["offset"] == 0
    code, _, errors = await sync.command("inspect", "--route", "nowhere")
    assert (code, errors.startswith("error: no route is named nowhere; the routes are ")) == (1, True)
    for wrong in (("--operation", "x"), ("--since", "yesterday"), ("--since", "1m", "--from-beginning")):
        assert (await sync.command("inspect", *wrong))[0] == 2


async def test_since_starts_with_the_first_event_after_the_time(sync: SyncProcess) -> None:
    await sync.send(sync.tweets, tweet_event(0))
    sent = datetime.now(UTC)

    async def now() -> datetime:
        return datetime.now(UTC)

    # The broker counts in milliseconds.
    then = await eventually(now, lambda moment: moment - sent > timedelta(milliseconds=5))
    await sync.send(sync.tweets, tweet_event(1))
    await sync.send(sync.tweets, tweet_event(2), partition=1)
    # Both partitions, one of which had nothing before.
    found = await inspected(sync, "--since", then.isoformat(), "--limit", "2")
    assert sorted((each["partition"], each["offset"]) for each in found) == [(0, 1), (1, 0)]
    assert len(await inspected(sync, "--since", "1h", "--limit", "3")) == 3


async def test_since_shows_no_older_event_with_any_timestamps(sync: SyncProcess) -> None:
    """Timestamps of a topic need not rise: producers have clocks of their own, and old ones write none (-1)."""
    now_ms = int(datetime.now(UTC).timestamp() * 1000)
    hour = 3_600_000
    # The broker takes one of the future, up to an hour by default.
    for number, timestamp_ms in enumerate((-1, now_ms - 3 * hour, now_ms + hour // 2, now_ms - 2 * hour, -1, now_ms)):
        key, value = tweet_event(number)
        await sync.producer.send_and_wait(
            sync.topic(sync.tweets), key=key, value=value, partition=0, timestamp_ms=timestamp_ms
        )
    found = await inspected(sync, "--route", sync.tweets, "--since", "1h", "--limit", "3")
    assert [each["offset"] for each in found] == [2, 4, 5]
    found = await inspected(sync, "--route", sync.tweets, "--since", "1960-01-01", "--limit", "5")
    assert len(found) == 5


async def test_default_start_shows_new_events_and_ctrl_c_stops_cleanly(sync: SyncProcess) -> None:
    await sync.send(sync.tweets, tweet_event(1, text="before"))
    process = await asyncio.create_subprocess_exec(
        *(SYNC_SERVICE, "inspect", "--json"),
        env={"PATH": os.environ["PATH"], **sync.variables},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    stop = asyncio.Event()

    async def send_steadily() -> None:
        number = 2
        while not stop.is_set():
            await sync.send(sync.tweets, tweet_event(number, text="after"))
            number += 1
            await asyncio.sleep(0.1)

    sending = asyncio.create_task(send_steadily())
    first = json.loads(await asyncio.wait_for(process.stdout.readline(), 120))
    stop.set()
    await sending
    assert first["after"]["text"] == "after"
    process.send_signal(signal.SIGINT)
    _, errors = await asyncio.wait_for(process.communicate(), 120)
    assert (process.returncode, errors) == (0, b"")


async def on_a_terminal(sync: SyncProcess, **variables: str) -> str:
    ours, theirs = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *(SYNC_SERVICE, "inspect", "--from-beginning", "--limit", "1"),
        env={"PATH": os.environ["PATH"], **sync.variables, **variables},
        stdout=theirs,
    )
    try:
        assert await asyncio.wait_for(process.wait(), 120) == 0
        return os.read(ours, 65_536).decode()
    finally:
        os.close(theirs)
        os.close(ours)


async def test_colours_are_used_on_terminals_only(sync: SyncProcess) -> None:
    await sync.send(sync.users, update({"id": "u1", "name": "b"}, {"id": "u1", "name": "a"}))
    coloured = await on_a_terminal(sync)
    assert '\033[33m~ name: "a" → "b"\033[0m' in coloured
    assert "\033" not in await on_a_terminal(sync, NO_COLOR="1")


async def test_resolutions_are_shown_among_dead_letters(sync: SyncProcess) -> None:
    begun = datetime.now(UTC).isoformat()
    await sync.send(sync.tweets, (b"k", b"broken"))
    async with sync.running() as replica:

        async def letters() -> list[dict[str, Any]]:
            found: list[dict[str, Any]] = (
                await replica.client.get("/v1/dead-letters", params={"route": sync.tweets})
            ).json()["items"]
            return found

        (letter,) = await eventually(letters)
        await replica.client.post(f"/v1/dead-letters/{letter['id']}/discard")
    arguments = ("--topic", "sync.dead-letters", "--since", begun, "--limit", "2")
    as_letter, resolution = await inspected(sync, *arguments)
    assert as_letter["dead_letter"].startswith(f"{sync.topic(sync.tweets)}-0@0: ")
    assert resolution["resolution"] == {"letter": letter["id"], "result": "discarded", "by": "technical_worker"}
    _, output, _ = await sync.command("inspect", *arguments)
    assert f"dead letter {letter['id']}: discarded by technical_worker" in output


ROW = st.dictionaries(st.sampled_from("abcd"), st.integers(0, 2) | st.none())


@given(ROW, ROW)
def test_marks_show_the_changed_fields(before: dict[str, Any], after: dict[str, Any]) -> None:
    became = dict(before)
    for line in changed_fields(before, after):
        mark, name, view = line[0], line[2], line[5:]
        if mark == "-":
            assert json.loads(view) == became.pop(name)
        else:
            old, _, new = view.rpartition(" → ")
            assert mark == ("~" if name in before else "+")
            assert not old or json.loads(old) == before[name]
            became[name] = json.loads(new)
    assert became == after


@given(ROW)
def test_equal_rows_have_no_marks(row: dict[str, Any]) -> None:
    assert [list(changed_fields(*rows)) for rows in ((row, row), (None, row), (row, None))] == [[], [], []]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90s", "2026-01-31T11:58:30+00:00"),
        ("10m", "2026-01-31T11:50:00+00:00"),
        ("2h", "2026-01-31T10:00:00+00:00"),
        ("1d", "2026-01-30T12:00:00+00:00"),
        ("2026-01-31T12:00:00+02:00", "2026-01-31T12:00:00+02:00"),
        ("2026-01-31T10:00:00Z", "2026-01-31T10:00:00+00:00"),
        ("2026-01-31T10:00:00", "2026-01-31T10:00:00+00:00"),
    ],
)
def test_begin_is_parsed(text: str, expected: str) -> None:
    assert parse_begin(text, datetime(2026, 1, 31, 12, tzinfo=UTC)).isoformat() == expected


@pytest.mark.parametrize("text", ["", "10", "m", "ten", "-1m", "999999999d"])
def test_invalid_begin_is_an_error(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the command says what is wrong
        parse_begin(text, datetime(2026, 1, 31, 12, tzinfo=UTC))
