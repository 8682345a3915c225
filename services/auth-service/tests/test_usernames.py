"""A username that was given up is held for its former owner."""

import asyncio

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.main import prepare
from auth_service.settings import Settings
from support.auth_app import (
    AdjustableClock,
    NewForm,
    Register,
    RegisteredUser,
    client_of,
    confirmed,
    lock_waits,
    running_app,
)
from support.polling import eventually
from support.responses import bearer, problem

TAKEN = (409, "username-taken")


async def rename(client: httpx.AsyncClient, user: RegisteredUser, username: str) -> httpx.Response:
    return await client.patch("/v1/users/me", json={"username": username}, headers=bearer(user))


async def held(rows: AsyncEngine, user: RegisteredUser) -> list[str]:
    async with rows.connect() as connection:
        query = text("SELECT username FROM held_usernames WHERE user_id = :id ORDER BY username")
        return list(await connection.scalars(query, {"id": user["user"]["id"]}))


async def test_former_username_is_held_for_its_owner(
    client: httpx.AsyncClient, register: Register, new_form: NewForm
) -> None:
    owner, stranger = await register(), await register()
    former = owner["form"]["username"]
    assert (await rename(client, owner, f"{former}_new")).status_code == 200
    for spelling in (former, former.upper()):
        assert problem(await client.post("/v1/register", json=new_form() | {"username": spelling})) == TAKEN
        assert problem(await rename(client, stranger, spelling)) == TAKEN
    me = (await client.get("/v1/users/me", headers=bearer(stranger))).json()
    assert me["username"] == stranger["form"]["username"]

    assert (await rename(client, owner, former)).json()["username"] == former
    assert problem(await rename(client, stranger, f"{former}_new")) == TAKEN
    assert problem(await rename(client, stranger, former)) == TAKEN


async def test_held_username_looks_like_a_taken_one(
    client: httpx.AsyncClient, register: Register, new_form: NewForm
) -> None:
    owner, other = await register(), await register()
    former = owner["form"]["username"]
    await rename(client, owner, f"{former}_new")
    answers = [
        (await client.post("/v1/register", json=new_form() | {"username": username})).json()
        for username in (former, other["form"]["username"])
    ]
    for answer in answers:
        del answer["request_id"]
    assert answers[0] == answers[1]


async def test_username_is_free_after_30_days(empty_schema: str, settings: Settings, new_form: NewForm) -> None:
    own, clock = settings.model_copy(update={"mysql_url": SecretStr(empty_schema)}), AdjustableClock()
    await prepare(own)
    former = new_form()

    async with running_app(own, clock) as app, client_of(app) as client:

        async def held_names() -> list[str]:
            async with app.state.database.reading() as session:
                return list(await session.scalars(text("SELECT username FROM held_usernames")))

        owner = (await client.post("/v1/register", json=former)).json()
        await rename(client, owner, f"{former['username']}_new")
        taken = new_form() | {"username": former["username"]}
        clock.advance(days=29, hours=23)
        await app.state.housekeeper.clean_up()
        assert problem(await client.post("/v1/register", json=taken)) == TAKEN
        clock.advance(hours=2)
        assert (await client.post("/v1/register", json=taken)).status_code == 201
        assert await held_names() == [former["username"]]
        await app.state.housekeeper.clean_up()
        assert await held_names() == []


@pytest.mark.parametrize("by", ["the owner", "an admin"])
async def test_username_of_a_deleted_account_is_held(
    client: httpx.AsyncClient, registered: RegisteredUser, admin: RegisteredUser, new_form: NewForm, by: str
) -> None:
    path, caller = ("me", registered) if by == "the owner" else (registered["user"]["id"], admin)
    body = confirmed(caller)
    answer = await client.request("DELETE", f"/v1/users/{path}", json=body, headers=bearer(caller))
    assert answer.status_code == 204
    answer = await client.post("/v1/register", json=new_form() | {"username": registered["form"]["username"]})
    assert problem(answer) == TAKEN


async def test_other_case_of_a_username_holds_nothing(
    client: httpx.AsyncClient, registered: RegisteredUser, rows: AsyncEngine
) -> None:
    username = registered["form"]["username"].upper()
    assert (await rename(client, registered, username)).json()["username"] == username
    assert await held(rows, registered) == []


async def test_account_can_not_hold_any_number_of_usernames(
    client: httpx.AsyncClient, registered: RegisteredUser, rows: AsyncEngine
) -> None:
    first = registered["form"]["username"]
    for number in range(10):
        assert (await rename(client, registered, f"{first}_{number}")).status_code == 200
    refused = await rename(client, registered, f"{first}_x")
    assert problem(refused) == (429, "too-many-requests")
    assert 29 * 86400 < int(refused.headers["retry-after"]) <= 30 * 86400
    assert (await rename(client, registered, first)).status_code == 200
    assert len(await held(rows, registered)) == 10


async def test_export_contains_held_usernames(client: httpx.AsyncClient, registered: RegisteredUser) -> None:
    former = registered["form"]["username"]
    await rename(client, registered, f"{former}_new")
    export = (await client.get("/v1/users/me/export", headers=bearer(registered))).json()
    assert [each["username"] for each in export["held_usernames"]] == [former]


async def test_username_is_not_held_without_the_setting(settings: Settings, new_form: NewForm) -> None:
    form = new_form()
    async with running_app(settings, auth_username_hold_days=0) as app, client_of(app) as client:
        user = (await client.post("/v1/register", json=form)).json()
        assert (await rename(client, user, f"{form['username']}_new")).status_code == 200
        answer = await client.post("/v1/register", json=new_form() | {"username": form["username"]})
        assert answer.status_code == 201


async def test_concurrent_rename_does_not_get_a_username_that_is_being_given_up(
    client: httpx.AsyncClient, register: Register, rows: AsyncEngine
) -> None:
    owner, stranger = await register(), await register()
    former = owner["form"]["username"]

    async with rows.begin() as giving_up:
        values = {"id": owner["user"]["id"], "former": former, "new": f"{former}_new"}
        await giving_up.execute(text("UPDATE users SET username = :new WHERE id = :id"), values)
        row = text("INSERT INTO held_usernames VALUES (:former, :id, NOW(6) + INTERVAL 1 DAY)")
        await giving_up.execute(row, values)
        renaming = asyncio.create_task(rename(client, stranger, former))
        await eventually(lambda: lock_waits(rows, "users"))
    assert problem(await renaming) == TAKEN
