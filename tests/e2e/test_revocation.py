"""What auth-service takes back is taken back at tweet-service too: the sync is the revocation feed."""

import asyncio
import os
import secrets
from contextlib import ExitStack

import httpx
import pytest

from e2e.copies import Copies
from e2e.users import Register, User, gateway_client
from embedded_stack import Stack
from embedded_stack.components.services import script
from support.polling import eventually
from support.responses import problem
from support.sse import Listener

ME, TWEETS = "/api/auth/v1/users/me", "/api/tweets/v1/tweets"


async def attempt_to_tweet(user: User) -> httpx.Response:
    return await user.client.post(TWEETS, json={"text": "still here"})


async def refused(user: User) -> None:
    """Wait until tweet-service has heard of it, and check that it says so."""
    answer = await eventually(lambda: attempt_to_tweet(user), lambda answer: answer.status_code not in (201, 503))
    assert problem(answer) == (401, "token-revoked")


async def log_in(user: User, password: str | None = None) -> None:
    login = {"login": user.username, "password": password or user.password}
    answer = await user.client.post("/api/auth/v1/login", json=login)
    assert answer.status_code == 200, answer.text
    user.client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"


async def test_tweets_of_a_deleted_account_stay_without_their_author(user: User, copies: Copies) -> None:
    tweet = await user.tweet("I was here")
    await eventually(lambda: copies.user(user.id))

    await user.delete_account()

    await eventually(lambda: copies.user(user.id), lambda user: user is None)
    assert await copies.row("SELECT id FROM auth.users WHERE id = :id", id=user.id) is None
    await refused(user)
    del user.client.headers["Authorization"]
    seen = (await user.client.get(f"{TWEETS}/{tweet['id']}")).json()
    assert (seen["text"], seen["author"], seen["author_deleted"]) == ("I was here", None, True)


@pytest.mark.parametrize("way", ["logout-all", "password"])
async def test_revoked_tokens_are_refused_by_every_service(user: User, copies: Copies, way: str) -> None:
    await eventually(lambda: copies.user(user.id))
    new_password = secrets.token_urlsafe(16)
    if way == "logout-all":
        answer = await user.client.post("/api/auth/v1/logout-all")
    else:
        change = {"current_password": user.password, "new_password": new_password}
        answer = await user.client.post(f"{ME}/password", json=change)
    assert answer.status_code == 204, answer.text
    await refused(user)
    await log_in(user, new_password if way == "password" else None)
    await user.tweet("back again")


async def test_logout_revokes_the_access_token_of_its_session_only(user: User, copies: Copies) -> None:
    await eventually(lambda: copies.user(user.id))
    elsewhere = user.client.headers["Authorization"]
    await log_in(user)
    assert (await user.client.post("/api/auth/v1/logout")).status_code == 204
    await refused(user)
    user.client.headers["Authorization"] = elsewhere
    await user.tweet("still logged in elsewhere")


async def test_admin_created_on_the_command_line_deactivates_a_user_in_both_services(
    running_stack: Stack, user: User, copies: Copies
) -> None:
    await eventually(lambda: copies.user(user.id))
    username, password = f"boss_{secrets.token_hex(4)}", secrets.token_urlsafe(16)
    command = await asyncio.create_subprocess_exec(
        script("auth-service"),
        *("create-admin", "--username", username, "--email", f"{username}@example.com"),
        env={"PATH": os.environ["PATH"], **running_stack.addresses},
        stdin=asyncio.subprocess.PIPE,
    )
    await command.communicate(f"{password}\n".encode())
    assert command.returncode == 0
    async with gateway_client(running_stack.addresses["GATEWAY_URL"]) as client:
        admin = User("", username, password, client)
        await log_in(admin)
        deactivation = {"is_active": False, "current_password": password}
        changed = await client.patch(f"/api/auth/v1/users/{user.id}", json=deactivation)
        assert changed.status_code == 200, changed.text
        assert problem(await user.client.get(ME)) == (401, "invalid-token")
        await refused(user)


@pytest.fixture
async def admin(register: Register, copies: Copies) -> User:
    admin = await register()
    await copies.execute("UPDATE auth.users SET role = 'admin' WHERE id = :id", id=admin.id)
    await log_in(admin)
    return admin


@pytest.mark.parametrize("way", ["demotion", "deactivation", "deletion", "logout-all", "logout"])
async def test_open_streams_end_with_the_token(user: User, admin: User, copies: Copies, way: str) -> None:
    await copies.execute("UPDATE auth.users SET role = 'technical_worker' WHERE id = :id", id=user.id)
    await log_in(user)
    await eventually(lambda: copies.user(user.id))
    gateway, bearer = user.client.base_url, {"Authorization": user.client.headers["Authorization"]}
    # Without events.
    paths = (f"/api/tweets/v1/stream?author={user.username}", "/api/sync/v1/events?route=tweets")
    with ExitStack() as opened:
        streams = []
        for path in paths:
            streams.append(await Listener.connect(gateway.host, gateway.port or 80, path, bearer))
            opened.callback(streams[-1].close)
        assert [stream.status for stream in streams] == [200, 200]
        account, password = f"/api/auth/v1/users/{user.id}", {"current_password": admin.password}
        match way:
            case "demotion":
                answer = await admin.client.patch(account, json={"role": "customer"} | password)
            case "deactivation":
                answer = await admin.client.patch(account, json={"is_active": False} | password)
            case "deletion":
                answer = await admin.client.request("DELETE", account, json=password)
            case _:
                answer = await user.client.post(f"/api/auth/v1/{way}")
        assert answer.is_success, answer.text
        for stream in streams:
            end = await stream.event()
            assert (end.event, end.data["code"]) == ("end", "token-revoked")


async def test_client_address_is_the_one_the_gateway_saw(user: User) -> None:
    answer = await user.client.get("/api/auth/v1/sessions", headers={"X-Forwarded-For": "203.0.113.9"})
    assert [session["address"] for session in answer.json()["items"]] == ["127.0.0.1"]
