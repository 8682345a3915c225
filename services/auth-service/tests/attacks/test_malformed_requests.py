"""Malformed requests get a response that OpenAPI describes, never a 500 or a 503."""

import base64

import httpx
import pytest

from support.auth_app import RegisteredUser
from support.responses import bearer, problem

JSON, FORM = "application/json", "application/x-www-form-urlencoded"


def cursor(position: str) -> str:
    return base64.urlsafe_b64encode(position.encode()).decode()


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (f"/v1/users?limit={'9' * 5000}", (422, "validation-failed")),
        ("/v1/users?cursor=" + cursor('["\u00e9"]'), (422, "invalid-cursor")),
        ("/v1/users?cursor=" + cursor('[["x"]]'), (422, "invalid-cursor")),
        ("/v1/users/%C3%A9", (404, "user-not-found")),
        ("/v1/users/%00", (404, "user-not-found")),
        ("/v1/audit?user=%C3%A9", (422, "validation-failed")),
        ("/v1/audit?cursor=" + cursor('["\u00e9"]'), (422, "invalid-cursor")),
        # In UTC these are outside of the years 1 to 9999.
        ("/v1/audit?since=0001-01-01T00:00:00%2B23:59", (422, "validation-failed")),
        ("/v1/audit?until=9999-12-31T23:59:59-23:59", (422, "validation-failed")),
        ("/v1/audit?until=0.5", (422, "validation-failed")),
        ("/v1/audit?until=2026-01-31", (422, "validation-failed")),
        ("/v1/users?query=%00", (422, "validation-failed")),
        ("/v1/users?query=%ED%A0%80", (422, "validation-failed")),
    ],
)
async def test_malformed_url(
    client: httpx.AsyncClient, admin: RegisteredUser, target: str, expected: tuple[int, str]
) -> None:
    assert problem(await client.get(target, headers=bearer(admin))) == expected


@pytest.mark.parametrize(
    "target",
    [
        "/v1/users?query=%C3%BF",
        "/v1/audit?since=0001-01-01t00:00:00z&limit=1",
        "/v1/audit?until=0001-01-01T00:00:00Z&limit=1",
        "/v1/audit?since=9999-12-31T23:59:59.999999Z&limit=1",
        "/v1/audit?until=9999-12-31T23:59:59.999999Z&limit=1",
        "/v1/audit?cursor=" + cursor('["00000000-0000-0000-0000-000000000000"]'),
        "/v1/audit?cursor=" + cursor('["ffffffff-ffff-ffff-ffff-ffffffffffff"]') + "&limit=1",
    ],
)
async def test_unusual_url_is_accepted(client: httpx.AsyncClient, admin: RegisteredUser, target: str) -> None:
    assert (await client.get(target, headers=bearer(admin))).status_code == 200


async def test_malformed_session_id_is_not_found(client: httpx.AsyncClient, registered: RegisteredUser) -> None:
    answer = await client.delete("/v1/sessions/%F0%9F%98%80", headers=bearer(registered))
    assert problem(answer) == (404, "session-not-found")


@pytest.mark.parametrize(
    ("target", "media_type", "body", "expected"),
    [
        ("/v1/token", FORM, b"%ff%00&&&=", (400, "validation-failed")),
        ("/v1/token", FORM, b"username=&password=", (400, "validation-failed")),
        ("/v1/token", FORM, b"username=\xff&password=%00", (400, "validation-failed")),
        ("/v1/token", FORM, b"grant_type=implicit&username=x&password=x", (400, "unsupported-grant-type")),
        ("/v1/token", FORM, b"x" * 2_000_000, (413, "payload-too-large")),
        ("/v1/token", JSON, b"{}", (400, "validation-failed")),
        ("/v1/token", "multipart/form-data", b"x", (400, "bad-request")),
        ("/v1/login", JSON, b'{"login": "\\ud800", "password": "x"}', (422, "validation-failed")),
        ("/v1/login", JSON, b'{"login": "\\u0000", "password": "x"}', (422, "validation-failed")),
        ("/v1/login", JSON, b'{"login": "x", "password": "x", "remember_me": 0}', (422, "validation-failed")),
        ("/v1/login", JSON, b"\xff", (400, "bad-request")),
    ],
)
async def test_malformed_body(
    client: httpx.AsyncClient, target: str, media_type: str, body: bytes, expected: tuple[int, str]
) -> None:
    answer = await client.post(target, content=body, headers={"Content-Type": media_type})
    assert problem(answer) == expected


async def test_length_of_a_name_is_limited_after_normalization(
    client: httpx.AsyncClient, registered: RegisteredUser
) -> None:
    """NFC splits this character into two."""
    answer = await client.patch("/v1/users/me", json={"name": "\u0958" * 50}, headers=bearer(registered))
    assert problem(answer) == (422, "validation-failed")
    assert answer.json()["errors"][0]["pointer"] == "#/name"


async def test_taken_username_together_with_a_new_email(
    client: httpx.AsyncClient, registered: RegisteredUser, admin: RegisteredUser
) -> None:
    change = {"username": registered["form"]["username"], "email": "new@example.com"}
    password = {"current_password": admin["form"]["password"]}
    answer = await client.patch("/v1/users/me", json=change | password, headers=bearer(admin))
    assert problem(answer) == (409, "username-taken")
