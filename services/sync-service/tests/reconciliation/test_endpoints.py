"""`/v1/reconcile` of a process of its own."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pymongo
import pytest
from bson import ObjectId

from support.polling import eventually
from support.replicas import Replica
from support.responses import problem
from support.sync_process import SyncProcess, tweet_id
from sync_service.reconciliation.jobs import KEPT, Job, Jobs
from sync_service.reconciliation.problems import ReconciliationNotFound
from sync_service.settings import Settings

ROWS = 25


@pytest.fixture
async def source(sync: SyncProcess) -> AsyncIterator["pymongo.collection.Collection[dict[str, Any]]"]:
    """Tweets that no event has told of. The end of a topic names its source: the database is `test`."""
    with pymongo.MongoClient[dict[str, Any]](sync.variables["MONGODB_URL"]) as client:
        collection = client["test"][sync.tweets]
        collection.insert_many(
            [{"_id": ObjectId(tweet_id(number)), "text": f"text {number}"} for number in range(ROWS)]
        )
        yield collection
        collection.drop()


async def finished(replica: Replica, location: str) -> dict[str, Any]:
    async def look() -> dict[str, Any]:
        answer = await replica.client.get(location)
        assert answer.status_code == 200
        content: dict[str, Any] = answer.json()
        return content

    return await eventually(look, lambda seen: seen["state"] != "running")


@pytest.mark.usefixtures("source")
async def test_worker_compares_and_repairs_a_copy(sync: SyncProcess) -> None:
    async with sync.running() as replica:
        answer = await replica.client.post("/v1/reconcile", json={"route": sync.tweets})
        assert answer.status_code == 202
        begun = answer.json()
        assert (begun["state"], begun["report"], begun["finished_at"]) == ("running", None, None)
        assert problem(await replica.client.post("/v1/reconcile", json={})) == (409, "reconciliation-running")
        seen = await finished(replica, answer.headers["Location"])
        (report,) = seen["report"]
        assert (seen["id"], seen["state"], seen["problem"]) == (begun["id"], "finished", None)
        assert (report["rows"], report["missing"], report["mended"]) == (ROWS, ROWS, 0)
        assert report["is_in_agreement"] is False
        assert [each["route"] for each in seen["progress"]] == [sync.tweets]

        answer = await replica.client.post("/v1/reconcile", json={"route": sync.tweets, "repair": True, "sample": 5})
        seen = await finished(replica, answer.headers["Location"])
        assert (seen["state"], seen["max_repairs"]) == ("failed", None)
        assert seen["problem"].startswith("nothing was changed: the repair would change 25 rows, and 10 are allowed")
        (report,) = seen["report"]
        assert (report["mended"], report["repairs_planned"], report["repairs_allowed"]) == (0, ROWS, 10)

        allowed = {"route": sync.tweets, "repair": True, "sample": 5, "max_repairs": ROWS}
        answer = await replica.client.post("/v1/reconcile", json=allowed)
        (report,) = (await finished(replica, answer.headers["Location"]))["report"]
        assert (report["missing"], report["mended"], report["is_sample"]) == (ROWS, ROWS, True)
        assert report["is_in_agreement"] is True


@pytest.mark.usefixtures("source")
async def test_secrets_that_the_service_has_from_files_reach_the_command(sync: SyncProcess, tmp_path: Path) -> None:
    files = {name: tmp_path / name for name in ("MYSQL_URL", "MONGODB_URL")}
    for name, file in files.items():
        file.write_text(f"{sync.variables[name]}\n")
    from_files = {f"{name}_FILE": str(file) for name, file in files.items()}
    async with sync.running(**dict.fromkeys(files, ""), **from_files) as replica:
        answer = await replica.client.post("/v1/reconcile", json={"route": sync.tweets})
        seen = await finished(replica, answer.headers["Location"])
    assert (seen["state"], seen["problem"]) == ("finished", None)


@pytest.mark.usefixtures("source")
async def test_routes_in_force_are_compared_and_not_those_of_a_refused_file(sync: SyncProcess) -> None:
    async with sync.running() as replica:

        async def version() -> Any:
            return (await replica.client.get("/v1/status")).json()["routes_version"]

        await eventually(version)
        with sync.wrong_fields(sync.tweets, text="sting"):
            answer = await replica.client.post("/v1/reconcile", json={"route": sync.tweets})
            seen = await finished(replica, answer.headers["Location"])
    assert (seen["state"], seen["problem"]) == ("finished", None)


async def test_impossible_comparison_fails_with_the_reason(sync: SyncProcess) -> None:
    async with sync.running() as replica:
        answer = await replica.client.post("/v1/reconcile", json={"route": sync.users})
        seen = await finished(replica, answer.headers["Location"])
        assert (seen["state"], seen["report"]) == ("failed", None)
        assert f"MySQL shows no table test.{sync.users}" in seen["problem"]
        # The sync continues.
        assert (await replica.client.get("/readyz")).status_code == 200


async def test_other_roles_and_invalid_requests_are_refused(sync: SyncProcess) -> None:
    async with sync.running() as replica:
        post, path = replica.client.post, "/v1/reconcile"
        assert problem(await post(path, json={}, headers={"Authorization": ""})) == (401, "not-authenticated")
        assert problem(await post(path, json={}, headers=sync.bearer("customer"))) == (403, "forbidden")
        assert problem(await post(path, json={"route": "none"})) == (422, "unknown-route")
        assert problem(await post(path, json={"sample": 0})) == (422, "validation-failed")
        nowhere = await replica.client.get(f"{path}/019ac2e4-6f1b-7c3e-9a52-0b7d8d3f4e21")
        assert problem(nowhere) == (404, "reconciliation-not-found")


@pytest.mark.integration
async def test_only_the_latest_comparisons_are_kept() -> None:
    jobs = Jobs(
        Settings(
            mysql_url="mysql://nobody@127.0.0.1:1/tweets",
            mongodb_url="mongodb://127.0.0.1:1/tweets",
            kafka_bootstrap_servers="127.0.0.1:1",
            auth_jwks_url="http://127.0.0.1:1/",
        )
    )
    started = []
    for _ in range(KEPT + 2):
        job = Job("tweets", repair=False, sample=None)
        jobs.start(job)
        # It has begun when anything else has had its turn.
        await asyncio.sleep(0)
        await jobs.close()
        started.append(job)
    assert [job.problem for job in started] == ["the service was stopped"] * len(started)
    assert jobs.get(started[-1].id) is started[-1]
    for forgotten in started[:2]:
        with pytest.raises(ReconciliationNotFound):
            jobs.get(forgotten.id)
