"""Confirmation and change of email addresses."""

import asyncio
import itertools
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.limits.policies import Limits, of_mailbox
from auth_service.limits.repository import AttemptRepository
from auth_service.main import prepare
from auth_service.outbox.repository import OutboxRepository
from auth_service.settings import Settings
from support.auth_app import (
    AdjustableClock,
    Mailbox,
    NewForm,
    Register,
    RegisteredUser,
    client_of,
    log_in,
    own_schema,
    running_app,
)
from support.polling import eventually
from support.responses import bearer, problem

CONFIRM, CONFIRM_NEW = "confirm your email address", "confirm your new email address"


async def verify(client: httpx.AsyncClient, token: str) -> httpx.Response:
    return await client.post("/v1/email/verify", json={"token": token})


async def profile(client: httpx.AsyncClient, user: RegisteredUser) -> dict[str, object]:
    answer = await client.get("/v1/users/me", headers=bearer(user))
    assert answer.status_code == 200, answer.text
    body: dict[str, object] = answer.json()
    return body


async def change(client: httpx.AsyncClient, user: RegisteredUser, email: str) -> httpx.Response:
    body = {"email": email, "current_password": user["form"]["password"]}
    return await client.patch("/v1/users/me", json=body, headers=bearer(user))


async def test_registration_mail_confirms_the_email(
    client: httpx.AsyncClient, registered: RegisteredUser, mailbox: Mailbox
) -> None:
    assert registered["user"]["email_verified"] is False
    token = await mailbox.token(registered["form"]["email"], CONFIRM)
    assert (await verify(client, token)).status_code == 204
    assert (await profile(client, registered))["email_verified"] is True
    assert problem(await verify(client, token)) == (422, "invalid-email-token")


async def test_new_email_replaces_the_old_after_its_confirmation(
    client: httpx.AsyncClient, registered: RegisteredUser, mailbox: Mailbox
) -> None:
    old, new = registered["form"]["email"], f"new-{registered['form']['email']}"
    answer = await change(client, registered, new)
    assert (answer.json()["email"], answer.json()["pending_email"]) == (old, new)
    await mailbox.text(old, "about to change")
    token = await mailbox.token(new, CONFIRM_NEW)
    assert problem(await client.post("/v1/login", json={"login": new, "password": registered["form"]["password"]})) == (
        401,
        "invalid-credentials",
    )
    assert (await verify(client, token)).status_code == 204
    after = await profile(client, registered)
    assert (after["email"], after["pending_email"], after["email_verified"]) == (new, None, True)
    await mailbox.text(old, "was changed")
    registered["form"]["username"] = new
    assert await log_in(client, registered)


async def test_confirmation_expires_after_a_day(
    client: httpx.AsyncClient, registered: RegisteredUser, mailbox: Mailbox, clock: AdjustableClock
) -> None:
    token = await mailbox.token(registered["form"]["email"], CONFIRM)
    clock.advance(days=1, seconds=1)
    assert problem(await verify(client, token)) == (422, "invalid-email-token")


async def test_change_of_email_can_be_cancelled(
    client: httpx.AsyncClient, registered: RegisteredUser, mailbox: Mailbox
) -> None:
    old, new = registered["form"]["email"], f"new-{registered['form']['email']}"
    await change(client, registered, new)
    token = await mailbox.token(new, CONFIRM_NEW)
    with_token_only = await client.patch("/v1/users/me", json={"email": old}, headers=bearer(registered))
    assert problem(with_token_only) == (403, "reauthentication-required")
    assert (await profile(client, registered))["pending_email"] == new
    assert (await change(client, registered, old)).json()["pending_email"] is None
    assert problem(await verify(client, token)) == (422, "invalid-email-token")


async def test_change_to_the_email_of_another_user_notifies_only_its_owner(
    client: httpx.AsyncClient, registered: RegisteredUser, register: Register, mailbox: Mailbox
) -> None:
    other = await register()
    free = await change(client, registered, "free@example.org")
    taken = await change(client, registered, other["form"]["email"].upper())
    different = {"updated_at", "pending_email"}
    assert (taken.status_code, taken.json().keys()) == (free.status_code, free.json().keys())
    assert {name: value for name, value in taken.json().items() if name not in different} == {
        name: value for name, value in free.json().items() if name not in different
    }
    mail = await mailbox.text(other["form"]["email"], "is already in use")
    assert registered["form"]["username"] not in mail
    assert "token=" not in mail
    assert CONFIRM_NEW not in str(await mailbox.subjects(other["form"]["email"]))


@pytest.fixture(scope="module")
async def flooded_settings(settings: Settings, engine: AsyncEngine, mysql_root_url: str) -> AsyncIterator[Settings]:
    """A schema of its own: workers of other replicas, with other clocks, must not write these mails."""
    async with own_schema(engine, mysql_root_url) as url:
        own = settings.model_copy(update={"mysql_url": SecretStr(url), "auth_mails_per_address": 50})
        await prepare(own)
        yield own


@pytest.fixture
async def flooding(flooded_settings: Settings) -> AsyncIterator[tuple[FastAPI, AdjustableClock]]:
    """A replica with the default limits of mails, and a frozen clock: other tests' windows are over."""
    clock = AdjustableClock()
    clock.freeze()
    clock.advance(days=2000 + next(_flood_days))
    async with running_app(flooded_settings, clock) as app:
        async with app.state.database.transaction() as session:
            # Mails of other tests, whose workers have ended while they sent them: they are claimed for a minute.
            await session.execute(text("DELETE FROM outbox"))
        yield app, clock


async def mails_to(app: FastAPI, mailbox: Mailbox, recipient: str, subject: str) -> int:
    """How many mails have arrived when none waits any more."""

    async def waiting() -> int:
        async with app.state.database.reading() as session:
            return await OutboxRepository(session).count_waiting()

    await eventually(waiting, lambda count: count == 0)
    return sum(subject in each for each in await mailbox.subjects(recipient))


_flood_days = itertools.count(step=30)


async def signed_up(app: FastAPI, new_form: NewForm, address: str, **changes: str) -> RegisteredUser:
    form = new_form() | changes
    async with client_of(app, address) as client:
        answer = await client.post("/v1/register", json=form)
    assert answer.status_code == 201, answer.text
    return {**answer.json(), "form": form}


async def test_changes_of_the_email_are_limited_per_account(
    flooding: tuple[FastAPI, AdjustableClock], new_form: NewForm
) -> None:
    app, clock = flooding
    user = await signed_up(app, new_form, "198.51.100.10")
    async with client_of(app, "198.51.100.10") as client:
        answers = [await change(client, user, f"flood-{number}@example.org") for number in range(11)]
        assert [answer.status_code for answer in answers] == [200] * 10 + [429]
        assert answers[0].headers["ratelimit-policy"].startswith('"email-change-')
        assert int(answers[-1].headers["retry-after"]) == 3600
        clock.advance(minutes=14)
        assert (await change(client, user, "flood-12@example.org")).status_code == 429
        same = await client.patch("/v1/users/me", json={"name": "Still Ada"}, headers=bearer(user))
        assert same.status_code == 200, "other changes are not limited"
        clock.advance(minutes=46)
        again = {"refresh_token": user["refresh_token"]}
        user |= (await client.post("/v1/refresh", json=again)).json()
        assert (await change(client, user, "flood-13@example.org")).status_code == 200


async def test_registrations_do_not_flood_a_mailbox(
    flooding: tuple[FastAPI, AdjustableClock], new_form: NewForm, mailbox: Mailbox
) -> None:
    app, _ = flooding
    for number in range(11):
        user = await signed_up(app, new_form, f"203.0.113.{number}", email="flooded@example.org")
        async with client_of(app, f"203.0.113.{number}") as client:
            # Before the deletion, which takes waiting mails along.
            sent = await mails_to(app, mailbox, "flooded@example.org", CONFIRM)
            password = {"current_password": user["form"]["password"]}
            answer = await client.request("DELETE", "/v1/users/me", json=password, headers=bearer(user))
            assert answer.status_code == 204
    assert sent == 10


async def test_news_of_accounts_that_are_deleted_again_do_not_flood_a_mailbox(
    flooding: tuple[FastAPI, AdjustableClock], new_form: NewForm, mailbox: Mailbox
) -> None:
    """Limits per account don't help: each account is new."""
    app, _ = flooding
    for number in range(2):
        user = await signed_up(app, new_form, f"203.0.113.{number}", email="bombed@example.org")
        async with client_of(app, f"203.0.113.{number}") as client:
            known = user["form"]["password"]
            for _ in range(6):
                password = {"current_password": known, "new_password": known}
                answer = await client.post("/v1/users/me/password", json=password, headers=bearer(user))
                assert answer.status_code == 204, answer.text
            sent = await mails_to(app, mailbox, "bombed@example.org", "password was changed")
            deletion = {"current_password": known}
            answer = await client.request("DELETE", "/v1/users/me", json=deletion, headers=bearer(user))
            assert answer.status_code == 204
    assert sent == 10


async def test_discreet_registrations_do_not_flood_a_mailbox(
    flooding: tuple[FastAPI, AdjustableClock], flooded_settings: Settings, new_form: NewForm, mailbox: Mailbox
) -> None:
    app, clock = flooding
    await signed_up(app, new_form, "203.0.113.1", email="known@example.org")
    statuses = []
    async with running_app(flooded_settings, clock, auth_require_email_verification=True) as discreet:
        for number in range(6):
            async with client_of(discreet, f"203.0.113.{number}") as client:
                answer = await client.post("/v1/register", json=new_form() | {"email": "known@example.org"})
                statuses.append(answer.status_code)
        assert await mails_to(discreet, mailbox, "known@example.org", "you already have an account") == 5
    assert statuses == [202] * 6


async def test_changes_of_other_accounts_neither_flood_a_mailbox_nor_stop_its_owner(
    flooding: tuple[FastAPI, AdjustableClock], new_form: NewForm, mailbox: Mailbox
) -> None:
    app, _ = flooding
    form = new_form()
    local, _, domain = form["email"].partition("@")
    for number in range(2):
        email = f"{local}+{number}@{domain}"
        thief = await signed_up(app, new_form, f"203.0.113.{number}", email=email)
        async with client_of(app, f"203.0.113.{number}") as client:
            for _ in range(6):
                assert (await change(client, thief, f"Wanted+{number}@example.org")).status_code == 200
    sent = [await mails_to(app, mailbox, f"wanted+{number}@example.org", CONFIRM_NEW) for number in range(2)]
    assert sum(sent) <= 10
    owner = await signed_up(app, new_form, "203.0.113.9", email=form["email"])
    async with client_of(app, "203.0.113.9") as client:
        assert (await change(client, owner, "wanted@example.org")).status_code == 200
    assert await mails_to(app, mailbox, "wanted@example.org", CONFIRM_NEW) >= 1
    assert await mails_to(app, mailbox, form["email"], "about to change") >= 1


@pytest.mark.parametrize("is_confirmed", [True, False], ids=["confirmed", "never confirmed"])
async def test_changes_of_other_accounts_do_not_keep_back_the_link_to_a_former_address(
    flooding: tuple[FastAPI, AdjustableClock],
    flooded_settings: Settings,
    new_form: NewForm,
    mailbox: Mailbox,
    is_confirmed: bool,
) -> None:
    """A thief who has changed the address changes it again: the second link goes to the owner's former address."""
    app, _ = flooding
    form = new_form()
    local, _, domain = form["email"].partition("@")
    former, stolen = f"{local}+mine@{domain}", f"stolen-{form['email']}"
    owner = await signed_up(app, new_form, "203.0.113.9", email=former)
    async with client_of(app, "203.0.113.9") as client:
        if is_confirmed:
            assert (await verify(client, await mailbox.token(former, CONFIRM))).status_code == 204
        assert (await change(client, owner, stolen)).status_code == 200
        assert (await verify(client, await mailbox.token(stolen, CONFIRM_NEW))).status_code == 204
    for number, changes in enumerate((10, 2)):
        thief = await signed_up(app, new_form, f"203.0.113.{number}", email=f"{local}+{number}@{domain}")
        async with client_of(app, f"203.0.113.{number}") as client:
            for _ in range(changes):
                assert (await change(client, thief, "anything@example.org")).status_code == 200
    policy = Limits.of(flooded_settings).email_change_former
    # The account whose address was changed is still the oldest.
    oldest = 0 if is_confirmed else 1
    younger = [of_mailbox(policy, f"{local}+0@{domain}", older=oldest + number).hash for number in range(2)]

    async def counted() -> list[int]:
        async with app.state.database.reading() as session:
            states = await AttemptRepository(session).get(younger)
            return [states[each].count if each in states else 0 for each in younger]

    await eventually(counted, lambda counts: counts == [10, 2])
    async with client_of(app, "203.0.113.9") as client:
        assert (await change(client, owner, f"again-{form['email']}")).status_code == 200
    assert await mails_to(app, mailbox, former, "about to change") == 2


async def forgot(app: FastAPI, address: str, email: str) -> httpx.Response:
    async with client_of(app, address) as client:
        return await client.post("/v1/password/forgot", json={"email": email})


async def test_requests_for_other_addresses_do_not_stop_the_owner_from_a_reset(
    flooding: tuple[FastAPI, AdjustableClock], new_form: NewForm, mailbox: Mailbox
) -> None:
    """Neither an alias without an account, which sends no mail, nor the account of an attacker counts."""
    app, _ = flooding
    form = new_form()
    local, _, domain = form["email"].partition("@")
    aliases = [f"{local}+{number}@{domain}" for number in range(8)]
    await signed_up(app, new_form, "203.0.113.2", email=f"{local}+thief@{domain}")
    for email in (*aliases, *[f"{local}+thief@{domain}"] * 8):
        assert (await forgot(app, "203.0.113.2", email)).status_code == 202
    await signed_up(app, new_form, "203.0.113.1", email=form["email"])
    assert (await forgot(app, "203.0.113.1", form["email"])).status_code == 202
    await mailbox.token(form["email"], "choose a new password")


async def test_owner_can_reset_the_password_after_others_have_requested_many_links(
    flooding: tuple[FastAPI, AdjustableClock], new_form: NewForm, mailbox: Mailbox
) -> None:
    app, _ = flooding
    email = (await signed_up(app, new_form, "203.0.113.1"))["form"]["email"]
    # One by one, so that none withdraws the link of a mail that is not sent yet.
    for number in range(8):
        assert (await forgot(app, f"203.0.113.{number}", email.upper())).status_code == 202
        sent = await mails_to(app, mailbox, email, "choose a new password")
    assert sent == 5
    async with client_of(app, "203.0.113.1") as client:
        reset = {
            "token": await mailbox.token(email, "choose a new password"),
            "new_password": "another good passphrase",
        }
        assert (await client.post("/v1/password/reset", json=reset)).status_code == 204
    assert (await forgot(app, "203.0.113.1", email)).status_code == 202
    assert await mails_to(app, mailbox, email, "choose a new password") == 6, "the link was used up"


async def test_limits_do_not_reveal_accounts(flooding: tuple[FastAPI, AdjustableClock], new_form: NewForm) -> None:
    app, _ = flooding
    owner, other = [await signed_up(app, new_form, f"203.0.113.{number}") for number in (1, 2)]
    async with client_of(app, "203.0.113.1") as client:
        assert (await client.post("/v1/email/resend", headers=bearer(owner))).status_code == 202
        assert (await change(client, owner, "elsewhere@example.org")).status_code == 200
    email, unused = owner["form"]["email"], f"unused-{owner['form']['email']}"
    requested = [await forgot(app, "203.0.113.2", each) for each in (email, unused)]
    async with client_of(app, "203.0.113.2") as client:
        changed = [await change(client, other, each) for each in (email, unused)]
    assert [each.headers["ratelimit"] for each in requested] == [
        '"mail-address";r=49;t=900',
        '"mail-address";r=48;t=900',
    ]
    assert [each.headers["ratelimit"] for each in changed] == [
        '"email-change-account";r=9;t=3600',
        '"email-change-account";r=8;t=3600',
    ]


async def test_changes_of_the_password_are_limited(
    flooding: tuple[FastAPI, AdjustableClock], new_form: NewForm
) -> None:
    """Each sends a mail, and the password is right, so that the limit of guesses does not apply."""
    app, clock = flooding
    user = await signed_up(app, new_form, "203.0.113.1")
    statuses = []
    async with client_of(app, "203.0.113.1") as client:
        for number in range(11):
            new = f"the next good passphrase {number}"
            body = {"current_password": user["form"]["password"], "new_password": new}
            clock.advance(seconds=2)  # tokens are dated in seconds
            user |= (await client.post("/v1/refresh", json={"refresh_token": user["refresh_token"]})).json()
            answer = await client.post("/v1/users/me/password", json=body, headers=bearer(user))
            statuses.append(answer.status_code)
            user["form"]["password"] = new
    assert statuses == [204] * 10 + [429]


async def test_email_that_was_taken_before_its_confirmation_is_refused(
    client: httpx.AsyncClient, register: Register, mailbox: Mailbox
) -> None:
    wanted = "wanted-by-two@example.com"
    tokens: list[str] = []
    for user in (await register(), await register()):
        await change(client, user, wanted)
        tokens.append(await eventually(lambda: mailbox.token(wanted, CONFIRM_NEW), lambda new: new not in tokens))
    answers = await asyncio.gather(*(verify(client, token) for token in tokens))
    assert sorted(answer.status_code for answer in answers) == [204, 409]


async def test_confirmation_mail_can_be_resent(
    client: httpx.AsyncClient, registered: RegisteredUser, mailbox: Mailbox
) -> None:
    email = registered["form"]["email"]
    first = await mailbox.token(email, CONFIRM)
    answer = await client.post("/v1/email/resend", headers=bearer(registered))
    assert (answer.status_code, answer.content) == (202, b"")
    second = await eventually(lambda: mailbox.token(email, CONFIRM), lambda token: token != first)
    assert problem(await verify(client, first)) == (422, "invalid-email-token")
    assert (await verify(client, second)).status_code == 204


async def test_mails_per_account_are_limited(
    client: httpx.AsyncClient, registered: RegisteredUser, clock: AdjustableClock
) -> None:
    clock.freeze()
    answers = [await client.post("/v1/email/resend", headers=bearer(registered)) for _ in range(6)]
    assert [answer.status_code for answer in answers] == [202] * 5 + [429]
    assert answers[0].headers["ratelimit"] == '"mail-account";r=4;t=900'
    assert answers[4].headers["ratelimit"].startswith('"mail-account";r=0;')
    assert answers[5].headers["ratelimit-policy"] == '"mail-account";q=5;w=900'
    assert int(answers[5].headers["retry-after"]) >= 1


async def test_confirmation_that_is_already_mailed_stays_valid_beyond_the_limit_of_the_mailbox(
    flooding: tuple[FastAPI, AdjustableClock], new_form: NewForm, mailbox: Mailbox
) -> None:
    """Otherwise others could leave the owner of an address without any link."""
    app, clock = flooding
    email = "crowded@example.org"
    for number in range(10):
        stranger = await signed_up(app, new_form, f"203.0.113.{number + 20}")
        async with client_of(app, f"203.0.113.{number + 20}") as client:
            assert (await change(client, stranger, email)).status_code == 200
    assert await mails_to(app, mailbox, email, CONFIRM_NEW) == 10
    clock.advance(minutes=5)
    owner = await signed_up(app, new_form, "203.0.113.9")
    async with client_of(app, "203.0.113.9") as client:
        assert (await change(client, owner, email)).status_code == 200
        assert await mails_to(app, mailbox, email, CONFIRM_NEW) == 11
        link = await mailbox.token(email, CONFIRM_NEW)
        assert (await client.post("/v1/email/resend", headers=bearer(owner))).status_code == 202
        assert await mails_to(app, mailbox, email, CONFIRM_NEW) == 11
        assert (await verify(client, link)).status_code == 204


async def test_reset_confirms_the_email(
    client: httpx.AsyncClient, registered: RegisteredUser, mailbox: Mailbox
) -> None:
    await client.post("/v1/password/forgot", json={"email": registered["form"]["email"]})
    token = await mailbox.token(registered["form"]["email"], "choose a new password")
    await client.post("/v1/password/reset", json={"token": token, "new_password": "another good passphrase"})
    registered["form"]["password"] = "another good passphrase"
    assert (await profile(client, await log_in(client, registered)))["email_verified"] is True


@pytest.fixture
async def verifying(settings: Settings):  # type: ignore[no-untyped-def]  # a fixture of a context manager
    async with (
        running_app(settings, auth_require_email_verification=True) as replica,
        client_of(replica) as client,
    ):
        yield client


async def test_login_needs_a_confirmed_email_if_so_configured(
    verifying: httpx.AsyncClient, new_form: NewForm, mailbox: Mailbox
) -> None:
    form = new_form()
    answer = await verifying.post("/v1/register", json=form)
    assert (answer.status_code, answer.json()) == (202, {"status": "confirm-your-email"})
    login = {"login": form["username"], "password": form["password"]}
    assert problem(await verifying.post("/v1/login", json=login)) == (403, "email-not-verified")
    wrong = await verifying.post("/v1/login", json=login | {"password": "wrong password"})
    assert problem(wrong) == (401, "invalid-credentials")
    await verify(verifying, await mailbox.token(form["email"], CONFIRM))
    assert (await verifying.post("/v1/login", json=login)).status_code == 200


async def test_username_that_is_not_free_does_not_reveal_whether_an_address_is(
    verifying: httpx.AsyncClient, register: Register, new_form: NewForm
) -> None:
    owner, other = await register(), await register()
    held = owner["form"]["username"]
    renamed = await verifying.patch("/v1/users/me", json={"username": f"{held}_new"}, headers=bearer(owner))
    assert renamed.status_code == 200
    for username in (held, other["form"]["username"]):
        answers = [
            problem(await verifying.post("/v1/register", json=new_form() | {"username": username, **email}))
            for email in ({}, {"email": other["form"]["email"]})
        ]
        assert answers == [(409, "username-taken")] * 2


async def test_registration_with_a_taken_email_notifies_only_its_owner(
    verifying: httpx.AsyncClient, registered: RegisteredUser, new_form: NewForm, mailbox: Mailbox
) -> None:
    form = new_form() | {"email": registered["form"]["email"]}
    answer = await verifying.post("/v1/register", json=form)
    assert (answer.status_code, answer.json()) == (202, {"status": "confirm-your-email"})
    mail = await mailbox.text(registered["form"]["email"], "you already have an account")
    assert form["username"] not in mail
    login = {"login": form["username"], "password": form["password"]}
    assert problem(await verifying.post("/v1/login", json=login)) == (401, "invalid-credentials")


async def test_registration_with_a_held_email_tells_the_former_owner(
    verifying: httpx.AsyncClient,
    client: httpx.AsyncClient,
    registered: RegisteredUser,
    new_form: NewForm,
    mailbox: Mailbox,
) -> None:
    """The response promises a mail, and the owner of the mailbox may be the victim of a change of the address."""
    old, new = registered["form"]["email"], f"new-{registered['form']['email']}"
    await change(client, registered, new)
    assert (await verify(client, await mailbox.token(new, CONFIRM_NEW))).status_code == 204
    form = new_form() | {"email": old.upper()}
    answer = await verifying.post("/v1/register", json=form)
    assert (answer.status_code, answer.json()) == (202, {"status": "confirm-your-email"})
    mail = await mailbox.text(old, "is held for an account")
    assert "undo" in mail
    assert registered["form"]["name"] not in mail
    assert "token=" not in mail
    login = {"login": form["username"], "password": form["password"]}
    assert problem(await verifying.post("/v1/login", json=login)) == (401, "invalid-credentials")
