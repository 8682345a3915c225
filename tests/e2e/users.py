"""Users of the system, over REST and through the gateway."""

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from support.polling import eventually
from support.responses import PatientTransport, served


@dataclass(frozen=True)
class User:
    """A user with an account. `client` goes through the gateway and carries the user's token."""

    id: str
    username: str
    password: str
    client: httpx.AsyncClient

    async def tweet(self, text: str, **more: str) -> dict[str, Any]:
        once = {"Idempotency-Key": secrets.token_hex()}
        body = {"text": text, **more}
        answer = await served(lambda: self.client.post("/api/tweets/v1/tweets", json=body, headers=once))
        assert answer.status_code == 201, answer.text
        tweet: dict[str, Any] = answer.json()
        return tweet

    async def delete_account(self) -> None:
        password = {"current_password": self.password}
        answer = await self.client.request("DELETE", "/api/auth/v1/users/me", json=password)
        assert answer.status_code == 204, answer.text


Register = Callable[[], Awaitable[User]]


@asynccontextmanager
async def registration(gateway: str) -> AsyncIterator[Register]:
    """Registers users: `await register()`. Their clients are closed at the end, however the block ends."""
    async with AsyncExitStack() as clients:

        async def register() -> User:
            password = secrets.token_urlsafe(16)
            client = await clients.enter_async_context(gateway_client(gateway))

            async def ask() -> httpx.Response:
                # A new name for each attempt: an account may exist although the answer was lost.
                username = f"ada_{secrets.token_hex(6)}"
                form = {"username": username, "email": f"{username}@example.com", "name": "Ada"}
                passwords = {"password": password, "password_confirm": password}
                return await client.post("/api/auth/v1/register", json=form | passwords)

            answer = await served(ask)
            assert answer.status_code == 201, answer.text
            body = answer.json()
            client.headers["Authorization"] = f"Bearer {body['access_token']}"
            return User(body["user"]["id"], body["user"]["username"], password, client)

        yield register


def gateway_client(gateway: str) -> httpx.AsyncClient:
    """A client without a token."""
    return httpx.AsyncClient(base_url=gateway, timeout=60, transport=PatientTransport())


async def found_by_others(gateway: str, username: str) -> None:
    """Wait until the copy of a new account has arrived. (Its owner needs no copy: the token names the user.)"""
    async with gateway_client(gateway) as anonymous:
        profile = f"/api/tweets/v1/users/{username}"
        await eventually(lambda: anonymous.get(profile), lambda answer: answer.status_code == 200)
