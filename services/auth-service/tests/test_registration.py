"""Registration, and what it stores."""

import asyncio
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.settings import Settings
from support.auth_app import Form, RegisteredUser, client_of, confirmed, running_app
from support.responses import bearer, problem


async def test_registration_logs_in_and_shows_the_profile(client: httpx.AsyncClient, form: Form) -> None:
    answer = await client.post("/v1/register", json=form)
    assert answer.status_code == 201
    body = answer.json()
    assert (body["token_type"], body["expires_in"]) == ("bearer", 900)
    assert {name: body["user"][name] for name in ("username", "email", "name", "role", "is_active")} == {
        "username": form["username"],
        "email": form["email"],
        "name": "Ada Lovelace",
        "role": "customer",
        "is_active": True,
    }
    assert body["user"]["created_at"].endswith("Z")
    me = await client.get("/v1/users/me", headers=bearer(body))
    assert me.json() == body["user"]


@pytest.mark.parametrize("field", ["username", "email"])
async def test_taken_username_and_email_are_refused_in_any_case(
    client: httpx.AsyncClient, form: Form, registered: RegisteredUser, field: str
) -> None:
    other = {**form, "username": "another_user", "email": "another@user.example.com", field: form[field].upper()}
    answer = await client.post("/v1/register", json=other)
    assert problem(answer) == (409, f"{field}-taken")
    assert answer.json()["errors"][0]["pointer"] == f"#/{field}"


async def test_exactly_one_of_concurrent_registrations_succeeds(client: httpx.AsyncClient, form: Form) -> None:
    answers = await asyncio.gather(*(client.post("/v1/register", json=form) for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 7
    login = {"login": form["username"], "password": form["password"]}
    assert (await client.post("/v1/login", json=login)).status_code == 200


@pytest.mark.parametrize(
    ("change", "code", "pointer"),
    [
        ({"password_confirm": "something else"}, "passwords-do-not-match", "#/password_confirm"),
        ({"password": "short", "password_confirm": "short"}, "validation-failed", "#/password"),
        ({"password": "x" * 129, "password_confirm": "x" * 129}, "validation-failed", "#/password"),
        ({"username": "no spaces"}, "validation-failed", "#/username"),
        ({"username": "x" * 31}, "validation-failed", "#/username"),
        ({"username": "ädä"}, "validation-failed", "#/username"),
        ({"email": "nobody"}, "validation-failed", "#/email"),
        ({"name": "\u202e\u200b"}, "validation-failed", "#/name"),
        ({"name": "x" * 51}, "validation-failed", "#/name"),
        ({"role": "emperor"}, "validation-failed", "#/role"),
        ({"is_admin": True}, "validation-failed", "#/is_admin"),
        ({"id": "chosen"}, "validation-failed", "#/id"),
        ({"username": None}, "validation-failed", "#/username"),
    ],
)
async def test_invalid_field_is_named(
    client: httpx.AsyncClient, form: Form, change: dict[str, Any], code: str, pointer: str
) -> None:
    answer = await client.post("/v1/register", json={**form, **change})
    assert problem(answer) == (422, code)
    assert pointer in [error["pointer"] for error in answer.json()["errors"]]


async def test_errors_never_contain_the_password(client: httpx.AsyncClient, form: Form) -> None:
    for change in ({"password": "hunter2"}, {"username": "!"}, {"password_confirm": "hunter2hunter2"}):
        answer = await client.post("/v1/register", json={**form, **change})
        assert answer.status_code == 422
        assert "hunter2" not in answer.text
        assert form["password"] not in answer.text


@pytest.mark.parametrize("role", ["technical_worker", "senior_manager", "admin"])
async def test_users_can_not_give_themselves_a_role(
    client: httpx.AsyncClient, form: Form, registered: RegisteredUser, role: str
) -> None:
    other = {**form, "username": "climber", "email": "climber@example.com", "role": role}
    for headers in ({}, bearer(registered)):
        assert problem(await client.post("/v1/register", json=other, headers=headers)) == (403, "forbidden")


async def test_admin_gives_a_role(client: httpx.AsyncClient, form: Form, admin: RegisteredUser) -> None:
    username = f"{form['username']}_2"
    other = {**form, "username": username, "email": f"{username}@example.com", "role": "senior_manager"}
    answer = await client.post("/v1/register", json=confirmed(admin, **other), headers=bearer(admin))
    assert answer.status_code == 201, answer.text
    assert answer.json()["user"]["role"] == "senior_manager"


@pytest.mark.parametrize("is_private", [False, True])
@pytest.mark.parametrize("password", [None, "not the password"])
async def test_stolen_token_of_an_admin_creates_no_account_with_a_role(
    settings: Settings, form: Form, admin: RegisteredUser, password: str | None, is_private: bool
) -> None:
    other = {**form, "role": "admin", "current_password": password}
    async with running_app(settings, auth_require_email_verification=is_private) as app, client_of(app) as client:
        answer = await client.post("/v1/register", json=other, headers=bearer(admin))
        assert problem(answer) == (403, "reauthentication-required")
        login = {"login": form["username"], "password": form["password"]}
        assert problem(await client.post("/v1/login", json=login)) == (401, "invalid-credentials")


async def test_admin_creates_a_customer_without_a_password(
    client: httpx.AsyncClient, form: Form, admin: RegisteredUser
) -> None:
    assert (await client.post("/v1/register", json=form, headers=bearer(admin))).status_code == 201


async def test_password_is_stored_as_a_hash_outside_of_the_captured_table(
    registered: RegisteredUser, form: Form, rows: AsyncEngine, settings: Settings
) -> None:
    async with rows.connect() as connection:
        parameters = {"id": registered["user"]["id"]}
        profile = (await connection.execute(text("SELECT * FROM users WHERE id = :id"), parameters)).mappings().one()
        credential = text("SELECT password_hash FROM credentials WHERE user_id = :id")
        password_hash = await connection.scalar(credential, parameters)
    assert set(profile) == {
        "id", "username", "name", "email", "role", "is_active", "tokens_valid_after", "ended_sessions",
        "created_at", "updated_at",
    }  # fmt: skip
    assert password_hash is not None
    assert password_hash.startswith(f"$argon2id$v=19$m={settings.auth_argon2_memory_kib},t=2,p=1$")
    assert Settings.model_fields["auth_argon2_memory_kib"].default == 19456
    assert form["password"] not in str(dict(profile)) + password_hash
