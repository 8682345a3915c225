"""Personal fields over HTTP: only callers who may read users see their values."""

import json
from typing import Any

import httpx
import pytest

from support.change_events import USER_COLUMNS, mysql_event
from support.polling import eventually
from support.replicas import Replica
from support.sse import Listener
from support.sync_process import SyncProcess
from sync_service.routes.personal import MASK

ADDRESS = "ada@example.com"
ROW = {**dict.fromkeys(USER_COLUMNS), "id": "u1", "username": "ada", "email": ADDRESS}


@pytest.fixture
def personal(sync: SyncProcess) -> SyncProcess:
    """The address is renamed in the copy, and a part of a document is personal."""
    fields = sync.routes[sync.users]["fields"]
    fields.pop("email", None)
    fields["contact"] = {"from": "email", "type": "string", "personal": True}
    sync.routes[sync.users]["drop"] = []
    sync.routes[sync.tweets]["fields"]["lang"] = {"from": "meta.lang", "type": "string", "personal": True}
    sync.write_routes()
    return sync


async def listener(sync: SyncProcess, replica: Replica, role: str, query: str = "") -> Listener:
    url = replica.client.base_url
    return await Listener.connect(url.host, url.port or 80, f"/v1/events?{query}", sync.bearer(role))


async def letters(client: httpx.AsyncClient, sync: SyncProcess, role: str) -> list[dict[str, Any]]:
    """Each with its value and its headers."""
    bearer = sync.bearer(role)
    listed = await client.get("/v1/dead-letters", params={"route": sync.users}, headers=bearer)
    return [
        (await client.get(f"/v1/dead-letters/{each['id']}", headers=bearer)).json() | {"listed": each}
        for each in listed.json()["items"]
    ]


async def test_feed_shows_personal_fields_only_to_readers_of_users(personal: SyncProcess) -> None:
    async with personal.running() as replica:
        worker = await listener(personal, replica, "technical_worker")
        admin = await listener(personal, replica, "admin")
        try:
            key, value = mysql_event(ROW, op="u")
            both = json.dumps({**json.loads(value or b""), "before": {**ROW, "email": f"old.{ADDRESS}"}}).encode()
            await personal.send(personal.users, (key, both))
            seen, whole = (await worker.event()).data, (await admin.event()).data
            assert (seen["before"]["email"], seen["after"]["email"]) == (MASK, MASK)
            assert seen["after"]["username"] == "ada"
            assert (whole["before"]["email"], whole["after"]["email"]) == (f"old.{ADDRESS}", ADDRESS)
            await personal.send(personal.users, (key, f'{{"broken {ADDRESS}'.encode()), (ADDRESS.encode(), value))
            for _ in range(2):
                assert ADDRESS not in json.dumps((await worker.event()).data)
        finally:
            worker.close()
            admin.close()


async def test_filter_does_not_reveal_a_personal_key(personal: SyncProcess) -> None:
    personal.routes[personal.users]["key"] = {"_id": {"from": "id", "type": "string", "personal": True}}
    personal.write_routes()
    async with personal.running() as replica:
        worker = await listener(personal, replica, "technical_worker", "key=u1&seconds=5")
        admin = await listener(personal, replica, "admin", "key=u1")
        everything = await listener(personal, replica, "technical_worker")
        try:
            await personal.send(personal.users, mysql_event(ROW))
            assert (await admin.event()).data["key"] == {"id": "u1"}
            assert (await everything.event()).data["key"] == {"id": MASK}
            while (message := await worker.message()) is not None:
                assert message.event != "change"
        finally:
            for each in (worker, admin, everything):
                each.close()


async def test_dead_letters_show_personal_fields_only_to_readers_of_users(personal: SyncProcess) -> None:
    key, _ = mysql_event(ROW)
    unfit = mysql_event({**ROW, "is_active": "no boolean"})
    poison = [
        unfit,
        (key, f"not JSON: {ADDRESS}".encode()),
        (key, ADDRESS.encode() + b"\xff"),
        (ADDRESS.encode(), unfit[1]),
    ]
    await personal.send(personal.users, *poison)
    async with personal.running() as replica:

        async def of(role: str) -> list[dict[str, Any]]:
            return await letters(replica.client, personal, role)

        whole = await eventually(lambda: of("admin"), lambda found: len(found) == len(poison))
        assert sum(ADDRESS in json.dumps(each) for each in whole) == 3  # and one is in base64
        seen = await of("technical_worker")
        assert ADDRESS not in json.dumps(seen)
        assert [each["value"] == MASK for each in seen] == [False, True, True, False]
        assert json.loads(seen[0]["value"])["after"] == {**ROW, "email": MASK, "is_active": "no boolean"}
        assert (seen[0]["key"], seen[3]["key"]) == (key.decode(), MASK)
        retried = await replica.client.post(f"/v1/dead-letters/{seen[0]['id']}/retry")
        assert (retried.json()["outcome"], ADDRESS in retried.text) == ("rejected", False)
        for page in ("/v1/status", "/v1/pipeline", "/readyz", "/metrics"):
            assert ADDRESS not in (await replica.client.get(page)).text
        log = replica.log.read_text()
        assert "dead letter" in log
        assert ADDRESS not in log


async def test_rejected_value_is_in_no_reason(personal: SyncProcess, database: Any) -> None:
    """The server's message of a unique index has the value."""
    async with personal.running() as replica:
        await database["users_copy"].create_index("contact", unique=True)
        await personal.send(personal.users, mysql_event(ROW), mysql_event({**ROW, "id": "u2"}))

        async def found() -> list[dict[str, Any]]:
            return await letters(replica.client, personal, "admin")

        (letter,) = await eventually(found, lambda seen: len(seen) == 1)
        assert letter["reason"].startswith("11000: E11000 duplicate key error")
        assert ADDRESS not in letter["reason"]
        assert ADDRESS not in replica.log.read_text()


async def test_report_of_a_comparison_hides_personal_keys(personal: SyncProcess, database: Any) -> None:
    personal.routes[personal.tweets]["key"] = {"id": {"from": "_id", "type": "string", "personal": True}}
    personal.write_routes()
    async with personal.running() as replica:
        await database.client["test"][personal.tweets].insert_one(
            {"_id": ADDRESS, "version": 1, "meta": {"lang": "en"}}
        )
        started = await replica.client.post("/v1/reconcile", json={"route": personal.tweets})
        place = f"/v1/reconcile/{started.json()['id']}"

        async def report(role: str) -> dict[str, Any]:
            found = (await replica.client.get(place, headers=personal.bearer(role))).json()
            return dict(found) if found["state"] != "running" else {}

        whole = await eventually(lambda: report("admin"), bool)
        seen = await report("technical_worker")
        assert whole["report"][0]["examples"][0]["key"] == [ADDRESS]
        assert seen["report"][0]["examples"][0]["key"] == [MASK]
        assert ADDRESS not in (await replica.client.get("/v1/reconcile")).text
