"""A user's own account: profile, export, deletion and deactivation."""

import json

import httpx
import pytest
import sqlalchemy as sa
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.profile import export as export_module
from auth_service.profile.schemas import Export
from support.auth_app import AdjustableClock, Form, Register, RegisteredUser, log_in
from support.responses import bearer, problem


async def test_user_changes_own_profile(client: httpx.AsyncClient, registered: RegisteredUser) -> None:
    change = {"name": "Countess Ada", "username": f"{registered['form']['username']}_X"}
    answer = await client.patch("/v1/users/me", json=change, headers=bearer(registered))
    assert answer.status_code == 200
    assert (answer.json()["name"], answer.json()["username"]) == (change["name"], change["username"])
    assert answer.json()["updated_at"] > registered["user"]["updated_at"]
    me = await client.get("/v1/users/me", headers=bearer(registered))
    assert me.json() == answer.json()
    assert problem(await client.patch("/v1/users/me", json={"name": "x"})) == (401, "not-authenticated")
    registered["form"]["username"] = change["username"].lower()
    assert await log_in(client, registered)


async def _written(rows: AsyncEngine, user_id: str) -> tuple[object, ...]:
    query = text(
        "SELECT updated_at, (SELECT COUNT(*) FROM audit_events WHERE user_id = :id),"
        " (SELECT COUNT(*) FROM one_time_tokens WHERE user_id = :id) FROM users WHERE id = :id"
    )
    async with rows.connect() as connection:
        return tuple((await connection.execute(query, {"id": user_id})).one())


async def test_change_that_changes_nothing_writes_nothing(
    client: httpx.AsyncClient, registered: RegisteredUser, admin: RegisteredUser, rows: AsyncEngine
) -> None:
    user_id, form = registered["user"]["id"], registered["form"]
    same = {name: form[name] for name in ("username", "name", "email")}
    before = await _written(rows, user_id)
    for body in ({}, same, {"name": f" {form['name']} "}, {"current_password": form["password"]}):
        answer = await client.patch("/v1/users/me", json=body, headers=bearer(registered))
        assert (answer.status_code, answer.json()) == (200, registered["user"])
    for body in ({}, {"name": form["name"], "role": "customer", "is_active": True}):
        answer = await client.patch(f"/v1/users/{user_id}", json=body, headers=bearer(admin))
        assert (answer.status_code, answer.json()) == (200, registered["user"])
    assert await _written(rows, user_id) == before


@pytest.mark.parametrize("by", ["the user", "an admin"])
async def test_changes_of_a_profile_are_limited(
    *, client: httpx.AsyncClient, registered: RegisteredUser, admin: RegisteredUser, clock: AdjustableClock, by: str
) -> None:
    """Each adds to the audit trail and to Kafka."""
    clock.freeze()
    path, caller = ("me", registered) if by == "the user" else (registered["user"]["id"], admin)

    async def rename(number: int) -> httpx.Response:
        return await client.patch(f"/v1/users/{path}", json={"name": f"Ada {number}"}, headers=bearer(caller))

    answers = [await rename(number) for number in range(21)]
    assert [answer.status_code for answer in answers] == [200] * 20 + [429]
    assert answers[20].headers["ratelimit-policy"] == '"profile-account";q=20;w=900'
    assert int(answers[20].headers["retry-after"]) >= 1
    assert (await rename(19)).status_code == 200, "it changes nothing"
    if by == "the user":
        assert answers[0].headers["ratelimit"].startswith('"profile-account";r=19;')
        named = await client.patch(f"/v1/users/{registered['user']['id']}", json={"name": "x"}, headers=bearer(admin))
        assert named.status_code == 200, "the user's own changes do not limit an admin"


async def test_taken_username_is_refused_in_a_change(
    client: httpx.AsyncClient, registered: RegisteredUser, register: Register
) -> None:
    other = await register()
    change = {"username": other["form"]["username"].upper()}
    assert problem(await client.patch("/v1/users/me", json=change, headers=bearer(registered))) == (
        409,
        "username-taken",
    )
    # Users may change the case of their own username.
    own = {"username": registered["form"]["username"].upper()}
    answer = await client.patch("/v1/users/me", json=own, headers=bearer(registered))
    assert answer.json()["username"] == own["username"]


@pytest.mark.parametrize(
    ("username", "code"),
    [
        *((reserved, "username-reserved") for reserved in ("admin", "Support", "_root_", "TANDEM")),
        # In paths it is the caller. It is too short for a username.
        ("me", "validation-failed"),
    ],
)
async def test_reserved_username_is_refused(
    client: httpx.AsyncClient, registered: RegisteredUser, form: Form, username: str, code: str
) -> None:
    answer = await client.post("/v1/register", json={**form, "username": username})
    assert problem(answer) == (422, code)
    answer = await client.patch("/v1/users/me", json={"username": username}, headers=bearer(registered))
    assert problem(answer) == (422, code)


async def test_deletion_removes_everything_except_the_audit_trail(
    client: httpx.AsyncClient, registered: RegisteredUser, rows: AsyncEngine, register: Register
) -> None:
    user_id, form = registered["user"]["id"], registered["form"]
    password = {"current_password": form["password"]}
    deleted = await client.request("DELETE", "/v1/users/me", json=password, headers=bearer(registered))
    assert deleted.status_code == 204
    assert problem(await client.get("/v1/users/me", headers=bearer(registered))) == (401, "invalid-token")
    refresh = {"refresh_token": registered["refresh_token"]}
    assert problem(await client.post("/v1/refresh", json=refresh)) == (401, "invalid-refresh-token")
    login = {"login": form["username"], "password": form["password"]}
    assert problem(await client.post("/v1/login", json=login)) == (401, "invalid-credentials")
    async with rows.connect() as connection:
        for table in ("credentials", "sessions", "one_time_tokens"):
            query = sa.select(sa.func.count()).select_from(sa.table(table)).where(sa.column("user_id") == user_id)
            assert await connection.scalar(query) == 0, table
    # The address is available again. The username is held.
    renamed = form | {"username": f"{form['username']}_2"}
    assert (await register(**renamed))["user"]["id"] != user_id


async def test_export_contains_actions_of_others_without_their_data(
    client: httpx.AsyncClient, registered: RegisteredUser, admin: RegisteredUser
) -> None:
    path = f"/v1/users/{registered['user']['id']}"
    headers = bearer(admin) | {"User-Agent": "the admin's own browser"}
    await client.patch(path, json={"name": "Renamed"}, headers=headers)
    export = (await client.get("/v1/users/me/export", headers=bearer(registered))).json()
    (event,) = [event for event in export["audit_events"] if event["event"] == "authz_admin"]
    assert (event["actor_id"], event["address"], event["client"]) == (None, "", "")
    assert admin["user"]["id"] not in str(export)


async def test_export_contains_everything_except_secrets(client: httpx.AsyncClient, registered: RegisteredUser) -> None:
    await log_in(client, registered)
    new = {"email": "other-ada@example.com", "current_password": registered["form"]["password"]}
    assert (await client.patch("/v1/users/me", json=new, headers=bearer(registered))).status_code == 200
    answer = await client.get("/v1/users/me/export", headers=bearer(registered))
    assert answer.headers["content-disposition"] == 'attachment; filename="tandem-account.json"'
    export = answer.json()
    assert export["profile"]["username"] == registered["form"]["username"]
    assert export["profile"]["pending_email"] == "other-ada@example.com"
    assert len(export["sessions"]) == 2
    assert {(token["purpose"], token["email"]) for token in export["mail_tokens"]} == {
        ("confirm-email", "other-ada@example.com"),
        ("undo-email", registered["form"]["email"]),
    }
    assert [event["event"] for event in export["audit_events"]] == [
        "user_created",
        "session_created",
        "authn_login_success",
        "user_updated",
        "sensitive_read",
    ]
    for secret in ("$argon2", registered["refresh_token"], registered["access_token"]):
        assert secret not in answer.text


async def test_export_contains_tokens_of_a_later_release(
    client: httpx.AsyncClient, registered: RegisteredUser, rows: AsyncEngine
) -> None:
    """Its replicas run beside those of this release during an upgrade."""
    async with rows.begin() as connection:
        token = text(
            "INSERT INTO one_time_tokens (token_hash, purpose, user_id, email, created_at, expires_at)"
            " VALUES (RANDOM_BYTES(32), 'future-purpose', :id, 'x@example.com', UTC_TIMESTAMP(6), '2099-01-01')"
        )
        await connection.execute(token, {"id": registered["user"]["id"]})
    answer = await client.get("/v1/users/me/export", headers=bearer(registered))
    assert "future-purpose" in {each["purpose"] for each in answer.json()["mail_tokens"]}


async def test_export_is_read_in_pages(
    client: httpx.AsyncClient, registered: RegisteredUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(6):
        await log_in(client, registered)
    whole = (await client.get("/v1/users/me/export", headers=bearer(registered))).json()
    monkeypatch.setattr(export_module, "PAGE_SIZE", 2)
    paged = (await client.get("/v1/users/me/export", headers=bearer(registered))).json()
    Export.model_validate_json(json.dumps(paged))
    assert paged["sessions"] == whole["sessions"]
    assert len(paged["sessions"]) == 7
    *before, own = paged["audit_events"]
    assert before == whole["audit_events"]
    assert own["details"] == {"what": "export"}
    ids = [event["id"] for event in paged["audit_events"]]
    assert ids == sorted(set(ids))


async def test_exports_of_an_account_are_limited(
    client: httpx.AsyncClient, registered: RegisteredUser, clock: AdjustableClock
) -> None:
    clock.freeze()
    answers = [await client.get("/v1/users/me/export", headers=bearer(registered)) for _ in range(6)]
    assert [answer.status_code for answer in answers] == [200] * 5 + [429]
    assert answers[0].headers["ratelimit"].startswith('"export-account";r=4;')
    assert problem(answers[5]) == (429, "too-many-requests")
    assert int(answers[5].headers["retry-after"]) >= 1


async def test_deactivation_takes_effect_immediately(
    client: httpx.AsyncClient, registered: RegisteredUser, form: Form, rows: AsyncEngine
) -> None:
    async with rows.begin() as connection:
        statement = text("UPDATE users SET is_active = 0 WHERE id = :id")
        await connection.execute(statement, {"id": registered["user"]["id"]})
    assert problem(await client.get("/v1/users/me", headers=bearer(registered))) == (401, "invalid-token")
    login = {"login": form["username"], "password": form["password"]}
    assert problem(await client.post("/v1/login", json=login)) == (401, "invalid-credentials")
    refresh = {"refresh_token": registered["refresh_token"]}
    assert problem(await client.post("/v1/refresh", json=refresh)) == (401, "invalid-refresh-token")
