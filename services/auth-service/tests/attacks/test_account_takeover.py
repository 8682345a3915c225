"""A thief with a token, with the password or with an old link can't take an account from its owner for good."""

import asyncio
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from support.auth_app import (
    AdjustableClock,
    Form,
    Mailbox,
    NewForm,
    Register,
    RegisteredUser,
    confirmed,
    events_of,
    lock_waits,
    log_in,
)
from support.polling import eventually
from support.responses import bearer, problem

ABOUT_TO_CHANGE, CHANGED = "about to change", "email address was changed"
UNDONE = "a change of your email address was undone"
CONFIRM_NEW, RESET = "confirm your new email address", "choose a new password"
NEW_PASSWORD = "a rather different passphrase"

Sensitive = dict[str, tuple[str, str, dict[str, Any]]]
SENSITIVE: Sensitive = {
    "a change of the address": ("PATCH", "/v1/users/me", {"email": "thief@example.org"}),
    "the deletion": ("DELETE", "/v1/users/me", {}),
}


class Account:
    """An account, and what its owner or a thief does with it."""

    def __init__(self, client: httpx.AsyncClient, mailbox: Mailbox, user: RegisteredUser) -> None:
        self.client = client
        self.mailbox = mailbox
        self.tokens: dict[str, Any] = user
        self.form: Form = user["form"]
        self.id = user["user"]["id"]

    async def log_in(self) -> None:
        self.tokens = await log_in(self.client, {"form": self.form})

    async def profile(self) -> dict[str, Any]:
        body: dict[str, Any] = (await self.client.get("/v1/users/me", headers=bearer(self.tokens))).json()
        return body

    async def request_change(self, email: str) -> httpx.Response:
        body = {"email": email, "current_password": self.form["password"]}
        return await self.client.patch("/v1/users/me", json=body, headers=bearer(self.tokens))

    async def change(self, email: str) -> None:
        assert (await self.request_change(email)).status_code == 200
        token = {"token": await self.mailbox.token(email, CONFIRM_NEW)}
        assert (await self.client.post("/v1/email/verify", json=token)).status_code == 204

    async def change_password(self, new: str) -> httpx.Response:
        body = {"current_password": self.form["password"], "new_password": new}
        answer = await self.client.post("/v1/users/me/password", json=body, headers=bearer(self.tokens))
        if answer.status_code == 204:
            self.form["password"] = new
            await self.log_in()
        return answer

    async def undo(self, token: str) -> httpx.Response:
        return await self.client.post("/v1/email/undo", json={"token": token})

    async def reset_token(self, email: str) -> str:
        assert (await self.client.post("/v1/password/forgot", json={"email": email})).status_code == 202
        return await self.mailbox.token(email, RESET)

    async def reset(self, token: str, new: str = NEW_PASSWORD) -> httpx.Response:
        answer = await self.client.post("/v1/password/reset", json={"token": token, "new_password": new})
        if answer.status_code == 204:
            self.form["password"] = new
        return answer


@pytest.fixture
def account(client: httpx.AsyncClient, mailbox: Mailbox, registered: RegisteredUser) -> Account:
    return Account(client, mailbox, registered)


@pytest.mark.parametrize("action", SENSITIVE)
@pytest.mark.parametrize("password", [None, "", "not the password"])
async def test_stolen_token_is_not_enough_for_a_sensitive_action(
    account: Account, action: str, password: str | None
) -> None:
    method, path, body = SENSITIVE[action]
    given = {} if password is None else {"current_password": password}
    answer = await account.client.request(method, path, json=body | given, headers=bearer(account.tokens))
    assert problem(answer) == (403, "reauthentication-required")
    assert answer.json()["errors"][0]["pointer"] == "#/current_password"
    assert (await account.profile())["pending_email"] is None


async def test_deletion_without_a_body_needs_the_password(account: Account) -> None:
    answer = await account.client.delete("/v1/users/me", headers=bearer(account.tokens))
    assert problem(answer) == (403, "reauthentication-required")


async def test_other_changes_of_the_profile_need_no_password(account: Account) -> None:
    """The present address is no change, so that a client may send the whole profile."""
    change = {"name": "Countess", "email": account.form["email"]}
    answer = await account.client.patch("/v1/users/me", json=change, headers=bearer(account.tokens))
    assert (answer.status_code, answer.json()["name"]) == (200, "Countess")


async def test_stolen_token_allows_no_more_guesses_than_a_login(
    account: Account, clock: AdjustableClock, admin: RegisteredUser
) -> None:
    clock.freeze()
    answers = []
    for number in range(11):
        method, path, body = list(SENSITIVE.values())[number % 2]
        guess = {**body, "current_password": f"guess {number}"}
        answers.append(await account.client.request(method, path, json=guess, headers=bearer(account.tokens)))
    assert [answer.status_code for answer in answers] == [403] * 10 + [429]
    assert "retry-after" in answers[-1].headers
    right = await account.request_change("thief@example.org")
    assert right.status_code == 429, "a delayed guess must not reveal whether the password is correct"
    failures = await events_of(account.client, admin, user=account.id, event="authn_login_fail")
    assert [each["details"]["reason"] for each in failures] == ["reauthentication-failed"] * 10


@pytest.mark.parametrize("action", ["address", "password", "deletion"])
async def test_anonymous_guesses_do_not_block_an_open_session(
    account: Account, clock: AdjustableClock, action: str
) -> None:
    clock.freeze()
    guess = {"login": account.form["username"], "password": "a wrong guess"}
    guesses = [await account.client.post("/v1/login", json=guess) for _ in range(12)]
    assert guesses[-1].status_code == 429
    if action == "address":
        assert (await account.request_change(f"own-{account.form['email']}")).status_code == 200
        return
    password = {"current_password": account.form["password"]}
    method, path, new = {
        "password": ("POST", "/v1/users/me/password", {"new_password": NEW_PASSWORD}),
        "deletion": ("DELETE", "/v1/users/me", {}),
    }[action]
    answer = await account.client.request(method, path, json=password | new, headers=bearer(account.tokens))
    assert answer.status_code == 204


async def test_guesses_with_a_stolen_token_do_not_block_the_login(account: Account, clock: AdjustableClock) -> None:
    clock.freeze()
    for number in range(11):
        body = {"current_password": f"guess {number}", "new_password": NEW_PASSWORD}
        await account.client.post("/v1/users/me/password", json=body, headers=bearer(account.tokens))
    await account.log_in()
    assert (await account.request_change("thief@example.org")).status_code == 429
    reset = await account.reset(await account.reset_token(account.form["email"]))
    assert reset.status_code == 204
    await account.log_in()
    assert (await account.request_change(f"own-{account.form['email']}")).status_code == 200


async def test_undo_restores_the_address_and_ends_all_sessions(account: Account) -> None:
    old = account.form["email"]
    await account.change("thief-1@example.org")
    token = await account.mailbox.token(old, CHANGED)
    assert (await account.undo(token)).status_code == 204
    assert problem(await account.client.get("/v1/users/me", headers=bearer(account.tokens))) == (401, "invalid-token")
    await account.log_in()
    after = await account.profile()
    assert (after["email"], after["pending_email"], after["email_verified"]) == (old, None, True)
    assert problem(await account.undo(token)) == (422, "invalid-undo-token")
    unknown = await account.client.post("/v1/password/forgot", json={"email": "thief-1@example.org"})
    assert unknown.status_code == 202
    assert (await account.reset(await account.reset_token(old))).status_code == 204
    await account.log_in()


async def test_requested_change_can_be_cancelled_from_the_old_mailbox(account: Account) -> None:
    old = account.form["email"]
    assert (await account.request_change("thief-2@example.org")).status_code == 200
    thiefs = await account.mailbox.token("thief-2@example.org", CONFIRM_NEW)
    assert (await account.undo(await account.mailbox.token(old, ABOUT_TO_CHANGE))).status_code == 204
    refused = await account.client.post("/v1/email/verify", json={"token": thiefs})
    assert problem(refused) == (422, "invalid-email-token")
    await account.log_in()
    assert (await account.profile())["email"] == old


@pytest.mark.parametrize(("minutes", "status"), [(72 * 60 - 1, 204), (72 * 60 + 1, 422)])
async def test_undo_works_for_72_hours(account: Account, clock: AdjustableClock, minutes: int, status: int) -> None:
    await account.change(f"thief-3-{status}@example.org")
    token = await account.mailbox.token(account.form["email"], CHANGED)
    clock.advance(minutes=minutes)
    assert (await account.undo(token)).status_code == status


async def test_undo_survives_a_change_of_the_password_and_another_change_of_the_address(account: Account) -> None:
    old = account.form["email"]
    await account.change("thief-4@example.org")
    token = await account.mailbox.token(old, CHANGED)
    assert (await account.change_password("the thief's own passphrase")).status_code == 204
    await account.change("thief-5@example.org")
    assert (
        await account.reset(await account.reset_token("thief-5@example.org"), "thief's other one")
    ).status_code == 204
    assert (await account.undo(token)).status_code == 204
    await account.log_in()
    assert (await account.profile())["email"] == old


async def test_only_the_oldest_address_gets_links_that_undo(account: Account) -> None:
    """Each later address may belong to the thief."""
    old, seen = account.form["email"], set()
    for number in (6, 7, 8):
        await account.change(f"thief-{number}@example.org")
        seen.add(await eventually(lambda: account.mailbox.token(old, CHANGED), lambda token: token not in seen))
    for number in (6, 7):
        for subject in (ABOUT_TO_CHANGE, CHANGED):
            assert "token=" not in await account.mailbox.text(f"thief-{number}@example.org", subject)
    assert (await account.undo(seen.pop())).status_code == 204
    for token in seen:
        assert problem(await account.undo(token)) == (422, "invalid-undo-token")
    await account.log_in()
    assert (await account.profile())["email"] == old


async def test_owner_who_moves_to_a_third_address_is_safe_from_the_thief(
    account: Account, clock: AdjustableClock
) -> None:
    """Neither a link nor patience gets the thief the account back."""
    old, thiefs, third = account.form["email"], "thief-24@example.org", "third-24@example.org"
    await account.change(thiefs)
    clock.advance(hours=71)
    await account.log_in()
    assert (await account.request_change(third)).status_code == 200
    confirm = await account.mailbox.token(third, CONFIRM_NEW)
    clock.advance(hours=2)
    assert (await account.client.post("/v1/email/verify", json={"token": confirm})).status_code == 204
    assert "token=" not in await account.mailbox.text(thiefs, CHANGED)
    # The thief, who knows the password, moves it again.
    await account.log_in()
    await account.change("thief-24-next@example.org")
    assert "token=" not in await account.mailbox.text(third, CHANGED)
    first, second = await account.mailbox.token(old, ABOUT_TO_CHANGE), await account.mailbox.token(old, CHANGED)
    assert first != second
    assert (await account.undo(second)).status_code == 204
    await account.log_in()
    assert (await account.profile())["email"] == old


async def test_resend_after_72_hours_gives_the_thief_no_link(account: Account, clock: AdjustableClock) -> None:
    old, thiefs = account.form["email"], "thief-25@example.org"
    await account.change(thiefs)
    clock.advance(hours=71)
    await account.log_in()
    assert (await account.request_change(old)).status_code == 200
    first = await account.mailbox.token(old, CONFIRM_NEW)
    clock.advance(hours=100)
    await account.log_in()
    assert (await account.client.post("/v1/email/resend", headers=bearer(account.tokens))).status_code == 202
    again = await eventually(lambda: account.mailbox.token(old, CONFIRM_NEW), lambda token: token != first)
    assert (await account.client.post("/v1/email/verify", json={"token": again})).status_code == 204
    assert "token=" not in await account.mailbox.text(thiefs, UNDONE)
    assert not any(CHANGED in subject for subject in await account.mailbox.subjects(thiefs))


async def test_change_after_a_very_old_request_is_undone_from_the_present_address(
    account: Account, app: FastAPI, clock: AdjustableClock
) -> None:
    """Another person may read the mailbox that was protected at the request."""
    old, second, third = account.form["email"], "second-27@example.org", "third-27@example.org"
    await account.change(second)
    assert (await account.request_change(third)).status_code == 200
    first = await account.mailbox.token(third, CONFIRM_NEW)
    before = await account.mailbox.token(old, CHANGED)
    clock.advance(days=11)
    await app.state.housekeeper.clean_up()
    await account.log_in()
    assert (await account.client.post("/v1/email/resend", headers=bearer(account.tokens))).status_code == 202
    again = await eventually(lambda: account.mailbox.token(third, CONFIRM_NEW), lambda token: token != first)
    assert (await account.client.post("/v1/email/verify", json={"token": again})).status_code == 204
    undo = await account.mailbox.token(second, CHANGED)
    assert await account.mailbox.token(old, CHANGED) == before
    assert (await account.undo(undo)).status_code == 204
    await account.log_in()
    assert (await account.profile())["email"] == second


async def test_address_of_another_account_gets_no_link_that_would_hold_it(
    account: Account, new_form: NewForm, clock: AdjustableClock
) -> None:
    """The protection of the address has ended, so that another account has taken it and may confirm it."""
    old, second, third = account.form["email"], "second-28@example.org", "third-28@example.org"
    await account.change(second)
    clock.advance(hours=71)
    await account.log_in()
    assert (await account.request_change(third)).status_code == 200
    first = await account.mailbox.token(third, CONFIRM_NEW)
    clock.advance(hours=73)
    await account.log_in()
    before = await account.mailbox.token(old, "confirm your email address")
    taken = await account.client.post("/v1/register", json=new_form() | {"email": old})
    assert taken.status_code == 201
    confirm = await eventually(
        lambda: account.mailbox.token(old, "confirm your email address"), lambda token: token != before
    )
    assert (await account.client.post("/v1/email/resend", headers=bearer(account.tokens))).status_code == 202
    again = await eventually(lambda: account.mailbox.token(third, CONFIRM_NEW), lambda token: token != first)
    assert (await account.client.post("/v1/email/verify", json={"token": again})).status_code == 204
    undo = await account.mailbox.token(second, CHANGED)
    assert (await account.client.post("/v1/email/verify", json={"token": confirm})).status_code == 204
    assert (await account.undo(undo)).status_code == 204


async def test_stranger_whose_account_once_had_the_address_can_not_block_the_undo(
    account: Account, register: Register, mailbox: Mailbox, clock: AdjustableClock
) -> None:
    """The stranger never confirmed it, and keeps a change from that time open."""
    victims, second, third = "victim-30@example.org", "stranger-30@example.org", "stranger-30-next@example.org"
    stranger = Account(account.client, mailbox, await register(email=victims))
    await stranger.change(second)
    strangers = await mailbox.token(victims, CHANGED)
    clock.advance(hours=71)
    await stranger.log_in()
    assert (await stranger.request_change(third)).status_code == 200
    first = await mailbox.token(third, CONFIRM_NEW)
    clock.advance(hours=73)
    owner = Account(account.client, mailbox, await register(email=victims))
    await owner.change("thief-30@example.org")
    undo = await eventually(lambda: mailbox.token(victims, CHANGED), lambda token: token != strangers)
    await stranger.log_in()
    assert (await account.client.post("/v1/email/resend", headers=bearer(stranger.tokens))).status_code == 202
    confirm = await eventually(lambda: mailbox.token(third, CONFIRM_NEW), lambda token: token != first)
    assert (await account.client.post("/v1/email/verify", json={"token": confirm})).status_code == 204
    assert "token=" in await mailbox.text(second, CHANGED), "the link goes to the address that was replaced"
    assert (await owner.undo(undo)).status_code == 204
    await owner.log_in()
    assert (await owner.profile())["email"] == victims


async def test_account_confirms_its_own_address_although_another_one_may_undo_to_it(
    account: Account, register: Register, mailbox: Mailbox, rows: AsyncEngine
) -> None:
    """An earlier release issued such links. The address does not change, so that they refuse nothing."""
    other = Account(account.client, mailbox, await register())
    await other.change("moved-29@example.org")
    async with rows.begin() as connection:
        held = text("UPDATE one_time_tokens SET email = :email WHERE user_id = :id AND purpose = 'undo-email'")
        await connection.execute(held, {"email": account.form["email"], "id": other.id})
    confirm = {"token": await mailbox.token(account.form["email"], "confirm your email address")}
    assert (await account.client.post("/v1/email/verify", json=confirm)).status_code == 204
    # The other account's next change does not renew the link.
    links = "SELECT COUNT(*) FROM one_time_tokens WHERE email = :email AND purpose = 'undo-email'"
    await other.change("moved-29-next@example.org")
    async with rows.connect() as connection:
        assert await connection.scalar(text(links), {"email": account.form["email"]}) == 2
        assert await connection.scalar(text(links), {"email": "moved-29@example.org"}) == 2


async def test_change_that_a_replica_of_the_last_release_began_can_be_undone(
    account: Account, rows: AsyncEngine
) -> None:
    """It does not store the address that can undo the change."""
    old = account.form["email"]
    assert (await account.request_change("thief-26@example.org")).status_code == 200
    confirm = await account.mailbox.token("thief-26@example.org", CONFIRM_NEW)
    async with rows.begin() as connection:
        unset = text("UPDATE credentials SET undo_email = NULL WHERE user_id = :id")
        await connection.execute(unset, {"id": account.id})
        undo = text("DELETE FROM one_time_tokens WHERE user_id = :id AND purpose = 'undo-email'")
        await connection.execute(undo, {"id": account.id})
    assert (await account.client.post("/v1/email/verify", json={"token": confirm})).status_code == 204
    assert (await account.undo(await account.mailbox.token(old, CHANGED))).status_code == 204


async def test_of_concurrent_undos_one_works(account: Account) -> None:
    await account.change("thief-9@example.org")
    token = await account.mailbox.token(account.form["email"], CHANGED)
    answers = await asyncio.gather(*(account.undo(token) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [204, 422, 422, 422]


async def test_thief_with_the_password_can_do_nothing_sensitive_after_an_undo(account: Account) -> None:
    """Otherwise the thief could log in again and change the address or the password before the owner resets it."""
    old = account.form["email"]
    await account.change("thief-10@example.org")
    assert (await account.undo(await account.mailbox.token(old, CHANGED))).status_code == 204
    await account.log_in()
    assert problem(await account.request_change("thief-11@example.org")) == (403, "reauthentication-required")
    assert problem(await account.change_password(NEW_PASSWORD)) == (403, "reauthentication-required")
    password = {"current_password": account.form["password"]}
    deletion = await account.client.request("DELETE", "/v1/users/me", json=password, headers=bearer(account.tokens))
    assert problem(deletion) == (403, "reauthentication-required")
    assert (await account.reset(await account.reset_token(old))).status_code == 204
    await account.log_in()
    assert (await account.request_change(f"own-{old}")).status_code == 200


async def test_address_that_may_be_restored_is_held_for_its_owner(
    account: Account, register: Register, new_form: NewForm, mailbox: Mailbox, clock: AdjustableClock
) -> None:
    """A thief could otherwise register it, and the unique index would refuse the undo."""
    old = account.form["email"]
    await account.change("thief-12@example.org")
    squatter = new_form() | {"email": old.upper()}
    assert problem(await account.client.post("/v1/register", json=squatter)) == (409, "email-taken")
    other = Account(account.client, mailbox, await register())
    assert (await other.request_change(old)).status_code == 200
    confirm = await mailbox.token(old, CONFIRM_NEW)
    refused = await account.client.post("/v1/email/verify", json={"token": confirm})
    assert problem(refused) == (409, "email-taken")
    assert (await account.undo(await mailbox.token(old, CHANGED))).status_code == 204
    await account.log_in()
    assert (await account.reset(await account.reset_token(old))).status_code == 204
    await account.log_in()
    await account.change("moved-12@example.org")
    clock.advance(hours=72, seconds=1)
    assert problem(await account.client.post("/v1/register", json=squatter)) == (409, "email-taken")
    clock.advance(minutes=1)
    assert (await account.client.post("/v1/register", json=squatter)).status_code == 201


async def test_change_of_the_address_ends_all_other_links(account: Account) -> None:
    """A thief who has read one mail must not keep a way in."""
    assert (await account.request_change("new-13@example.org")).status_code == 200
    confirm = await account.mailbox.token("new-13@example.org", CONFIRM_NEW)
    stolen = await account.reset_token(account.form["email"])
    assert (await account.client.post("/v1/email/verify", json={"token": confirm})).status_code == 204
    assert problem(await account.reset(stolen)) == (422, "invalid-reset-token")


async def test_change_of_the_password_ends_all_other_links(account: Account) -> None:
    unconfirmed = await account.mailbox.token(account.form["email"], "confirm your email address")
    stolen = await account.reset_token(account.form["email"])
    assert (await account.change_password(NEW_PASSWORD)).status_code == 204
    assert problem(await account.reset(stolen, "another passphrase")) == (422, "invalid-reset-token")
    refused = await account.client.post("/v1/email/verify", json={"token": unconfirmed})
    assert problem(refused) == (422, "invalid-email-token")
    answer = await account.client.post("/v1/email/resend", headers=bearer(account.tokens))
    assert answer.status_code == 202
    newer = await eventually(
        lambda: account.mailbox.token(account.form["email"], "confirm your email address"),
        lambda token: token != unconfirmed,
    )
    assert (await account.client.post("/v1/email/verify", json={"token": newer})).status_code == 204


async def test_owner_who_returns_to_the_former_address_leaves_the_thief_no_link(
    account: Account, clock: AdjustableClock
) -> None:
    old, thiefs = account.form["email"], "thief-14@example.org"
    await account.change(thiefs)
    assert (await account.request_change("thief-14-next@example.org")).status_code == 200
    assert "token=" not in await account.mailbox.text(thiefs, ABOUT_TO_CHANGE)
    clock.advance(hours=48)
    await account.log_in()
    await account.change(old)
    assert (await account.change_password(NEW_PASSWORD)).status_code == 204
    await account.mailbox.text(thiefs, UNDONE)
    subjects = await account.mailbox.subjects(thiefs)
    assert [ABOUT_TO_CHANGE in subject for subject in subjects].count(True) == 1, "no mail at the request of the return"
    assert not any(CHANGED in subject for subject in subjects)
    profile = await account.profile()
    assert (profile["email"], profile["email_verified"]) == (old, True)


async def test_thief_can_not_cancel_the_return_to_the_former_address(account: Account) -> None:
    old, thiefs = account.form["email"], "thief-15@example.org"
    await account.change(thiefs)
    assert (await account.request_change(old)).status_code == 200
    confirm = await account.mailbox.token(old, CONFIRM_NEW)
    assert not any(ABOUT_TO_CHANGE in subject for subject in await account.mailbox.subjects(thiefs))
    assert (await account.client.post("/v1/email/verify", json={"token": confirm})).status_code == 204


async def test_return_that_was_requested_within_72_hours_may_be_confirmed_later(
    account: Account, app: FastAPI, clock: AdjustableClock
) -> None:
    old, thiefs = account.form["email"], "thief-16@example.org"
    await account.change(thiefs)
    clock.advance(hours=71)
    await account.log_in()
    assert (await account.request_change(old)).status_code == 200
    confirm = await account.mailbox.token(old, CONFIRM_NEW)
    clock.advance(hours=2)
    await app.state.housekeeper.clean_up()
    assert (await account.client.post("/v1/email/verify", json={"token": confirm})).status_code == 204
    await account.mailbox.text(thiefs, UNDONE)
    assert not any(CHANGED in subject for subject in await account.mailbox.subjects(thiefs))


async def test_return_after_72_hours_is_a_change_like_any_other(account: Account, clock: AdjustableClock) -> None:
    old, newer = account.form["email"], "newer-17@example.org"
    await account.change(newer)
    clock.advance(hours=72, seconds=1)
    await account.log_in()
    await account.change(old)
    assert (await account.undo(await account.mailbox.token(newer, CHANGED))).status_code == 204
    await account.log_in()
    assert (await account.profile())["email"] == newer


async def test_return_of_the_thief_to_a_later_address_keeps_the_links_of_the_owner(account: Account) -> None:
    old = account.form["email"]
    await account.change("thief-18@example.org")
    owners = await account.mailbox.token(old, CHANGED)
    first = await account.mailbox.token("thief-18@example.org", CONFIRM_NEW)
    await account.change("thief-19@example.org")
    assert (await account.request_change("thief-18@example.org")).status_code == 200
    confirm = await eventually(
        lambda: account.mailbox.token("thief-18@example.org", CONFIRM_NEW), lambda token: token != first
    )
    assert (await account.client.post("/v1/email/verify", json={"token": confirm})).status_code == 204
    assert (await account.undo(owners)).status_code == 204
    await account.log_in()
    assert (await account.profile())["email"] == old


async def test_undo_notifies_the_replaced_address_without_a_link(account: Account) -> None:
    await account.change("thief-20@example.org")
    assert (await account.undo(await account.mailbox.token(account.form["email"], CHANGED))).status_code == 204
    assert "token=" not in await account.mailbox.text("thief-20@example.org", UNDONE)


async def set_active(account: Account, admin: RegisteredUser, is_active: bool) -> None:
    change = confirmed(admin, is_active=is_active)
    answer = await account.client.patch(f"/v1/users/{account.id}", json=change, headers=bearer(admin))
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("is_reactivated", [False, True])
async def test_deactivated_account_does_not_move(account: Account, admin: RegisteredUser, is_reactivated: bool) -> None:
    thiefs = f"thief-21-{is_reactivated}@example.org"
    reset = await account.reset_token(account.form["email"])
    assert (await account.request_change(thiefs)).status_code == 200
    confirm = await account.mailbox.token(thiefs, CONFIRM_NEW)
    await set_active(account, admin, False)
    if is_reactivated:
        await set_active(account, admin, True)
    refused = await account.client.post("/v1/email/verify", json={"token": confirm})
    assert problem(refused) == (422, "invalid-email-token")
    assert problem(await account.reset(reset)) == (422, "invalid-reset-token")
    answer = await account.client.get(f"/v1/users/{account.id}", headers=bearer(admin))
    assert answer.json()["email"] == account.form["email"]
    if is_reactivated:
        await account.log_in()
        assert (await account.profile())["pending_email"] is None


async def test_token_of_an_account_that_an_earlier_release_deactivated_confirms_nothing(
    account: Account, rows: AsyncEngine
) -> None:
    confirm = await account.mailbox.token(account.form["email"], "confirm your email address")
    async with rows.begin() as connection:
        await connection.execute(text("UPDATE users SET is_active = 0 WHERE id = :id"), {"id": account.id})
    refused = await account.client.post("/v1/email/verify", json={"token": confirm})
    assert problem(refused) == (422, "invalid-email-token")


async def test_owner_of_a_deactivated_account_can_undo_a_change(account: Account, admin: RegisteredUser) -> None:
    old = account.form["email"]
    await account.change("thief-22@example.org")
    undo = await account.mailbox.token(old, CHANGED)
    await set_active(account, admin, False)
    assert (await account.undo(undo)).status_code == 204
    login = {"login": account.form["username"], "password": account.form["password"]}
    assert problem(await account.client.post("/v1/login", json=login)) == (401, "invalid-credentials")
    await set_active(account, admin, True)
    assert (await account.reset(await account.reset_token(old))).status_code == 204
    await account.log_in()
    assert (await account.profile())["email"] == old


async def test_request_that_waits_for_a_deactivation_starts_no_change(account: Account, rows: AsyncEngine) -> None:
    """It was authenticated before, and would leave a token for the time after a reactivation."""
    async with rows.begin() as connection:
        await connection.execute(text("UPDATE users SET is_active = 0 WHERE id = :id"), {"id": account.id})
        request = asyncio.create_task(account.request_change("thief-23@example.org"))
        await eventually(lambda: lock_waits(rows, "users"))
    assert problem(await request) == (401, "invalid-token")
