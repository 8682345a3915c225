"""Login, refresh, logout, and reuse of stolen tokens."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from jose import jwt
from pydantic import SecretStr, ValidationError
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.opaque_tokens import token_hash
from auth_service.sessions.refresh_tokens import family_of
from auth_service.settings import Settings
from support.auth_app import AdjustableClock, Form, Register, RegisteredUser, client_of, events_of, log_in, running_app
from support.responses import bearer, problem


async def refresh(client: httpx.AsyncClient, token: str) -> httpx.Response:
    return await client.post("/v1/refresh", json={"refresh_token": token})


async def test_login_by_username_or_email_ignores_case(
    client: httpx.AsyncClient, form: Form, registered: RegisteredUser
) -> None:
    for login in (form["username"], form["username"].upper(), form["email"], form["email"].upper()):
        answer = await client.post("/v1/login", json={"login": login, "password": form["password"]})
        assert answer.status_code == 200, login
        assert answer.json().keys() == {"access_token", "refresh_token", "token_type", "expires_in", "scope"}


async def test_failed_logins_have_identical_responses(
    client: httpx.AsyncClient, form: Form, registered: RegisteredUser
) -> None:
    answers = [
        await client.post("/v1/login", json={"login": login, "password": password})
        for login, password in (
            (form["username"], "wrong password"),
            ("nobody_here", form["password"]),
            ("nobody@example.com", form["password"]),
            (form["username"], form["password"] + " "),
            ("' OR 1=1 -- ", "x"),
        )
    ]
    assert {problem(answer) for answer in answers} == {(401, "invalid-credentials")}
    bodies = [{name: value for name, value in answer.json().items() if name != "request_id"} for answer in answers]
    assert all(body == bodies[0] for body in bodies)


async def test_access_token_follows_rfc_9068(client: httpx.AsyncClient, registered: RegisteredUser) -> None:
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


async def test_refresh_rotates_and_stays_in_the_session(client: httpx.AsyncClient, registered: RegisteredUser) -> None:
    answer = await refresh(client, registered["refresh_token"])
    assert answer.status_code == 200
    before, after = (jwt.get_unverified_claims(body["access_token"]) for body in (registered, answer.json()))
    assert before["sid"] == after["sid"]
    assert before["jti"] != after["jti"]
    assert (await refresh(client, answer.json()["refresh_token"])).status_code == 200


async def test_lost_refresh_can_be_repeated_for_ten_seconds(
    client: httpx.AsyncClient, registered: RegisteredUser, clock: AdjustableClock
) -> None:
    clock.freeze()
    first = (await refresh(client, registered["refresh_token"])).json()
    clock.advance(seconds=9)
    again = await refresh(client, registered["refresh_token"])
    assert again.status_code == 200
    assert again.json()["refresh_token"] == first["refresh_token"]
    assert (await refresh(client, first["refresh_token"])).status_code == 200


async def test_reused_refresh_token_revokes_its_family_and_no_other(
    client: httpx.AsyncClient, registered: RegisteredUser, clock: AdjustableClock
) -> None:
    elsewhere = await log_in(client, registered)
    successor = (await refresh(client, registered["refresh_token"])).json()
    clock.advance(seconds=11)
    assert problem(await refresh(client, registered["refresh_token"])) == (401, "refresh-token-reused")
    assert problem(await refresh(client, successor["refresh_token"])) == (401, "invalid-refresh-token")
    assert problem(await client.get("/v1/users/me", headers=bearer(successor))) == (401, "invalid-token")
    assert (await refresh(client, elsewhere["refresh_token"])).status_code == 200


async def test_token_whose_successor_was_used_has_no_grace_period(
    client: httpx.AsyncClient, registered: RegisteredUser
) -> None:
    successor = (await refresh(client, registered["refresh_token"])).json()
    latest = (await refresh(client, successor["refresh_token"])).json()
    assert problem(await refresh(client, registered["refresh_token"])) == (401, "refresh-token-reused")
    assert problem(await refresh(client, latest["refresh_token"])) == (401, "invalid-refresh-token")


async def test_token_spent_long_ago_still_ends_its_session(
    client: httpx.AsyncClient, registered: RegisteredUser, clock: AdjustableClock
) -> None:
    token = registered["refresh_token"]
    for _ in range(3):
        clock.advance(hours=1)
        token = (await refresh(client, token)).json()["refresh_token"]
    assert problem(await refresh(client, registered["refresh_token"])) == (401, "refresh-token-reused")
    assert problem(await refresh(client, token)) == (401, "invalid-refresh-token")


async def test_concurrent_refreshes_have_exactly_one_successor(
    client: httpx.AsyncClient, registered: RegisteredUser, rows: AsyncEngine
) -> None:
    answers = await asyncio.gather(*(refresh(client, registered["refresh_token"]) for _ in range(8)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["refresh_token"] for answer in answers}) == 1
    async with rows.connect() as connection:
        exchanges = "SELECT SUM(refreshes) FROM sessions WHERE user_id = :id"
        assert await connection.scalar(text(exchanges), {"id": registered["user"]["id"]}) == 1


@pytest.mark.parametrize(("remember_me", "hours"), [(False, 12), (True, 30 * 24)])
async def test_refreshes_do_not_prolong_a_session(
    client: httpx.AsyncClient, registered: RegisteredUser, clock: AdjustableClock, remember_me: bool, hours: int
) -> None:
    token = (await log_in(client, registered, remember_me=remember_me))["refresh_token"]
    for _ in range(4):
        clock.advance(hours=hours / 4, seconds=-20)
        answer = await refresh(client, token)
        assert answer.status_code == 200
        token = answer.json()["refresh_token"]
    clock.advance(seconds=81)
    assert problem(await refresh(client, token)) == (401, "invalid-refresh-token")


async def test_access_token_does_not_outlive_its_session(
    client: httpx.AsyncClient, registered: RegisteredUser, clock: AdjustableClock
) -> None:
    begun = jwt.get_unverified_claims(registered["access_token"])["iat"]
    token = registered["refresh_token"]
    for minutes in (11 * 60 + 40, 15):
        clock.advance(minutes=minutes)
        answer = await client.post("/v1/refresh", json={"refresh_token": token})
        renewed = answer.raise_for_status().json()
        token, claims = renewed["refresh_token"], jwt.get_unverified_claims(renewed["access_token"])
        assert claims["exp"] <= begun + 12 * 3600 + 1
        assert abs(claims["iat"] + renewed["expires_in"] - claims["exp"]) <= 1
    assert 0 < renewed["expires_in"] <= 300


@pytest.mark.parametrize(("remember_me", "seconds"), [(False, 3600), (True, 7200)])
async def test_lifetimes_of_sessions_are_settings(
    settings: Settings, registered: RegisteredUser, remember_me: bool, seconds: int
) -> None:
    clock = AdjustableClock()
    lifetimes = {"auth_session_seconds": 3600, "auth_remembered_session_seconds": 7200}
    async with running_app(settings, clock, **lifetimes) as app, client_of(app) as client:
        tokens = await log_in(client, registered, remember_me=remember_me)
        clock.advance(seconds=seconds - 20)
        answer = await refresh(client, tokens["refresh_token"])
        assert answer.status_code == 200
        clock.advance(seconds=21)
        assert problem(await refresh(client, answer.json()["refresh_token"])) == (401, "invalid-refresh-token")


@pytest.mark.parametrize(("seconds", "status"), [(20, 200), (22, 401)])
async def test_grace_period_of_a_refresh_is_a_setting(
    settings: Settings, registered: RegisteredUser, seconds: int, status: int
) -> None:
    clock = AdjustableClock()
    clock.freeze()
    async with running_app(settings, clock, auth_refresh_grace_seconds=21) as app, client_of(app) as client:
        assert (await refresh(client, registered["refresh_token"])).status_code == 200
        clock.advance(seconds=seconds)
        assert (await refresh(client, registered["refresh_token"])).status_code == status


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"auth_session_seconds": 899}, "AUTH_SESSION_SECONDS is shorter than AUTH_ACCESS_TOKEN_SECONDS"),
        ({"auth_remembered_session_seconds": 3600}, "AUTH_REMEMBERED_SESSION_SECONDS is shorter than AUTH_SESSION"),
        ({"auth_session_seconds": 0}, "auth_session_seconds"),
        ({"auth_remembered_session_seconds": -1}, "auth_remembered_session_seconds"),
        ({"auth_refresh_grace_seconds": -1}, "auth_refresh_grace_seconds"),
        ({"auth_refresh_grace_seconds": 61}, "auth_refresh_grace_seconds"),
    ],
)
def test_invalid_lifetime_is_refused(variables: dict[str, int], named: str) -> None:
    with pytest.raises(ValidationError, match=named):
        Settings(mysql_url=SecretStr("mysql://user:password@127.0.0.1:1/auth"), **variables)  # type: ignore[arg-type]


@pytest.mark.parametrize("token", ["x", "x" * 100, "é", "' OR 1=1"])
async def test_forged_refresh_token_is_refused(client: httpx.AsyncClient, token: str) -> None:
    assert problem(await refresh(client, token)) == (401, "invalid-refresh-token")


async def test_expired_refresh_token_is_refused(
    client: httpx.AsyncClient, registered: RegisteredUser, rows: AsyncEngine
) -> None:
    async with rows.begin() as connection:
        statement = text("UPDATE sessions SET expires_at = UTC_TIMESTAMP(6) WHERE user_id = :id")
        await connection.execute(statement, {"id": registered["user"]["id"]})
    assert problem(await refresh(client, registered["refresh_token"])) == (401, "invalid-refresh-token")


async def test_logout_ends_the_session_and_is_idempotent(client: httpx.AsyncClient, registered: RegisteredUser) -> None:
    body = {"refresh_token": registered["refresh_token"]}
    for _ in range(2):
        assert (await client.post("/v1/logout", json=body)).status_code == 204
    assert problem(await refresh(client, registered["refresh_token"])) == (401, "invalid-refresh-token")


@pytest.mark.parametrize("token", ["expired", "revoked", "not a token"])
async def test_logout_with_a_refresh_token_needs_no_valid_access_token(
    client: httpx.AsyncClient, registered: RegisteredUser, clock: AdjustableClock, token: str
) -> None:
    tokens, refresh = registered, {"refresh_token": registered["refresh_token"]}
    if token == "expired":
        clock.advance(hours=1)
    elif token == "revoked":
        tokens = await log_in(client, registered)
        assert (await client.post("/v1/logout", json={}, headers=bearer(tokens))).status_code == 204
    else:
        tokens = {"access_token": token}
    assert problem(await client.get("/v1/users/me", headers=bearer(tokens))) == (401, "invalid-token")
    assert (await client.post("/v1/logout", json=refresh, headers=bearer(tokens))).status_code == 204
    assert problem(await client.post("/v1/refresh", json=refresh)) == (401, "invalid-refresh-token")


@pytest.mark.parametrize("body", [{}, {"refresh_token": None}, None])
async def test_logout_without_a_refresh_token_ends_the_session_of_the_access_token(
    client: httpx.AsyncClient, registered: RegisteredUser, body: dict[str, None] | None
) -> None:
    assert (await client.post("/v1/logout", json=body, headers=bearer(registered))).status_code == 204
    assert problem(await client.get("/v1/users/me", headers=bearer(registered))) == (401, "invalid-token")
    assert problem(await client.post("/v1/logout", json=body, headers=bearer(registered))) == (401, "invalid-token")
    assert problem(await client.post("/v1/logout", json=body)) == (401, "not-authenticated")


async def test_logout_with_an_access_token_ends_its_session(
    client: httpx.AsyncClient, registered: RegisteredUser
) -> None:
    assert (await client.post("/v1/logout", headers=bearer(registered))).status_code == 204
    assert problem(await client.get("/v1/users/me", headers=bearer(registered))) == (401, "invalid-token")
    assert problem(await refresh(client, registered["refresh_token"])) == (401, "invalid-refresh-token")
    assert problem(await client.post("/v1/logout")) == (401, "not-authenticated")


def _session_of(tokens: dict[str, Any]) -> str:
    return str(jwt.get_unverified_claims(tokens["access_token"])["sid"])


async def _revocation_of(rows: AsyncEngine, user: RegisteredUser) -> tuple[list[str], datetime | None]:
    """The ended sessions that the account carries to the other services, and since when all tokens are revoked."""
    query = text("SELECT ended_sessions, tokens_valid_after FROM users WHERE id = :id")
    async with rows.connect() as connection:
        row = (await connection.execute(query, user["user"])).one()
    return (row[0] or "").split(), row[1]


@pytest.mark.parametrize("way", ["access token", "refresh token", "list of sessions", "reuse"])
async def test_account_carries_the_sessions_that_ended(
    client: httpx.AsyncClient, registered: RegisteredUser, rows: AsyncEngine, way: str
) -> None:
    elsewhere = await log_in(client, registered)
    ended, refresh_token = _session_of(elsewhere), {"refresh_token": elsewhere["refresh_token"]}
    match way:
        case "access token":
            answer = await client.post("/v1/logout", headers=bearer(elsewhere))
        case "refresh token":
            answer = await client.post("/v1/logout", json=refresh_token)
        case "list of sessions":
            answer = await client.delete(f"/v1/sessions/{ended}", headers=bearer(registered))
        case _:
            for _ in range(2):
                answer = await client.post("/v1/refresh", json=refresh_token)
                await client.post("/v1/refresh", json={"refresh_token": answer.json().get("refresh_token", "x")})
    assert answer.status_code == (401 if way == "reuse" else 204), answer.text
    assert await _revocation_of(rows, registered) == ([ended], None)
    assert (await client.get("/v1/users/me", headers=bearer(registered))).status_code == 200


async def test_account_carries_a_session_until_its_access_tokens_have_expired(
    client: httpx.AsyncClient, registered: RegisteredUser, rows: AsyncEngine, clock: AdjustableClock
) -> None:
    first, second = await log_in(client, registered), await log_in(client, registered)
    for tokens in (first, second):
        await client.post("/v1/logout", json={"refresh_token": tokens["refresh_token"]})
    assert (await _revocation_of(rows, registered))[0] == [_session_of(first), _session_of(second)]
    clock.advance(seconds=3601)
    third = await log_in(client, registered)
    await client.post("/v1/logout", json={"refresh_token": third["refresh_token"]})
    assert (await _revocation_of(rows, registered))[0] == [_session_of(third)]
    # All tokens of earlier sessions are revoked by their time.
    await client.post("/v1/logout-all", headers=bearer(await log_in(client, registered)))
    carried, revoked_at = await _revocation_of(rows, registered)
    assert (carried, revoked_at is not None) == ([], True)


async def test_very_many_ended_sessions_revoke_all_access_tokens(
    client: httpx.AsyncClient, registered: RegisteredUser, rows: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("auth_service.sessions.service._MAX_ENDED_SESSIONS", 2)
    for _ in range(3):
        tokens = await log_in(client, registered)
        await client.post("/v1/logout", json={"refresh_token": tokens["refresh_token"]})
    carried, revoked_at = await _revocation_of(rows, registered)
    assert (carried, revoked_at is not None) == ([], True)
    assert problem(await client.get("/v1/users/me", headers=bearer(registered))) == (401, "invalid-token")
    assert (await refresh(client, registered["refresh_token"])).status_code == 200


async def test_sessions_show_address_and_client(
    app: FastAPI, client: httpx.AsyncClient, registered: RegisteredUser
) -> None:
    async with client_of(app, "192.0.2.9", **{"User-Agent": "phone of ada " + "x" * 300}) as phone:
        elsewhere = await log_in(phone, registered)
    items = (await client.get("/v1/sessions", headers=bearer(registered))).json()["items"]
    assert [(each["address"], each["is_current"]) for each in items] == [("192.0.2.9", False), ("192.0.2.77", True)]
    assert items[0]["client"].startswith("phone")
    assert len(items[0]["client"]) <= 200
    seen = (await client.get("/v1/sessions", headers=bearer(elsewhere))).json()["items"]
    assert [each["is_current"] for each in seen] == [True, False]
    assert items[0]["created_at"] <= items[0]["last_used_at"] < items[0]["expires_at"]


async def test_renewed_session_moves_up_in_the_list(client: httpx.AsyncClient, registered: RegisteredUser) -> None:
    elsewhere = await log_in(client, registered)
    await refresh(client, registered["refresh_token"])
    items = (await client.get("/v1/sessions", headers=bearer(elsewhere))).json()["items"]
    assert [each["is_current"] for each in items] == [False, True]
    assert items[0]["last_used_at"] > items[0]["created_at"]


async def test_list_of_sessions_has_pages(client: httpx.AsyncClient, registered: RegisteredUser) -> None:
    for _ in range(4):
        newest = await log_in(client, registered)
    whole = (await client.get("/v1/sessions", headers=bearer(newest))).json()
    assert whole["next_cursor"] is None
    seen, cursor = [], None
    while True:
        params = {"limit": 2, **({"cursor": cursor} if cursor else {})}
        page = await client.get("/v1/sessions", params=params, headers=bearer(newest))
        seen += page.json()["items"]
        cursor = page.json()["next_cursor"]
        assert ("link" in page.headers) == (cursor is not None)
        if cursor is None:
            break
        assert len(page.json()["items"]) == 2
    assert seen == whole["items"]
    assert [each["id"] for each in seen[::4]] == [_session_of(newest), _session_of(registered)]


async def _live_sessions(client: httpx.AsyncClient, tokens: dict[str, Any]) -> list[str]:
    items = (await client.get("/v1/sessions", headers=bearer(tokens))).json()["items"]
    return [each["id"] for each in items]


@pytest.fixture
async def three_sessions(settings: Settings, clock: AdjustableClock) -> AsyncIterator[httpx.AsyncClient]:
    """A replica that allows three sessions of an account."""
    async with running_app(settings, clock, auth_sessions_per_account=3) as app, client_of(app) as client:
        yield client


async def test_login_ends_the_least_recently_used_session_beyond_the_limit(
    three_sessions: httpx.AsyncClient, registered: RegisteredUser, rows: AsyncEngine, admin: RegisteredUser
) -> None:
    client = three_sessions
    second, third = await log_in(client, registered), await log_in(client, registered)
    await refresh(client, registered["refresh_token"])
    fourth = await log_in(client, registered)
    assert await _live_sessions(client, fourth) == [_session_of(each) for each in (fourth, registered, third)]
    assert problem(await client.get("/v1/users/me", headers=bearer(second))) == (401, "invalid-token")
    assert problem(await refresh(client, second["refresh_token"])) == (401, "invalid-refresh-token")
    assert await _revocation_of(rows, registered) == ([_session_of(second)], None)
    (event,) = await events_of(client, admin, user=registered["user"]["id"], event="authn_token_revoked")
    assert event["details"] == {"session_id": _session_of(second), "reason": "too-many-sessions"}


async def test_session_that_was_idle_ends_without_a_change_of_the_account(
    three_sessions: httpx.AsyncClient, registered: RegisteredUser, rows: AsyncEngine, clock: AdjustableClock
) -> None:
    """Its access token has expired, so that no other service needs to know."""
    client = three_sessions
    for _ in range(2):
        await log_in(client, registered)
    clock.advance(minutes=16)
    newest = await log_in(client, registered)
    assert _session_of(registered) not in await _live_sessions(client, newest)
    assert await _revocation_of(rows, registered) == ([], None)


async def test_logins_of_an_account_are_limited(
    settings: Settings, clock: AdjustableClock, registered: RegisteredUser
) -> None:
    """Each adds to the sessions and to the audit trail. A logout gives none back."""
    clock.freeze()
    async with running_app(settings, clock, auth_logins_per_account=4) as app, client_of(app) as client:
        for _ in range(3):
            tokens = await log_in(client, registered)
            await client.post("/v1/logout", json={"refresh_token": tokens["refresh_token"]})
        login = {"login": registered["form"]["username"], "password": registered["form"]["password"]}
        refused = await client.post("/v1/login", json=login)
        assert problem(refused) == (429, "too-many-requests")
        assert refused.headers["ratelimit-policy"] == '"logins-account";q=4;w=900'
        wait = int(refused.headers["retry-after"])
        assert 0 < wait <= 900
        clock.advance(seconds=wait)
        assert (await client.post("/v1/login", json=login)).status_code == 200


async def _refresh_often(
    client: httpx.AsyncClient, registered: RegisteredUser, clock: AdjustableClock, times: int
) -> str:
    """As fast as the limit allows. Returns the newest token."""
    token = registered["refresh_token"]
    for _ in range(times):
        answer = await refresh(client, token)
        if answer.status_code == 429:
            clock.advance(seconds=int(answer.headers["retry-after"]))
            answer = await refresh(client, token)
        token = answer.raise_for_status().json()["refresh_token"]
    return token


async def test_reuse_of_a_token_ends_its_session_after_any_number_of_refreshes(
    client: httpx.AsyncClient, registered: RegisteredUser, clock: AdjustableClock
) -> None:
    """A thief who refreshes often must not make the owner's token unknown."""
    thiefs = await _refresh_often(client, registered, clock, times=201)
    assert problem(await refresh(client, registered["refresh_token"])) == (401, "refresh-token-reused")
    assert problem(await refresh(client, thiefs)) == (401, "invalid-refresh-token")


async def test_logout_with_a_token_of_long_ago_ends_its_session(
    client: httpx.AsyncClient, registered: RegisteredUser, clock: AdjustableClock
) -> None:
    thiefs = await _refresh_often(client, registered, clock, times=201)
    logout = await client.post("/v1/logout", json={"refresh_token": registered["refresh_token"]})
    assert logout.status_code == 204
    assert problem(await refresh(client, thiefs)) == (401, "invalid-refresh-token")


async def test_refreshes_of_a_session_are_limited(
    settings: Settings, clock: AdjustableClock, registered: RegisteredUser
) -> None:
    """Each is a write."""
    clock.freeze()
    async with running_app(settings, clock, auth_refreshes_per_session=3) as app, client_of(app) as client:
        elsewhere, token = await log_in(client, registered), registered["refresh_token"]
        for _ in range(3):
            clock.advance(seconds=1)
            former, token = token, (await refresh(client, token)).json()["refresh_token"]
        assert (await refresh(client, former)).json()["refresh_token"] == token, "a lost response costs nothing"
        refused = await refresh(client, token)
        assert problem(refused) == (429, "too-many-requests")
        assert refused.headers["ratelimit-policy"] == '"refreshes-session";q=3;w=900'
        assert int(refused.headers["retry-after"]) == 898
        assert (await refresh(client, elsewhere["refresh_token"])).status_code == 200
        clock.advance(seconds=898)
        assert (await refresh(client, token)).status_code == 200


async def test_refused_refresh_of_a_browser_keeps_its_cookie(
    settings: Settings, clock: AdjustableClock, registered: RegisteredUser
) -> None:
    own_page = {"X-Tandem-Browser": "1", "Sec-Fetch-Site": "same-origin"}
    login = {"login": registered["form"]["username"], "password": registered["form"]["password"]}
    async with running_app(settings, clock, auth_refreshes_per_session=1) as app, client_of(app) as client:
        (await client.post("/v1/browser/login", json=login, headers=own_page)).raise_for_status()
        (await client.post("/v1/browser/refresh", headers=own_page)).raise_for_status()
        refused = await client.post("/v1/browser/refresh", headers=own_page)
        assert problem(refused) == (429, "too-many-requests")
        assert "set-cookie" not in refused.headers


async def test_user_ends_one_of_several_sessions(client: httpx.AsyncClient, registered: RegisteredUser) -> None:
    stolen = await log_in(client, registered)
    session_id = jwt.get_unverified_claims(stolen["access_token"])["sid"]
    assert (await client.delete(f"/v1/sessions/{session_id}", headers=bearer(registered))).status_code == 204
    assert problem(await client.get("/v1/users/me", headers=bearer(stolen))) == (401, "invalid-token")
    assert problem(await refresh(client, stolen["refresh_token"])) == (401, "invalid-refresh-token")
    again = await client.delete(f"/v1/sessions/{session_id}", headers=bearer(registered))
    assert problem(again) == (404, "session-not-found")
    assert (await client.get("/v1/users/me", headers=bearer(registered))).status_code == 200


async def test_session_of_another_user_can_not_be_ended(
    client: httpx.AsyncClient, registered: RegisteredUser, register: Register
) -> None:
    stranger = await register()
    session_id = jwt.get_unverified_claims(registered["access_token"])["sid"]
    answer = await client.delete(f"/v1/sessions/{session_id}", headers=bearer(stranger))
    assert problem(answer) == (404, "session-not-found")
    assert (await client.get("/v1/users/me", headers=bearer(registered))).status_code == 200


async def test_logout_everywhere_ends_every_session_and_every_access_token(
    client: httpx.AsyncClient, registered: RegisteredUser, rows: AsyncEngine
) -> None:
    elsewhere = await log_in(client, registered)
    assert (await client.post("/v1/logout-all", headers=bearer(registered))).status_code == 204
    for tokens in (registered, elsewhere):
        assert problem(await client.get("/v1/users/me", headers=bearer(tokens))) == (401, "invalid-token")
        assert problem(await refresh(client, tokens["refresh_token"])) == (401, "invalid-refresh-token")
    async with rows.connect() as connection:
        query = text("SELECT tokens_valid_after FROM users WHERE id = :id")
        assert await connection.scalar(query, {"id": registered["user"]["id"]}) is not None
    renewed = await log_in(client, registered)
    assert (await client.get("/v1/users/me", headers=bearer(renewed))).status_code == 200


async def test_responses_with_tokens_are_not_cached(client: httpx.AsyncClient, registered: RegisteredUser) -> None:
    login = {"login": registered["form"]["username"], "password": registered["form"]["password"]}
    for answer in (await client.post("/v1/login", json=login), await refresh(client, registered["refresh_token"])):
        assert answer.headers["cache-control"] == "no-store"


async def test_refresh_tokens_are_stored_as_hashes(
    client: httpx.AsyncClient, registered: RegisteredUser, rows: AsyncEngine
) -> None:
    successor = (await refresh(client, registered["refresh_token"])).json()
    async with rows.connect() as connection:
        statement = text("SELECT * FROM sessions WHERE user_id = :id")
        (stored,) = (await connection.execute(statement, {"id": registered["user"]["id"]})).mappings().all()
    assert stored["token_hash"] == token_hash(successor["refresh_token"])
    for token in (registered["refresh_token"], successor["refresh_token"]):
        assert token not in str(stored)
        assert family_of(token)
        assert str(family_of(token)) not in str(stored)
