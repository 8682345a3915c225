"""What auth-service takes back is taken back at tweet-service too: the sync is the revocation feed."""

import asyncio
import os
import secrets

import httpx
import pytest

from e2e.copies import Copies
from e2e.people import Person
from embedded_stack import Stack
from embedded_stack.components.services import script
from support.polling import eventually
from support.responses import problem

ME, TWEETS = "/api/auth/v1/users/me", "/api/tweets/v1/tweets"


async def attempt_to_tweet(person: Person) -> httpx.Response:
    return await person.client.post(TWEETS, json={"text": "still here"})


async def refused(person: Person) -> None:
    """Wait until tweet-service has heard of it, and check that it says so."""
    answer = await eventually(lambda: attempt_to_tweet(person), lambda answer: answer.status_code not in (201, 503))
    assert problem(answer) == (401, "token-revoked")


async def log_in(person: Person, password: str | None = None) -> None:
    login = {"login": person.username, "password": password or person.password}
    answer = await person.client.post("/api/auth/v1/login", json=login)
    assert answer.status_code == 200, answer.text
    person.client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"


async def test_tweets_of_a_deleted_account_stay_without_their_author(person: Person, copies: Copies) -> None:
    tweet = await person.tweet("I was here")
    await eventually(lambda: copies.user(person.id))

    assert (await person.client.delete(ME)).status_code == 204

    await eventually(lambda: copies.user(person.id), lambda user: user is None)
    assert await copies.row("SELECT id FROM auth.users WHERE id = :id", id=person.id) is None
    await refused(person)
    del person.client.headers["Authorization"]
    seen = (await person.client.get(f"{TWEETS}/{tweet['id']}")).json()
    assert (seen["text"], seen["author"], seen["author_deleted"]) == ("I was here", None, True)


@pytest.mark.parametrize("way", ["logout-all", "password"])
async def test_tokens_of_before_are_refused_everywhere(person: Person, copies: Copies, way: str) -> None:
    await eventually(lambda: copies.user(person.id))
    new_password = secrets.token_urlsafe(16)
    if way == "logout-all":
        answer = await person.client.post("/api/auth/v1/logout-all")
    else:
        change = {"current_password": person.password, "new_password": new_password}
        answer = await person.client.post(f"{ME}/password", json=change)
    assert answer.status_code == 204, answer.text
    await refused(person)
    await log_in(person, new_password if way == "password" else None)
    await person.tweet("back again")


async def test_admin_from_the_command_line_shuts_somebody_out_of_both_services(
    running_stack: Stack, person: Person, copies: Copies
) -> None:
    await eventually(lambda: copies.user(person.id))
    username, password = f"boss_{secrets.token_hex(4)}", secrets.token_urlsafe(16)
    command = await asyncio.create_subprocess_exec(
        script("auth-service"),
        *("create-admin", "--username", username, "--email", f"{username}@example.com"),
        env={"PATH": os.environ["PATH"], **running_stack.addresses},
        stdin=asyncio.subprocess.PIPE,
    )
    await command.communicate(f"{password}\n".encode())
    assert command.returncode == 0
    async with httpx.AsyncClient(base_url=running_stack.addresses["GATEWAY_URL"], timeout=20) as client:
        admin = Person("", username, password, client)
        await log_in(admin)
        changed = await client.patch(f"/api/auth/v1/users/{person.id}", json={"is_active": False})
        assert changed.status_code == 200, changed.text
        assert problem(await person.client.get(ME)) == (401, "invalid-token")
        await refused(person)


async def test_address_of_the_client_is_what_the_gateway_saw(person: Person) -> None:
    answer = await person.client.get("/api/auth/v1/sessions", headers={"X-Forwarded-For": "203.0.113.9"})
    assert [session["address"] for session in answer.json()["items"]] == ["127.0.0.1"]
