"""People who use the system over REST, through the gateway."""

import secrets
from dataclasses import dataclass
from typing import Any

import httpx


@dataclass(frozen=True)
class Person:
    """Somebody with an account. `client` goes through the gateway and carries the person's token."""

    id: str
    username: str
    password: str
    client: httpx.AsyncClient

    async def tweet(self, text: str, **more: str) -> dict[str, Any]:
        answer = await self.client.post("/api/tweets/v1/tweets", json={"text": text, **more})
        assert answer.status_code == 201, answer.text
        tweet: dict[str, Any] = answer.json()
        return tweet


async def register(gateway: str) -> Person:
    username, password = f"ada_{secrets.token_hex(6)}", secrets.token_urlsafe(16)
    client = httpx.AsyncClient(base_url=gateway, timeout=20)
    answer = await client.post(
        "/api/auth/v1/register",
        json={
            "username": username,
            "email": f"{username}@example.com",
            "name": "Ada",
            "password": password,
            "password_confirm": password,
        },
    )
    assert answer.status_code == 201, answer.text
    body = answer.json()
    client.headers["Authorization"] = f"Bearer {body['access_token']}"
    return Person(body["user"]["id"], username, password, client)
