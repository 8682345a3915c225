"""People who use the system over REST, through the gateway."""

import secrets
from dataclasses import dataclass
from typing import Any

import httpx

from support.polling import eventually
from support.responses import served


@dataclass(frozen=True)
class Person:
    """Somebody with an account. `client` goes through the gateway and carries the person's token."""

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


async def register(gateway: str) -> Person:
    password = secrets.token_urlsafe(16)
    client = httpx.AsyncClient(base_url=gateway, timeout=20)

    async def ask() -> httpx.Response:
        # Another name each time: an account may have been opened although that was not said.
        username = f"ada_{secrets.token_hex(6)}"
        form = {"username": username, "email": f"{username}@example.com", "name": "Ada"}
        passwords = {"password": password, "password_confirm": password}
        return await client.post("/api/auth/v1/register", json=form | passwords)

    answer = await served(ask)
    assert answer.status_code == 201, answer.text
    body = answer.json()
    client.headers["Authorization"] = f"Bearer {body['access_token']}"
    return Person(body["user"]["id"], body["user"]["username"], password, client)


async def found_by_others(gateway: str, username: str) -> None:
    """Wait until the copy of a new account has arrived. (For its owner, the token speaks until then.)"""
    async with httpx.AsyncClient(base_url=gateway, timeout=20) as stranger:
        profile = f"/api/tweets/v1/users/{username}"
        await eventually(lambda: stranger.get(profile), lambda answer: answer.status_code == 200)
