"""A thief with a token, with the password or with an old link can't take an account from its owner for good."""

import asyncio
from typing import Any

import httpx
import pytest

from support.auth_app import (
    AdjustableClock,
    Form,
    Mailbox,
    NewForm,
    Register,
    RegisteredUser,
    events_of,
    log_in,
)
from support.polling import eventually
from support.responses import bearer, problem

ABOUT_TO_CHANGE, CHANGED = "about to change", "email address was changed"
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


async def test_stolen_token_allows_no_more_guesses_than_the_login(
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


async def test_undo_ends_the_links_of_later_addresses_only(account: Account) -> None:
    """Each address may belong to the thief, and the owner's is the oldest."""
    old = account.form["email"]
    await account.change("thief-6@example.org")
    owners = await account.mailbox.token(old, CHANGED)
    await account.change("thief-7@example.org")
    thiefs = await account.mailbox.token("thief-6@example.org", CHANGED)
    await account.change("thief-8@example.org")
    later = await account.mailbox.token("thief-7@example.org", CHANGED)
    assert (await account.undo(thiefs)).status_code == 204
    assert problem(await account.undo(later)) == (422, "invalid-undo-token")
    assert (await account.undo(owners)).status_code == 204
    assert problem(await account.undo(thiefs)) == (422, "invalid-undo-token")
    await account.log_in()
    assert (await account.profile())["email"] == old


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
