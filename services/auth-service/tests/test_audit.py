"""The audit trail: its events, and data that it must not contain."""

import asyncio
import json

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from support.auth_app import AdjustableClock, Mailbox, Register, RegisteredUser, client_of, events_of, log_in
from support.responses import bearer, problem


async def test_login_is_recorded_with_user_client_and_request_id(
    app: FastAPI, client: httpx.AsyncClient, registered: RegisteredUser, admin: RegisteredUser
) -> None:
    login = {"login": registered["form"]["username"], "password": "wrong password"}
    headers = {"X-Request-ID": "a-request-of-mine", "User-Agent": "a browser"}
    async with client_of(app, "198.51.100.7") as elsewhere:
        await elsewhere.post("/v1/login", json=login, headers=headers)
    await log_in(client, registered)
    user_id = registered["user"]["id"]
    (success,) = await events_of(client, admin, user=user_id, event="authn_login_success")
    (failure,) = await events_of(client, admin, user=user_id, event="authn_login_fail")
    assert failure["details"] == {"reason": "wrong-password"}
    assert failure["address"] == "198.51.100.7"
    assert (failure["request_id"], failure["client"]) == ("a-request-of-mine", "a browser")
    assert (success["actor_id"], success["created_at"] > failure["created_at"]) == (user_id, True)


async def test_unknown_login_name_is_not_stored(
    client: httpx.AsyncClient, admin: RegisteredUser, rows: AsyncEngine
) -> None:
    """Users type passwords into the wrong field by mistake."""
    await client.post("/v1/login", json={"login": "hunter2-in-the-wrong-field", "password": "x"})
    newest = (await events_of(client, admin, event="authn_login_fail"))[0]
    assert (newest["user_id"], newest["details"]) == (None, {"reason": "unknown-login"})
    async with rows.connect() as connection:
        everything = (await connection.execute(text("SELECT * FROM audit_events"))).all()
    assert "hunter2" not in str(everything)


async def test_trail_records_the_life_of_an_account(
    client: httpx.AsyncClient, registered: RegisteredUser, admin: RegisteredUser, mailbox: Mailbox
) -> None:
    user_id, form = registered["user"]["id"], registered["form"]
    await client.post("/v1/email/verify", json={"token": await mailbox.token(form["email"], "confirm your email")})
    await client.post("/v1/password/forgot", json={"email": form["email"]})
    token = await mailbox.token(form["email"], "choose a new password")
    new_password = "another good passphrase"
    await client.post("/v1/password/reset", json={"token": token, "new_password": new_password})
    form["password"] = new_password
    tokens = await log_in(client, registered)
    await client.post("/v1/logout", json={"refresh_token": tokens["refresh_token"]})
    tokens = await log_in(client, registered)
    password = {"current_password": form["password"]}
    await client.request("DELETE", "/v1/users/me", json=password, headers=bearer(tokens))
    events = [event["event"] for event in reversed(await events_of(client, admin, user=user_id))]
    assert events == [
        "user_created",
        "session_created",
        "user_updated",
        "authn_token_created",
        "authn_password_change",
        *["authn_login_success", "authn_token_revoked"],
        "authn_login_success",
        "user_deleted",
    ]
    trail = json.dumps(await events_of(client, admin, user=user_id))
    for secret in (token, new_password, tokens["refresh_token"], tokens["access_token"]):
        assert secret not in trail


async def test_trail_has_pages_and_time_filters(
    client: httpx.AsyncClient, registered: RegisteredUser, admin: RegisteredUser
) -> None:
    for _ in range(3):
        await log_in(client, registered)
    user_id = registered["user"]["id"]
    everything = await events_of(client, admin, user=user_id)
    seen, cursor = [], None
    while True:
        params = {"user": user_id, "limit": "3", **({"cursor": cursor} if cursor else {})}
        page = (await client.get("/v1/audit", params=params, headers=bearer(admin))).json()
        seen += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == everything
    middle = everything[3]["created_at"]
    assert await events_of(client, admin, user=user_id, since=middle) == everything[:4]
    assert await events_of(client, admin, user=user_id, until=middle) == everything[4:]


@pytest.mark.parametrize("wrong", [{"event": "no_such"}, {"since": "yesterday"}, {"limit": "0"}, {"limit": "101"}])
async def test_invalid_filter_is_refused(
    client: httpx.AsyncClient, admin: RegisteredUser, wrong: dict[str, str]
) -> None:
    answer = await client.get("/v1/audit", params=wrong, headers=bearer(admin))
    assert problem(answer) == (422, "validation-failed")
    assert answer.json()["errors"][0]["parameter"] == next(iter(wrong))


async def test_refused_calls_of_an_account_are_one_event_a_minute(
    client: httpx.AsyncClient, registered: RegisteredUser, admin: RegisteredUser, clock: AdjustableClock
) -> None:
    clock.freeze()
    for path in [*["/v1/users"] * 5, *["/v1/audit"] * 2]:
        assert problem(await client.get(path, headers=bearer(registered)))[0] == 403
    clock.advance(seconds=60)
    assert problem(await client.get("/v1/audit", headers=bearer(registered)))[0] == 403
    later, first = await events_of(client, admin, user=registered["user"]["id"], event="authz_fail")
    assert first["details"] == {
        "wanted": "GET /v1/users",
        "count": 7,
        "counts": {"GET /v1/users": 5, "GET /v1/audit": 2},
    }
    assert later["details"] == {"wanted": "GET /v1/audit", "count": 1, "counts": {"GET /v1/audit": 1}}
    assert (first["actor_id"], first["address"]) == (registered["user"]["id"], "192.0.2.77")
    assert first["created_at"] < later["created_at"]


async def test_concurrent_refused_calls_are_all_counted(
    client: httpx.AsyncClient, registered: RegisteredUser, admin: RegisteredUser, clock: AdjustableClock
) -> None:
    clock.freeze()
    await asyncio.gather(*(client.get("/v1/users", headers=bearer(registered)) for _ in range(20)))
    (event,) = await events_of(client, admin, user=registered["user"]["id"], event="authz_fail")
    assert event["details"]["count"] == 20


async def test_reading_users_is_recorded(
    client: httpx.AsyncClient, registered: RegisteredUser, register: Register, clock: AdjustableClock
) -> None:
    clock.freeze()
    manager, user_id = await register(role="admin"), registered["user"]["id"]
    for params in ({}, {"query": "ada", "role": "customer"}, {"query": "zebra", "role": "customer"}):
        assert (await client.get("/v1/users", params=params, headers=bearer(manager))).status_code == 200
    for _ in range(2):
        assert (await client.get(f"/v1/users/{user_id}", headers=bearer(manager))).status_code == 200
    reads = await events_of(client, manager, actor=manager["user"]["id"], event="sensitive_read")
    assert sorted((each["user_id"] or "", each["details"]["counts"]) for each in reads) == [
        ("", {"users": 1, "users by query, role": 2}),
        (user_id, {"user": 2}),
    ]
    assert "zebra" not in json.dumps(reads)
