"""Addresses that look alike, or that a comparison could take for one, are of different people."""

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from support.auth_app import Mailbox, NewForm, Register, RegisteredUser, confirmed
from support.responses import bearer, problem

CONFIRM_NEW, RESET = "confirm your new email address", "choose a new password"

# What stands for the first `s` and the `ss` of an address in its look-alike. MySQL's usual collation takes all for one.
LOOKALIKES = {
    "another accent": ("\u0161", "ss"),
    "a combining mark": ("s\u0337", "ss"),
    "an invisible character": ("s\ufe0f", "ss"),
    "sharp s": ("s", "ß"),
}


def lookalike(address: str, kind: str) -> str:
    first, double = LOOKALIKES[kind]
    return address.replace("ss", "\0").replace("s", first, 1).replace("\0", double)


@pytest.fixture
def address(new_form: NewForm) -> str:
    return new_form()["email"].replace("@", ".s.ss@")


@pytest.mark.parametrize("kind", LOOKALIKES)
async def test_lookalike_of_an_address_does_not_keep_its_owner_from_an_account(
    client: httpx.AsyncClient, register: Register, address: str, kind: str, mailbox: Mailbox
) -> None:
    other = await register(email=lookalike(address, kind))
    owner = await register(email=address)
    assert owner["user"]["email"] == address != other["user"]["email"]
    for user in (owner, other):
        login = {"login": user["user"]["email"], "password": user["form"]["password"]}
        tokens = (await client.post("/v1/login", json=login)).json()
        me = await client.get("/v1/users/me", headers=bearer(tokens))
        assert me.json()["id"] == user["user"]["id"]
    assert (await client.post("/v1/password/forgot", json={"email": address})).status_code == 202
    reset = {"token": await mailbox.token(address, RESET), "new_password": "a rather different passphrase"}
    assert (await client.post("/v1/password/reset", json=reset)).status_code == 204
    again = {"login": owner["form"]["username"], "password": reset["new_password"]}
    assert (await client.post("/v1/login", json=again)).status_code == 200


async def change(
    client: httpx.AsyncClient, user: RegisteredUser, email: str, mailbox: Mailbox, recipient: str | None = None
) -> None:
    answer = await client.patch("/v1/users/me", json=confirmed(user, email=email), headers=bearer(user))
    assert answer.status_code == 200, answer.text
    token = {"token": await mailbox.token(recipient or email, CONFIRM_NEW)}
    assert (await client.post("/v1/email/verify", json=token)).status_code == 204


@pytest.mark.parametrize("kind", [*LOOKALIKES, "sharp s in the domain"])
async def test_change_to_a_lookalike_keeps_the_link_of_the_owner(
    client: httpx.AsyncClient, register: Register, address: str, kind: str, mailbox: Mailbox
) -> None:
    """A return to a protected address ends the links that undo a change: only that very address is a return."""
    if kind in LOOKALIKES:
        similar = lookalike(address, kind)
    else:
        address = address.replace("@", "@strasse.")
        similar = address.replace("strasse", "straße")
    user = await register(email=address)
    await change(client, user, f"thief-{user['form']['username']}@example.org", mailbox)
    undo = await mailbox.token(address, "was changed")
    # Mails name a domain in ASCII.
    await change(client, user, similar, mailbox, similar.replace("@straße", "@xn--strae-oqa"))
    assert (await client.post("/v1/email/undo", json={"token": undo})).status_code == 204
    reset = {"email": address}
    assert (await client.post("/v1/password/forgot", json=reset)).status_code == 202
    assert await mailbox.token(address, RESET)


async def test_address_that_may_be_restored_holds_no_lookalike(
    client: httpx.AsyncClient, register: Register, address: str, mailbox: Mailbox
) -> None:
    user = await register(email=address)
    await change(client, user, f"new-{user['form']['username']}@example.org", mailbox)
    await register(email=lookalike(address, "another accent"))
    form = user["form"] | {"username": f"{user['form']['username']}_2"}
    assert problem(await client.post("/v1/register", json=form)) == (409, "email-taken")


SPELLINGS = {
    "capital letters": str.upper,
    "full width": lambda text: "".join(chr(ord(each) + 0xFEE0) for each in text),
    "spaces around": lambda text: f" {text} ",
}


@pytest.mark.parametrize("spelling", SPELLINGS)
async def test_user_logs_in_by_exactly_what_was_registered(
    client: httpx.AsyncClient, register: Register, new_form: NewForm, spelling: str
) -> None:
    plain = new_form()["email"]
    typed = SPELLINGS[spelling](plain)
    user = await register(email=typed)
    assert user["user"]["email"] == plain
    for login in (typed, plain, plain.capitalize()):
        answer = await client.post("/v1/login", json={"login": login, "password": user["form"]["password"]})
        assert answer.status_code == 200, login
    for email in (typed, plain):
        again = await client.post("/v1/register", json=new_form() | {"email": email})
        assert problem(again) == (409, "email-taken")


async def test_mysql_compares_every_address_exactly(rows: AsyncEngine) -> None:
    """Also in columns that a later release adds."""
    query = text(
        "SELECT table_name, column_name, collation_name FROM information_schema.columns"
        " WHERE table_schema = DATABASE() AND (column_name LIKE '%email%' OR column_name = 'recipient')"
        " AND data_type = 'varchar'"
    )
    async with rows.connect() as connection:
        found = {(table, column): collation for table, column, collation in await connection.execute(query)}
    assert len(found) == 5
    assert set(found.values()) == {"utf8mb4_0900_bin"}
