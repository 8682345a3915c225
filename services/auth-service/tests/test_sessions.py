"""Logging in, staying logged in, and what happens to stolen tokens."""

import asyncio
from typing import Any

import httpx
import pytest
from jose import jwt
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine


def problem(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, answer.json()["code"]


async def refresh(client: httpx.AsyncClient, token: str) -> httpx.Response:
    return await client.post("/v1/refresh", json={"refresh_token": token})


async def test_login_by_username_or_email_whatever_the_case(
    client: httpx.AsyncClient, form: dict[str, Any], registered: dict[str, Any]
) -> None:
    for login in (form["username"], form["username"].upper(), form["email"], form["email"].upper()):
        answer = await client.post("/v1/login", json={"login": login, "password": form["password"]})
        assert answer.status_code == 200, login
        assert answer.json().keys() == {"access_token", "refresh_token", "token_type", "expires_in"}


async def test_failed_logins_can_not_be_told_apart(
    client: httpx.AsyncClient, form: dict[str, Any], registered: dict[str, Any]
) -> None:
    answers = [
        await client.post("/v1/login", json={"login": login, "password": password})
        for login, password in (
            (form["username"], "wrong password"),
            ("nobody_here", form["password"]),
            ("nobody@example.com", form["password"]),
            (form["username"], form["password"] + "\x00"),
            ("' OR 1=1 -- ", "x"),
        )
    ]
    assert {problem(answer) for answer in answers} == {(401, "invalid-credentials")}
    bodies = [{name: value for name, value in answer.json().items() if name != "request_id"} for answer in answers]
    assert all(body == bodies[0] for body in bodies)


async def test_oauth2_password_form_is_understood(
    client: httpx.AsyncClient, form: dict[str, Any], registered: dict[str, Any]
) -> None:
    data = {"grant_type": "password", "username": form["username"], "password": form["password"]}
    answer = await client.post("/v1/token", data=data)
    assert answer.status_code == 200
    assert answer.json()["token_type"] == "bearer"
    assert problem(await client.post("/v1/token", data={**data, "password": "x" * 500})) == (401, "invalid-credentials")


async def test_access_token_is_what_rfc_9068_asks_for(client: httpx.AsyncClient, registered: dict[str, Any]) -> None:
    (key,) = (await client.get("/.well-known/jwks.json")).json()["keys"]
    assert (key["kty"], key["crv"], key["alg"], key["use"]) == ("EC", "P-256", "ES256", "sig")
    assert "d" not in key
    token = registered["access_token"]
    header = jwt.get_unverified_header(token)
    assert (header["alg"], header["typ"], header["kid"]) == ("ES256", "at+jwt", key["kid"])
    claims = jwt.decode(token, key, algorithms=["ES256"], audience="tandem", issuer="http://issuer.test/api/auth")
    assert claims.keys() == {
        "iss", "aud", "sub", "iat", "nbf", "exp", "jti", "sid", "username", "name", "role", "scope",
    }  # fmt: skip
    assert claims["sub"] == registered["user"]["id"]
    assert 899 <= claims["exp"] - claims["iat"] <= 900


async def test_refresh_rotates_and_stays_in_the_session(client: httpx.AsyncClient, registered: dict[str, Any]) -> None:
    answer = await refresh(client, registered["refresh_token"])
    assert answer.status_code == 200
    before, after = (jwt.get_unverified_claims(body["access_token"]) for body in (registered, answer.json()))
    assert before["sid"] == after["sid"]
    assert before["jti"] != after["jti"]
    assert (await refresh(client, answer.json()["refresh_token"])).status_code == 200


async def test_reused_refresh_token_revokes_its_family_and_no_other(
    client: httpx.AsyncClient, form: dict[str, Any], registered: dict[str, Any]
) -> None:
    login = {"login": form["username"], "password": form["password"]}
    elsewhere = (await client.post("/v1/login", json=login)).json()
    successor = (await refresh(client, registered["refresh_token"])).json()
    assert problem(await refresh(client, registered["refresh_token"])) == (401, "refresh-token-reused")
    assert problem(await refresh(client, successor["refresh_token"])) == (401, "invalid-refresh-token")
    assert (await refresh(client, elsewhere["refresh_token"])).status_code == 200


async def test_of_concurrent_refreshes_exactly_one_gets_tokens(
    client: httpx.AsyncClient, registered: dict[str, Any]
) -> None:
    answers = await asyncio.gather(*(refresh(client, registered["refresh_token"]) for _ in range(6)))
    assert sorted(answer.status_code for answer in answers) == [200] + [401] * 5


@pytest.mark.parametrize("token", ["x", "x" * 100, "é", "' OR 1=1"])
async def test_refresh_token_that_nobody_issued_is_refused(client: httpx.AsyncClient, token: str) -> None:
    assert problem(await refresh(client, token)) == (401, "invalid-refresh-token")


async def test_expired_refresh_token_is_refused(
    client: httpx.AsyncClient, registered: dict[str, Any], rows: AsyncEngine
) -> None:
    async with rows.begin() as connection:
        statement = text("UPDATE sessions SET expires_at = UTC_TIMESTAMP(6) WHERE user_id = :id")
        await connection.execute(statement, {"id": registered["user"]["id"]})
    assert problem(await refresh(client, registered["refresh_token"])) == (401, "invalid-refresh-token")


async def test_logout_ends_the_session_and_can_be_repeated(
    client: httpx.AsyncClient, registered: dict[str, Any]
) -> None:
    body = {"refresh_token": registered["refresh_token"]}
    for _ in range(2):
        assert (await client.post("/v1/logout", json=body)).status_code == 204
    assert problem(await refresh(client, registered["refresh_token"])) == (401, "invalid-refresh-token")


async def test_refresh_tokens_are_kept_as_hashes(registered: dict[str, Any], rows: AsyncEngine) -> None:
    async with rows.connect() as connection:
        statement = text("SELECT * FROM sessions WHERE user_id = :id")
        stored = (await connection.execute(statement, {"id": registered["user"]["id"]})).mappings().all()
    assert len(stored) == 1
    assert registered["refresh_token"] not in str(stored)
