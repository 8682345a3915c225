"""Administration: permissions, lists, changes and the last admin."""

import asyncio
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from jose import jwt
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from service_kit.roles import Role
from support.auth_app import AdjustableClock, Register, RegisteredUser, confirmed, events_of, lock_waits, log_in
from support.polling import eventually
from support.responses import bearer, problem


def user_path(user: RegisteredUser) -> str:
    return f"/v1/users/{user['user']['id']}"


@pytest.mark.parametrize("role", list(Role))
async def test_permissions_of_each_role(
    client: httpx.AsyncClient, register: Register, registered: RegisteredUser, role: str
) -> None:
    caller = await register(role=role)
    by = bearer(caller)
    reads = [await client.get(path, headers=by) for path in ("/v1/users", user_path(registered))]
    may_read = role in {"senior_manager", "admin"}
    assert [answer.status_code for answer in reads] == [200 if may_read else 403] * 2
    changed = await client.patch(user_path(registered), json={"name": "Changed"}, headers=by)
    assert changed.status_code == (200 if role == "admin" else 403)
    audit = await client.get("/v1/audit", headers=by)
    assert audit.status_code == (200 if may_read else 403)
    deleted = await client.request("DELETE", user_path(registered), json=confirmed(caller), headers=by)
    assert deleted.status_code == (204 if role == "admin" else 403)


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/v1/users"), ("GET", "/v1/users/x"), ("PATCH", "/v1/users/x"), ("GET", "/v1/audit")]
)
async def test_administration_needs_a_token(client: httpx.AsyncClient, method: str, path: str) -> None:
    assert problem(await client.request(method, path, json={})) == (401, "not-authenticated")


@pytest.mark.parametrize(
    ("role", "scopes"),
    [
        ("customer", {"tweets:write", "profile:write"}),
        ("technical_worker", {"tweets:write", "profile:write", "sync:read", "sync:write"}),
        ("senior_manager", {"tweets:write", "profile:write", "users:read", "audit:read", "sync:read"}),
        (
            "admin",
            {
                "tweets:write",
                "profile:write",
                "tweets:moderate",
                "sync:read",
                "sync:write",
                "users:read",
                "users:write",
                "audit:read",
            },
        ),
    ],
)
async def test_scope_follows_from_the_role(register: Register, role: str, scopes: set[str]) -> None:
    claims = jwt.get_unverified_claims((await register(role=role))["access_token"])
    assert (claims["role"], set(claims["scope"].split())) == (role, scopes)


async def test_pagination_is_stable_while_users_register(
    client: httpx.AsyncClient, register: Register, admin: RegisteredUser
) -> None:
    prefix = "paged_"
    users = [await register(username=f"{prefix}{number}") for number in range(5)]
    seen, cursor = [], None
    while True:
        params = {"query": prefix.upper(), "limit": 2, **({"cursor": cursor} if cursor else {})}
        page = await client.get("/v1/users", params=params, headers=bearer(admin))
        seen += [each["username"] for each in page.json()["items"]]
        cursor = page.json()["next_cursor"]
        assert ("link" in page.headers) == (cursor is not None)
        if cursor is None:
            break
        assert 'rel="next"' in page.headers["link"]
        await register(username=f"{prefix}later_{len(seen)}")
    assert seen == [user["form"]["username"] for user in reversed(users)]


async def test_list_is_filtered(client: httpx.AsyncClient, register: Register, admin: RegisteredUser) -> None:
    worker = await register(role="technical_worker", name="Zebedee the filtered")
    idle = await register(name="Zebedee the idle")
    await client.patch(user_path(idle), json=confirmed(admin, is_active=False), headers=bearer(admin))

    async def found(**params: Any) -> list[str]:
        answer = await client.get("/v1/users", params={"query": "zebedee", **params}, headers=bearer(admin))
        assert answer.status_code == 200, answer.text
        return [each["id"] for each in answer.json()["items"]]

    assert await found() == [idle["user"]["id"], worker["user"]["id"]]
    assert await found(role="technical_worker") == [worker["user"]["id"]]
    assert await found(active="false") == [idle["user"]["id"]]
    assert await found(query=worker["form"]["email"]) == [worker["user"]["id"]]
    for nothing in ("%", "_", "zebedee%", "' OR 1=1 -- ", "\\"):
        assert await found(query=nothing) == []


@pytest.mark.parametrize("cursor", ["x", "W10", "WzFd", "é"])
async def test_forged_cursor_is_refused(client: httpx.AsyncClient, admin: RegisteredUser, cursor: str) -> None:
    answer = await client.get("/v1/users", params={"cursor": cursor}, headers=bearer(admin))
    assert problem(answer) == (422, "invalid-cursor")


async def test_unknown_user_is_not_found(client: httpx.AsyncClient, admin: RegisteredUser) -> None:
    for method, body in (("GET", None), ("PATCH", {"name": "x"}), ("DELETE", None)):
        answer = await client.request(method, "/v1/users/unknown", json=body, headers=bearer(admin))
        assert problem(answer) == (404, "user-not-found")


async def test_new_role_takes_effect_immediately_and_revokes_old_tokens(
    client: httpx.AsyncClient, register: Register, admin: RegisteredUser
) -> None:
    user = await register(role="admin")
    body = confirmed(admin, role="customer")
    changed = await client.patch(user_path(user), json=body, headers=bearer(admin))
    assert changed.json()["role"] == "customer"
    assert problem(await client.get("/v1/users", headers=bearer(user))) == (401, "invalid-token")
    renewed = (await client.post("/v1/refresh", json={"refresh_token": user["refresh_token"]})).json()
    assert jwt.get_unverified_claims(renewed["access_token"])["role"] == "customer"
    assert problem(await client.get("/v1/users", headers=bearer(renewed))) == (403, "forbidden")


async def test_role_in_the_database_and_scope_of_the_token_both_count(
    client: httpx.AsyncClient, register: Register, registered: RegisteredUser, rows: AsyncEngine
) -> None:
    """Without the revocation that comes with a change over HTTP: the database is changed directly."""
    former_admin = await register(role="admin")
    async with rows.begin() as connection:
        for user, role in ((former_admin, "customer"), (registered, "admin")):
            changed = {"role": role, "id": user["user"]["id"]}
            await connection.execute(text("UPDATE users SET role = :role WHERE id = :id"), changed)
    for user in (former_admin, registered):
        answer = await client.get("/v1/users", headers=bearer(user))
        assert problem(answer) == (403, "forbidden")
        assert answer.headers["www-authenticate"] == 'Bearer error="insufficient_scope", scope="users:read"'
    async with rows.begin() as connection:
        await connection.execute(text("UPDATE users SET role = 'customer' WHERE id = :id"), registered["user"])


@pytest.mark.parametrize(
    ("role", "scope", "status"),
    [
        ("customer", "tweets:write", {"GET /v1/users": 403, "GET /v1/audit": 403, "PATCH /v1/users/me": 200}),
        ("senior_manager", "tweets:write users:read", {"GET /v1/users": 200, "GET /v1/audit": 200}),
        (
            "admin",
            "tweets:write tweets:moderate sync:read sync:write users:read users:write audit:read",
            {"GET /v1/users": 200, "GET /v1/audit": 200, "PATCH /v1/users/me": 200},
        ),
        # Not a claim of the last release: it has less than the role.
        ("admin", "tweets:write users:read", {"GET /v1/users": 200, "GET /v1/audit": 403, "PATCH /v1/users/me": 403}),
    ],
)
async def test_token_of_the_last_release_keeps_working(
    *, client: httpx.AsyncClient, app: FastAPI, register: Register, role: str, scope: str, status: dict[str, int]
) -> None:
    token = (await register(role=role))["access_token"]
    claims = jwt.get_unverified_claims(token) | {"scope": scope}
    key = app.state.key_ring.signing_key()
    headers = jwt.get_unverified_header(token) | {"kid": key.kid}
    old = {"access_token": jwt.encode(claims, key.private, headers["alg"], headers)}
    for request, expected in status.items():
        method, path = request.split()
        body = {"name": "Changed"} if method == "PATCH" else None
        assert (await client.request(method, path, json=body, headers=bearer(old))).status_code == expected, request


async def test_reactivated_account_does_not_get_its_old_tokens_back(
    client: httpx.AsyncClient, registered: RegisteredUser, admin: RegisteredUser
) -> None:
    path, by = user_path(registered), bearer(admin)
    off, on = confirmed(admin, is_active=False), confirmed(admin, is_active=True)
    assert (await client.patch(path, json=off, headers=by)).json()["is_active"] is False
    refresh = {"refresh_token": registered["refresh_token"]}
    assert problem(await client.get("/v1/users/me", headers=bearer(registered))) == (401, "invalid-token")
    assert problem(await client.post("/v1/refresh", json=refresh)) == (401, "invalid-refresh-token")
    await client.patch(path, json=on, headers=by)
    assert problem(await client.get("/v1/users/me", headers=bearer(registered))) == (401, "invalid-token")
    assert problem(await client.post("/v1/refresh", json=refresh)) == (401, "invalid-refresh-token")
    assert await log_in(client, registered)


async def _demote_all_admins_except(rows: AsyncEngine, *users: RegisteredUser) -> None:
    async with rows.begin() as connection:
        kept = tuple(user["user"]["id"] for user in users)
        others = text("UPDATE users SET role = 'customer' WHERE role = 'admin' AND id NOT IN :kept")
        await connection.execute(others, {"kept": kept})


@pytest.mark.parametrize("change", [{"role": "customer"}, {"is_active": False}, None])
async def test_last_admin_can_not_be_removed(
    client: httpx.AsyncClient, register: Register, rows: AsyncEngine, change: dict[str, Any] | None
) -> None:
    last = await register(role="admin")
    await _demote_all_admins_except(rows, last)
    method, path = ("PATCH", user_path(last)) if change else ("DELETE", "/v1/users/me")
    answer = await client.request(method, path, json=confirmed(last, **change or {}), headers=bearer(last))
    assert problem(answer) == (409, "last-admin")
    assert (await client.get("/v1/users/me", headers=bearer(last))).json()["role"] == "admin"


async def test_sessions_stay_revoked_when_a_deletion_is_refused(
    client: httpx.AsyncClient, register: Register, rows: AsyncEngine
) -> None:
    """A later logout collects the ids of all sessions that ended, for the other services."""
    last = await register(role="admin")
    await _demote_all_admins_except(rows, last)
    before, after = await log_in(client, last), await log_in(client, last)
    assert (await client.post("/v1/logout", headers=bearer(before))).status_code == 204
    refused = await client.request("DELETE", "/v1/users/me", json=confirmed(last), headers=bearer(last))
    assert problem(refused) == (409, "last-admin")
    assert (await client.post("/v1/logout", headers=bearer(after))).status_code == 204
    query = text("SELECT ended_sessions FROM users WHERE id = :id")
    async with rows.connect() as connection:
        ended = str(await connection.scalar(query, last["user"])).split()
    assert ended == [jwt.get_unverified_claims(tokens["access_token"])["sid"] for tokens in (before, after)]


SENSITIVE = {
    "a role": ("PATCH", {"role": "admin"}),
    "a deactivation": ("PATCH", {"is_active": False}),
    "a deletion": ("DELETE", {}),
}


@pytest.mark.parametrize("action", SENSITIVE)
@pytest.mark.parametrize("password", [None, "", "not the password", "of the other account"])
async def test_stolen_token_of_an_admin_gives_and_takes_no_rights(
    *,
    client: httpx.AsyncClient,
    registered: RegisteredUser,
    admin: RegisteredUser,
    register: Register,
    action: str,
    password: str | None,
) -> None:
    method, body = SENSITIVE[action]
    victim = registered
    if password == "of the other account":
        victim = await register(password=password, password_confirm=password)
    given = {} if password is None else {"current_password": password}
    answer = await client.request(method, user_path(victim), json=body | given, headers=bearer(admin))
    assert problem(answer) == (403, "reauthentication-required")
    assert answer.json()["errors"][0]["pointer"] == "#/current_password"
    after = (await client.get("/v1/users/me", headers=bearer(victim))).json()
    assert (after["role"], after["is_active"]) == ("customer", True)
    right = await client.request(method, user_path(victim), json=confirmed(admin, **body), headers=bearer(admin))
    assert right.is_success, right.text


async def test_reactivation_needs_the_password(
    client: httpx.AsyncClient, registered: RegisteredUser, admin: RegisteredUser
) -> None:
    path, by = user_path(registered), bearer(admin)
    assert (await client.patch(path, json=confirmed(admin, is_active=False), headers=by)).status_code == 200
    refused = await client.patch(path, json={"is_active": True}, headers=by)
    assert problem(refused) == (403, "reauthentication-required")


async def test_stolen_token_of_an_admin_deletes_no_account_without_a_body(
    client: httpx.AsyncClient, register: Register, registered: RegisteredUser
) -> None:
    user = await register(role="admin")
    for path in (user_path(user), user_path(registered)):
        assert problem(await client.delete(path, headers=bearer(user))) == (403, "reauthentication-required")
    assert (await client.get("/v1/users/me", headers=bearer(user))).status_code == 200


async def test_whole_account_with_another_name_needs_no_password(
    client: httpx.AsyncClient, registered: RegisteredUser, admin: RegisteredUser
) -> None:
    body = {"name": "Countess", "role": "customer", "is_active": True}
    answer = await client.patch(user_path(registered), json=body, headers=bearer(admin))
    assert (answer.status_code, answer.json()["name"]) == (200, "Countess")


async def test_guesses_of_an_admins_password_are_limited(
    client: httpx.AsyncClient, clock: AdjustableClock, registered: RegisteredUser, admin: RegisteredUser
) -> None:
    clock.freeze()
    path, by = user_path(registered), bearer(admin)
    guesses = [
        await client.patch(path, json={"role": "admin", "current_password": f"guess {number}"}, headers=by)
        for number in range(11)
    ]
    assert [answer.status_code for answer in guesses] == [403] * 10 + [429]
    assert "retry-after" in guesses[-1].headers
    right = await client.request("DELETE", path, json=confirmed(admin), headers=by)
    assert problem(right) == (429, "too-many-requests")


async def test_action_of_an_admin_who_is_demoted_meanwhile_is_refused(
    client: httpx.AsyncClient, register: Register, registered: RegisteredUser, admin: RegisteredUser, rows: AsyncEngine
) -> None:
    """The request was authorised before the demotion, and waits for it."""
    former = await register(role="admin")
    async with rows.begin() as connection:
        await connection.execute(text("UPDATE users SET role = 'customer' WHERE id = :id"), former["user"])
        body = confirmed(former, role="admin")
        request = asyncio.create_task(client.patch(user_path(registered), json=body, headers=bearer(former)))
        await eventually(lambda: lock_waits(rows, "users"))
    assert problem(await request) == (401, "invalid-token")
    after = await client.get(user_path(registered), headers=bearer(admin))
    assert after.json()["role"] == "customer"


async def test_one_of_two_admins_who_demote_each_other_remains(
    client: httpx.AsyncClient, register: Register, rows: AsyncEngine
) -> None:
    for _ in range(5):
        one, other = await register(role="admin"), await register(role="admin")
        await _demote_all_admins_except(rows, one, other)
        answers = await asyncio.gather(
            client.patch(user_path(other), json=confirmed(one, role="customer"), headers=bearer(one)),
            client.patch(user_path(one), json=confirmed(other, role="customer"), headers=bearer(other)),
        )
        codes = sorted(answer.status_code for answer in answers)
        assert codes in ([200, 401], [200, 409]), codes
        async with rows.connect() as connection:
            admins = await connection.scalar(text("SELECT COUNT(*) FROM users WHERE role = 'admin' AND is_active"))
        assert admins == 1


async def _perform(
    action: str, client: httpx.AsyncClient, user: RegisteredUser, admin: RegisteredUser
) -> httpx.Response:
    """The user deletes the own account, or the admin acts on it."""
    match action:
        case "deletes the own account":
            body = confirmed(user)
            return await client.request("DELETE", "/v1/users/me", json=body, headers=bearer(user))
        case "is deleted":
            return await client.request("DELETE", user_path(user), json=confirmed(admin), headers=bearer(admin))
        case "is deactivated":
            change: dict[str, Any] = {"is_active": False}
        case _:
            change = {"role": "admin"}
    return await client.patch(user_path(user), json=confirmed(admin, **change), headers=bearer(admin))


@pytest.mark.parametrize("action", ["deletes the own account", "is deleted", "is deactivated", "is promoted"])
async def test_admins_are_not_locked_for_a_change_of_another_account(
    *,
    client: httpx.AsyncClient,
    register: Register,
    registered: RegisteredUser,
    admin: RegisteredUser,
    rows: AsyncEngine,
    action: str,
) -> None:
    """Otherwise a change that takes long would block their logins."""
    other_admin = await register(role="admin")
    async with rows.begin() as connection:
        locked = text("SELECT id FROM users WHERE id = :id FOR UPDATE")
        assert await connection.scalar(locked, other_admin["user"]) is not None
        answer = await _perform(action, client, registered, admin)
    assert answer.is_success, answer.text


@pytest.mark.parametrize("action", ["deletes the own account", "is deleted", "is deactivated"])
async def test_account_that_becomes_an_admin_meanwhile_is_not_removed(
    client: httpx.AsyncClient, registered: RegisteredUser, admin: RegisteredUser, rows: AsyncEngine, action: str
) -> None:
    """It could be the last one: the request has not locked the admins."""
    async with rows.begin() as connection:
        await connection.execute(text("UPDATE users SET role = 'admin' WHERE id = :id"), registered["user"])
        request = asyncio.create_task(_perform(action, client, registered, admin))
        await eventually(lambda: lock_waits(rows, "users"))
    answer = await request
    assert problem(answer) == (503, "service-unavailable")
    assert "retry-after" in answer.headers
    found = (await client.get(user_path(registered), headers=bearer(admin))).json()
    assert (found["role"], found["is_active"]) == ("admin", True)


async def test_actions_of_admins_are_audited(
    client: httpx.AsyncClient, registered: RegisteredUser, admin: RegisteredUser
) -> None:
    user_id, admin_id = registered["user"]["id"], admin["user"]["id"]
    role = confirmed(admin, role="technical_worker")
    await client.patch(user_path(registered), json=role, headers=bearer(admin))
    await client.request("DELETE", user_path(registered), json=confirmed(admin), headers=bearer(admin))
    events = await events_of(client, admin, user=user_id, actor=admin_id)
    assert [event["event"] for event in events] == ["user_deleted", "authz_admin", "authz_change"]
    assert events[1]["details"] == {"fields": ["role"]}
    assert events[-1]["details"] == {"former": "customer", "role": "technical_worker"}


async def test_denied_request_is_audited(
    client: httpx.AsyncClient, registered: RegisteredUser, admin: RegisteredUser
) -> None:
    await client.get("/v1/users", headers=bearer(registered))
    (event,) = await events_of(client, admin, user=registered["user"]["id"], event="authz_fail")
    assert event["details"]["wanted"] == "GET /v1/users"
