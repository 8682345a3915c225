"""Stopped routes as operators see and resume them: over HTTP and by the command, in two processes."""

from typing import Any

import httpx
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from support.change_events import Record, user_event
from support.polling import eventually
from support.responses import problem
from support.sync_process import SyncProcess, tweet_event

POISON: Record = (b"k", b"broken")
LIMITED = {"SYNC_DEAD_LETTERS_MAX_CONSECUTIVE": "2"}


async def status_of(client: httpx.AsyncClient, route: str, path: str = "/v1/status") -> dict[str, Any]:
    """A route, without a token."""
    routes = (await client.get(path)).json()["routes"]
    (found,) = [each for each in routes if each["name"] == route]
    return dict(found)


async def becomes_stopped(client: httpx.AsyncClient, route: str) -> dict[str, Any]:
    return await eventually(lambda: status_of(client, route), lambda seen: seen["state"] == "stopped")


async def becomes_up_to_date(client: httpx.AsyncClient, route: str) -> None:
    await eventually(lambda: status_of(client, route), lambda seen: seen["state"] in {"up to date", "in doubt"})


async def test_stopped_route_is_reported_and_resumed_over_http(sync: SyncProcess, engine: AsyncEngine) -> None:
    await sync.send(sync.tweets, *[POISON] * 4, tweet_event(1, text="after"))
    async with sync.running(**LIMITED) as replica:
        client = replica.client
        public = await becomes_stopped(client, sync.tweets)
        assert public["lag"] == 3
        (stop,) = public["stops"]
        assert (stop["cause"], stop["reason"]) == ("too-many-dead-letters", "too many dead letters")
        assert (stop["partition"], stop["next_offset"]) == (0, 2)
        (detailed,) = (await status_of(client, sync.tweets, "/v1/pipeline"))["stops"]
        assert "2 events in a row could not be applied" in detailed["reason"]
        ready = await client.get("/readyz")
        assert (ready.status_code, ready.json()["status"]) == (200, "ready")
        assert ready.json()["remarks"][0].startswith(f"{sync.tweets} is stopped: too many dead letters: ")
        assert f'sync_stopped{{route="{sync.tweets}"}} 1.0' in (await client.get("/metrics")).text
        assert f'sync_stopped{{route="{sync.users}"}} 0.0' in (await client.get("/metrics")).text

        # The revocation feed continues.
        await sync.send(sync.users, user_event({"id": "u1", "username": "ada"}))
        await eventually(lambda: status_of(client, sync.users), lambda seen: seen["applied"] == 1)

        path = f"/v1/routes/{sync.tweets}/resume"
        refused = await client.post(path, json={"skip_to": [{"partition": 0, "offset": 99}]})
        assert problem(refused) == (422, "offset-out-of-range")
        twice = [{"partition": 0, "offset": 3}]
        assert problem(await client.post(path, json={"skip_to": twice, "discard_to": twice})) == (
            422,
            "validation-failed",
        )
        assert problem(await client.post("/v1/routes/nowhere/resume")) == (404, "route-not-found")
        assert problem(await client.post(path, headers=sync.bearer("customer"))) == (403, "forbidden")
        assert problem(await client.post(f"/v1/routes/{sync.users}/resume")) == (409, "route-not-stopped")

        resumed = await client.post(path, json={"skip_to": [{"partition": 0, "offset": 4}]})
        assert resumed.status_code == 200, resumed.text
        assert [each["next_offset"] for each in resumed.json()["stops"]] == [2]
        await becomes_up_to_date(client, sync.tweets)
        await eventually(lambda: texts(engine), lambda seen: seen == ["after"])
        assert f'sync_stopped{{route="{sync.tweets}"}} 0.0' in (await client.get("/metrics")).text
        log = replica.log.read_text()
        assert '"event": "route resumed"' in log
        assert '"by": "technical_worker"' in log


async def texts(engine: AsyncEngine) -> list[str]:
    async with engine.connect() as connection:
        return list((await connection.execute(text("SELECT text FROM tweets ORDER BY id"))).scalars())


async def test_command_resumes_a_route_in_every_process(sync: SyncProcess, engine: AsyncEngine) -> None:
    async with sync.running(**LIMITED) as first, sync.running(**LIMITED) as second:

        async def shares() -> list[int]:
            return [(await each.client.get("/v1/status")).json()["assigned_partitions"] for each in (first, second)]

        await eventually(shares, lambda counts: all(counts) and sum(counts) == 4)
        await sync.send(sync.tweets, *[POISON] * 3, tweet_event(1, text="of the partition that failed"))
        for each in (first, second):
            await becomes_stopped(each.client, sync.tweets)
        await sync.send(sync.tweets, tweet_event(2, text="of the other partition"), partition=1)

        code, _, errors = await sync.command("routes", "resume", "nowhere")
        assert (code, errors) == (1, "error: there is no route nowhere\n")
        code, _, errors = await sync.command("routes", "resume", sync.users)
        assert (code, errors) == (1, f"error: Route {sync.users} is not stopped.\n")
        code, _, errors = await sync.command("routes", "resume", sync.tweets, "--skip-to", "0:5")
        assert code == 1
        assert "is applied up to offset 2 and ends at 4" in errors
        code, _, errors = await sync.command("routes", "resume", sync.tweets, "--skip-to", "zero")
        assert code == 2
        assert "must be PARTITION:OFFSET" in errors

        code, output, errors = await sync.command("routes", "resume", sync.tweets, "--discard-to", "0:3", USER="ada")
        assert (code, errors) == (0, "")
        assert output.startswith(f"{sync.tweets} was stopped: too many dead letters: ")
        assert output.endswith(f"{sync.tweets} continues within a few seconds\n")
        for each in (first, second):
            await becomes_up_to_date(each.client, sync.tweets)
        await eventually(
            lambda: texts(engine), lambda seen: seen == ["of the partition that failed", "of the other partition"]
        )
    code, output, _ = await sync.command("dead-letters", "show", await last_letter(sync))
    assert "discarded by command line (ada)" in output


async def last_letter(sync: SyncProcess) -> str:
    """The id of the dead letter after the two open ones, which `list` does not show."""
    _, output, _ = await sync.command("dead-letters", "list", "--route", sync.tweets)
    partition, offset = output.splitlines()[-1].split()[0].split("-")
    return f"{partition}-{int(offset) + 1}"
