"""Change, reset, policy and rehashing of passwords."""

import asyncio
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.database import Table
from auth_service.passwords.policy import COMMON_PASSWORDS, weakness
from auth_service.settings import Settings
from support.auth_app import (
    AdjustableClock,
    Mailbox,
    NewForm,
    Register,
    RegisteredUser,
    client_of,
    fail_lock_waits,
    lock_waits,
    log_in,
    running_app,
)
from support.polling import eventually
from support.responses import bearer, problem

NEW_PASSWORD = "a rather different passphrase"


async def change(client: httpx.AsyncClient, user: RegisteredUser, **body: str) -> httpx.Response:
    whole = {"current_password": user["form"]["password"], "new_password": NEW_PASSWORD, **body}
    return await client.post("/v1/users/me/password", json=whole, headers=bearer(user))


def login_of(user: RegisteredUser, password: str) -> dict[str, str]:
    return {"login": user["form"]["username"], "password": password}


async def hash_of(rows: AsyncEngine, user: RegisteredUser) -> str:
    async with rows.connect() as connection:
        query = text("SELECT password_hash FROM credentials WHERE user_id = :id")
        return str(await connection.scalar(query, {"id": user["user"]["id"]}))


@pytest.mark.parametrize(
    ("password", "says"),
    [
        ("password1", "common"),
        ("PASSWORD1", "common"),
        ("aaaaaaaaaaaa", "common"),
        ("xx-countess-xx", "username"),
        ("my LOVELACE pass", "email"),
    ],
)
def test_common_and_personal_passwords_are_weak(password: str, says: str) -> None:
    reason = weakness(password, username="Countess", email="lovelace@example.com")
    assert reason is not None
    assert says in reason


@pytest.mark.parametrize(
    "password", ["correct horse battery", "kKd93$/x", "ひらがなひみつのことば", "ada is a short name"]
)
def test_other_passwords_are_accepted(password: str) -> None:
    assert weakness(password, username="ada", email="ada@example.com") is None


def test_list_of_common_passwords_is_as_long_as_asvs_asks() -> None:
    assert len(COMMON_PASSWORDS) >= 3000


async def test_weak_password_is_refused_at_its_field(client: httpx.AsyncClient, new_form: NewForm) -> None:
    form = new_form() | {"password": "iloveyou1", "password_confirm": "iloveyou1"}
    answer = await client.post("/v1/register", json=form)
    assert problem(answer) == (422, "password-too-weak")
    assert answer.json()["errors"][0]["pointer"] == "#/password"


async def test_passwords_are_normalized(client: httpx.AsyncClient, register: Register) -> None:
    user = await register(password="pâssé composé", password_confirm="pâssé composé")
    decomposed = "pa\u0302sse\u0301 compose\u0301"
    assert (await client.post("/v1/login", json=login_of(user, decomposed))).status_code == 200


async def test_changed_password_ends_the_other_sessions_and_all_access_tokens(
    client: httpx.AsyncClient, registered: RegisteredUser, mailbox: Mailbox
) -> None:
    elsewhere = await log_in(client, registered)
    assert (await change(client, registered)).status_code == 204
    for tokens in (registered, elsewhere):
        assert problem(await client.get("/v1/users/me", headers=bearer(tokens))) == (401, "invalid-token")
    other = await client.post("/v1/refresh", json={"refresh_token": elsewhere["refresh_token"]})
    assert problem(other) == (401, "invalid-refresh-token")
    own = await client.post("/v1/refresh", json={"refresh_token": registered["refresh_token"]})
    assert (await client.get("/v1/users/me", headers=bearer(own.json()))).status_code == 200
    old = await client.post("/v1/login", json=login_of(registered, registered["form"]["password"]))
    assert problem(old) == (401, "invalid-credentials")
    assert (await client.post("/v1/login", json=login_of(registered, NEW_PASSWORD))).status_code == 200
    await mailbox.text(registered["form"]["email"], "your password was changed")


async def test_password_is_not_changed_without_the_current_one(
    client: httpx.AsyncClient, registered: RegisteredUser
) -> None:
    answer = await change(client, registered, current_password="not it at all")
    assert problem(answer) == (403, "wrong-current-password")
    assert answer.json()["errors"][0]["pointer"] == "#/current_password"
    weak = await change(client, registered, new_password="password1")
    assert problem(weak) == (422, "password-too-weak")
    assert weak.json()["errors"][0]["pointer"] == "#/new_password"
    assert await log_in(client, registered)


async def test_password_change_is_limited_like_the_login(
    client: httpx.AsyncClient, registered: RegisteredUser, clock: AdjustableClock
) -> None:
    clock.freeze()
    answers = [await change(client, registered, current_password=f"guess {number}") for number in range(11)]
    assert [answer.status_code for answer in answers] == [403] * 10 + [429]
    assert "retry-after" in answers[-1].headers


async def test_concurrent_login_with_the_old_password_is_refused(
    client: httpx.AsyncClient, registered: RegisteredUser
) -> None:
    """In either order: a session of the old password must not outlive it."""
    login = login_of(registered, registered["form"]["password"])
    changed, *logins = await asyncio.gather(
        change(client, registered), *(client.post("/v1/login", json=login) for _ in range(6))
    )
    assert changed.status_code == 204
    for answer in logins:
        if answer.status_code == 200:
            refresh = await client.post("/v1/refresh", json={"refresh_token": answer.json()["refresh_token"]})
            assert problem(refresh) == (401, "invalid-refresh-token")
        else:
            assert problem(answer) == (401, "invalid-credentials")


async def forget(client: httpx.AsyncClient, email: str) -> httpx.Response:
    return await client.post("/v1/password/forgot", json={"email": email})


async def reset(client: httpx.AsyncClient, token: str, password: str = NEW_PASSWORD) -> httpx.Response:
    return await client.post("/v1/password/reset", json={"token": token, "new_password": password})


async def test_forgotten_password_is_reset_with_a_mailed_token(
    client: httpx.AsyncClient, registered: RegisteredUser, mailbox: Mailbox
) -> None:
    email = registered["form"]["email"]
    answer = await forget(client, email.upper())
    assert (answer.status_code, answer.content) == (202, b"")
    token = await mailbox.token(email, "choose a new password")
    done = await reset(client, token)
    assert (done.status_code, done.content) == (204, b"")
    assert (await client.post("/v1/login", json=login_of(registered, NEW_PASSWORD))).status_code == 200
    assert problem(await client.get("/v1/users/me", headers=bearer(registered))) == (401, "invalid-token")
    ended = await client.post("/v1/refresh", json={"refresh_token": registered["refresh_token"]})
    assert problem(ended) == (401, "invalid-refresh-token")
    await mailbox.text(email, "your password was changed")


async def test_reset_token_works_once(client: httpx.AsyncClient, registered: RegisteredUser, mailbox: Mailbox) -> None:
    await forget(client, registered["form"]["email"])
    token = await mailbox.token(registered["form"]["email"], "choose a new password")
    answers = await asyncio.gather(*(reset(client, token, f"{NEW_PASSWORD} {number}") for number in range(4)))
    assert sorted(answer.status_code for answer in answers) == [204, 422, 422, 422]
    assert problem(await reset(client, token)) == (422, "invalid-reset-token")


async def test_reset_token_works_for_ten_minutes(
    client: httpx.AsyncClient, registered: RegisteredUser, mailbox: Mailbox, clock: AdjustableClock
) -> None:
    await forget(client, registered["form"]["email"])
    token = await mailbox.token(registered["form"]["email"], "choose a new password")
    clock.advance(minutes=10, seconds=1)
    assert problem(await reset(client, token)) == (422, "invalid-reset-token")
    assert await log_in(client, registered)


async def test_reset_that_was_interrupted_does_not_use_up_the_token(
    client: httpx.AsyncClient,
    registered: RegisteredUser,
    mailbox: Mailbox,
    clock: AdjustableClock,
    rows: AsyncEngine,
) -> None:
    """The process was killed after it had claimed the token."""
    await forget(client, registered["form"]["email"])
    token = await mailbox.token(registered["form"]["email"], "choose a new password")
    clock.freeze()
    async with rows.begin() as connection:
        claim = text("UPDATE one_time_tokens SET claimed_until = :at WHERE user_id = :id")
        at = clock().replace(tzinfo=None) + timedelta(seconds=30)
        await connection.execute(claim, {"at": at, "id": registered["user"]["id"]})
    assert problem(await reset(client, token)) == (422, "invalid-reset-token")
    clock.advance(seconds=31)
    assert (await reset(client, token)).status_code == 204


async def test_reset_whose_transaction_fails_does_not_use_up_the_token(
    client: httpx.AsyncClient,
    registered: RegisteredUser,
    mailbox: Mailbox,
    clock: AdjustableClock,
    rows: AsyncEngine,
    *,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await forget(client, registered["form"]["email"])
    token = await mailbox.token(registered["form"]["email"], "choose a new password")
    clock.freeze()
    async with rows.begin() as connection:
        lock = text("SELECT id FROM users WHERE id = :id FOR UPDATE")
        await connection.execute(lock, {"id": registered["user"]["id"]})
        with monkeypatch.context() as impatient:
            impatient.setattr("auth_service.database.TRANSACTION_SECONDS", 1)
            assert problem(await reset(client, token)) == (503, "service-unavailable")
    assert (await reset(client, token)).status_code == 204


async def test_reset_that_took_long_does_not_end_the_claim_of_another(
    client: httpx.AsyncClient, registered: RegisteredUser, mailbox: Mailbox, clock: AdjustableClock, rows: AsyncEngine
) -> None:
    await forget(client, registered["form"]["email"])
    token = await mailbox.token(registered["form"]["email"], "choose a new password")
    clock.freeze()
    of_user = {"id": registered["user"]["id"]}
    async with rows.begin() as connection:
        await connection.execute(text("SELECT id FROM users WHERE id = :id FOR UPDATE"), of_user)
        slow = asyncio.create_task(reset(client, token))
        await eventually(lambda: lock_waits(rows, "users"))
        clock.advance(seconds=31)
        async with rows.begin() as other:
            claim = text("UPDATE one_time_tokens SET claimed_until = :at WHERE user_id = :id")
            await other.execute(claim, of_user | {"at": clock().replace(tzinfo=None) + timedelta(seconds=30)})
        await fail_lock_waits(rows, "users")
        assert problem(await slow) == (503, "service-unavailable")
    assert problem(await reset(client, token)) == (422, "invalid-reset-token")


async def test_owner_logs_in_after_a_reset_although_a_thief_has_logged_in_often(
    settings: Settings, clock: AdjustableClock, registered: RegisteredUser, mailbox: Mailbox
) -> None:
    """The sessions from before the reset have ended."""
    clock.freeze()
    async with running_app(settings, clock, auth_logins_per_account=3) as app, client_of(app) as client:
        for _ in range(2):
            await log_in(client, registered)
        login = login_of(registered, registered["form"]["password"])
        assert problem(await client.post("/v1/login", json=login)) == (429, "too-many-requests")
        await forget(client, registered["form"]["email"])
        token = await mailbox.token(registered["form"]["email"], "choose a new password")
        assert (await reset(client, token)).status_code == 204
        clock.advance(seconds=1)
        login = login_of(registered, NEW_PASSWORD)
        for _ in range(3):
            assert (await client.post("/v1/login", json=login)).status_code == 200
        assert problem(await client.post("/v1/login", json=login)) == (429, "too-many-requests")


async def test_newer_reset_token_replaces_the_older(
    client: httpx.AsyncClient, registered: RegisteredUser, mailbox: Mailbox
) -> None:
    email, subject = registered["form"]["email"], "choose a new password"
    await forget(client, email)
    older = await mailbox.token(email, subject)
    await forget(client, email)
    newer = await eventually(lambda: mailbox.token(email, subject), lambda token: token != older)
    assert problem(await reset(client, older)) == (422, "invalid-reset-token")
    assert (await reset(client, newer)).status_code == 204


async def test_weak_password_does_not_use_up_the_token(
    client: httpx.AsyncClient, registered: RegisteredUser, mailbox: Mailbox
) -> None:
    await forget(client, registered["form"]["email"])
    token = await mailbox.token(registered["form"]["email"], "choose a new password")
    assert problem(await reset(client, token, "password1")) == (422, "password-too-weak")
    assert (await reset(client, token)).status_code == 204


async def test_confirmation_token_does_not_reset_a_password(
    client: httpx.AsyncClient, registered: RegisteredUser, mailbox: Mailbox
) -> None:
    token = await mailbox.token(registered["form"]["email"], "confirm your email address")
    assert problem(await reset(client, token)) == (422, "invalid-reset-token")


@pytest.mark.parametrize("state", ["unknown", "inactive"])
async def test_forgotten_password_does_not_reveal_accounts(
    client: httpx.AsyncClient, registered: RegisteredUser, rows: AsyncEngine, mailbox: Mailbox, state: str
) -> None:
    email = registered["form"]["email"]
    known = await forget(client, email)
    await mailbox.token(email, "choose a new password")
    if state == "unknown":
        email = "unknown-1@example.com"
    else:
        async with rows.begin() as connection:
            statement = text("UPDATE users SET is_active = 0 WHERE id = :id")
            await connection.execute(statement, {"id": registered["user"]["id"]})
    answer = await forget(client, email)
    assert (answer.status_code, answer.content) == (known.status_code, known.content)
    assert {*answer.headers} == {*known.headers}
    # What was asked for later has been done by then, so nothing is on its way any more.
    last = await forget(client, "unknown-2@example.com")
    assert last.status_code == 202
    assert len([each for each in await mailbox.subjects(email) if "choose a new password" in each]) == (
        0 if state == "unknown" else 1
    )


async def test_reset_ends_the_delays_of_an_attacked_account(
    client: httpx.AsyncClient, registered: RegisteredUser, mailbox: Mailbox, clock: AdjustableClock
) -> None:
    clock.freeze()
    for number in range(11):
        await client.post("/v1/login", json=login_of(registered, f"guess {number}"))
    throttled = await client.post("/v1/login", json=login_of(registered, registered["form"]["password"]))
    assert throttled.status_code == 429
    await forget(client, registered["form"]["email"])
    token = await mailbox.token(registered["form"]["email"], "choose a new password")
    await reset(client, token)
    assert (await client.post("/v1/login", json=login_of(registered, NEW_PASSWORD))).status_code == 200


async def test_reset_calls_off_a_change_of_address(
    client: httpx.AsyncClient, registered: RegisteredUser, mailbox: Mailbox
) -> None:
    """An intruder with the old password may have requested the change."""
    requested = {"email": "thief@example.org", "current_password": registered["form"]["password"]}
    assert (await client.patch("/v1/users/me", json=requested, headers=bearer(registered))).status_code == 200
    thiefs = await mailbox.token("thief@example.org", "confirm your new email address")
    await forget(client, registered["form"]["email"])
    await reset(client, await mailbox.token(registered["form"]["email"], "choose a new password"))
    answer = await client.post("/v1/email/verify", json={"token": thiefs})
    assert problem(answer) == (422, "invalid-email-token")


async def test_login_rehashes_after_a_change_of_parameters(
    client: httpx.AsyncClient, registered: RegisteredUser, settings: Settings, rows: AsyncEngine
) -> None:
    before = await hash_of(rows, registered)
    async with running_app(settings, auth_argon2_rounds=3) as app, client_of(app) as stricter:
        wrong = await stricter.post("/v1/login", json=login_of(registered, "something else"))
        assert wrong.status_code == 401
        assert await hash_of(rows, registered) == before
        await log_in(stricter, registered)
    after = await hash_of(rows, registered)
    assert ",t=2," in before
    assert ",t=3," in after
    assert await log_in(client, registered)


async def test_nothing_of_a_password_is_in_any_table(
    client: httpx.AsyncClient, registered: RegisteredUser, rows: AsyncEngine, mailbox: Mailbox
) -> None:
    await change(client, registered)
    await forget(client, registered["form"]["email"])
    token = await mailbox.token(registered["form"]["email"], "choose a new password")
    async with rows.connect() as connection:
        held: list[Any] = [(await connection.execute(table.select())).all() for table in Table.metadata.sorted_tables]
    assert len(held) == 10
    for secret in (registered["form"]["password"], NEW_PASSWORD, token):
        assert secret not in str(held)
