"""`/v1/pipeline` of the whole system, through the gateway: a stopped component is reported beside the others."""

import asyncio
from typing import Any

import httpx
import pytest

from e2e.copies import Copies
from e2e.users import User
from embedded_stack import Stack
from support.polling import eventually


@pytest.fixture
async def worker(user: User, copies: Copies) -> httpx.AsyncClient:
    """A technical worker, logged in."""
    await copies.execute("UPDATE auth.users SET role = 'technical_worker' WHERE id = :id", id=user.id)
    credentials = {"login": user.username, "password": user.password}
    answer = await user.client.post("/api/auth/v1/login", json=credentials)
    user.client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
    return user.client


async def read(worker: httpx.AsyncClient) -> dict[str, Any]:
    answer = await worker.get("/api/sync/v1/pipeline")
    assert answer.status_code == 200, answer.text
    pipeline: dict[str, Any] = answer.json()
    return pipeline


def state_of(pipeline: dict[str, Any], name: str) -> tuple[str | None, str | None]:
    """State and problem of a connector; None if nothing is known of any."""
    items = pipeline["connectors"]["items"] or [{"name": name, "state": None, "problem": None}]
    return next((each["state"], each["problem"]) for each in items if each["name"] == name)


async def test_pipeline_shows_connectors_stop_and_resume(breakable_stack: Stack, worker: httpx.AsyncClient) -> None:
    async def pipeline() -> dict[str, Any]:
        return await read(worker)

    seen = await eventually(pipeline, lambda seen: state_of(seen, "mysql-users") == ("RUNNING", None))
    assert {route["name"]: route["connector"] for route in seen["routes"]} == {
        "users": "mysql-users",
        "tweets": "mongodb-tweets",
        "likes": "mongodb-tweets",
        "follows": "mongodb-tweets",
    }
    connector = f"{breakable_stack.addresses['CONNECT_URL']}/connectors/mysql-users"
    async with httpx.AsyncClient(trust_env=False, timeout=20) as connect:
        await eventually(lambda: connect.put(f"{connector}/pause"), lambda answer: answer.is_success)
        paused = await eventually(pipeline, lambda seen: state_of(seen, "mysql-users")[0] == "PAUSED")
        assert state_of(paused, "mongodb-tweets")[0] == "RUNNING"
        await eventually(lambda: connect.put(f"{connector}/resume"), lambda answer: answer.is_success)
    await eventually(pipeline, lambda seen: state_of(seen, "mysql-users") == ("RUNNING", None))

    await asyncio.to_thread(breakable_stack.stop_one, "registrar")
    unknown = await eventually(pipeline, lambda seen: "ConnectError" in str(seen["connectors"]["reason"]))
    assert unknown["connectors"]["items"] is None
    # What the routes do needs no registrar; a test before this one may have left a copy in doubt.
    states = {"up to date", "catching up", "in doubt"}
    await eventually(pipeline, lambda seen: {route["state"] for route in seen["routes"]} <= states)
    await asyncio.to_thread(breakable_stack.start, "registrar")
    await eventually(pipeline, lambda seen: state_of(seen, "mysql-users") == ("RUNNING", None))


async def test_counts_of_both_stores_agree(worker: httpx.AsyncClient, user: User, copies: Copies) -> None:
    tweet = await user.tweet("to be counted")
    await eventually(lambda: copies.tweet(tweet["id"]))

    async def differences() -> dict[str, int | None]:
        answer = await worker.get("/api/sync/v1/counts")
        assert answer.status_code == 200, answer.text
        return {route["route"]: route["difference"] for route in answer.json()["routes"]}

    await eventually(differences, lambda found: found == {"users": 0, "tweets": 0, "likes": 0, "follows": 0})
