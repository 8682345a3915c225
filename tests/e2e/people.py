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

    async def is_found(self) -> bool:
        """Whether others find this person: a moment behind the registration, when the copy has arrived."""
        profile = self.client.build_request("GET", f"/api/tweets/v1/users/{self.username}")
        # The own token speaks for its owner even without the copy.
        del profile.headers["Authorization"]
        return (await self.client.send(profile)).status_code == 200


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
