"""Sessions of browsers: scripts can't read the cookie, and other sites can't use it."""

from collections.abc import AsyncIterator
from http.cookies import Morsel, SimpleCookie
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.datastructures import Headers

from auth_service.browser.same_origin import is_same_origin
from auth_service.settings import Settings
from support.auth_app import (
    AdjustableClock,
    Form,
    NewForm,
    Register,
    RegisteredUser,
    client_of,
    events_of,
    log_in,
    running_app,
)
from support.responses import bearer, problem

OWN = {"X-Tandem-Browser": "1", "Origin": "http://auth.test", "Sec-Fetch-Site": "same-origin"}
DAY = 24 * 60 * 60


@pytest.fixture
async def browser(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A page of this site in a browser that keeps cookies."""
    async with client_of(app, **OWN) as client:
        yield client


def cookie_of(answer: httpx.Response) -> Morsel[str]:
    (header,) = answer.headers.get_list("set-cookie")
    (cookie,) = SimpleCookie(header).values()
    return cookie


def credentials_of(user: RegisteredUser, **more: Any) -> Form:
    return {"login": user["form"]["username"], "password": user["form"]["password"], **more}


async def begin(browser: httpx.AsyncClient, user: RegisteredUser, **more: Any) -> httpx.Response:
    answer = await browser.post("/v1/browser/login", json=credentials_of(user, **more))
    assert answer.status_code == 200, answer.text
    return answer


async def test_refresh_token_is_in_the_cookie_only(browser: httpx.AsyncClient, registered: RegisteredUser) -> None:
    answer = await begin(browser, registered)
    assert answer.json().keys() == {"access_token", "token_type", "expires_in", "scope"}
    assert answer.headers["cache-control"] == "no-store"
    cookie = cookie_of(answer)
    assert cookie.value not in answer.text
    assert (cookie.key, cookie["path"], cookie["samesite"]) == ("tandem_refresh", "/v1/browser", "Strict")
    assert (cookie["httponly"], cookie["secure"], cookie["domain"], cookie["max-age"]) == (True, "", "", "")
    assert (await browser.get("/v1/users/me", headers=bearer(answer.json()))).status_code == 200


async def test_registration_in_a_browser_logs_in(browser: httpx.AsyncClient, form: Form) -> None:
    answer = await browser.post("/v1/browser/register", json=form)
    assert answer.status_code == 201
    assert answer.json().keys() == {"access_token", "token_type", "expires_in", "scope", "user"}
    assert cookie_of(answer).value
    assert answer.json()["user"]["username"] == form["username"]
    taken = await browser.post("/v1/browser/register", json={**form, "email": "other@example.com"})
    assert problem(taken) == (409, "username-taken")
    assert taken.json()["errors"][0]["pointer"] == "#/username"


async def test_registration_in_a_browser_can_not_set_a_role(browser: httpx.AsyncClient, form: Form) -> None:
    answer = await browser.post("/v1/browser/register", json={**form, "role": "admin"})
    assert problem(answer) == (403, "forbidden")


async def test_cookie_is_renewed_with_each_refresh(browser: httpx.AsyncClient, registered: RegisteredUser) -> None:
    first = cookie_of(await begin(browser, registered)).value
    answer = await browser.post("/v1/browser/refresh")
    assert answer.status_code == 200
    assert answer.json().keys() == {"access_token", "token_type", "expires_in", "scope"}
    assert cookie_of(answer).value not in ("", first)
    assert (await browser.post("/v1/browser/refresh")).status_code == 200


async def test_only_remembered_sessions_survive_closing_the_browser(
    browser: httpx.AsyncClient, registered: RegisteredUser, clock: AdjustableClock
) -> None:
    cookie = cookie_of(await begin(browser, registered, remember_me=True))
    assert cookie["max-age"] == str(30 * DAY)
    clock.advance(days=10)
    renewed = cookie_of(await browser.post("/v1/browser/refresh"))
    assert 20 * DAY - 60 < int(renewed["max-age"]) <= 20 * DAY
    await begin(browser, registered)
    assert cookie_of(await browser.post("/v1/browser/refresh"))["max-age"] == ""


async def test_session_stays_remembered_or_not_when_lifetimes_change(
    settings: Settings, browser: httpx.AsyncClient, registered: RegisteredUser
) -> None:
    changed = {"auth_session_seconds": 60 * DAY, "auth_remembered_session_seconds": 90 * DAY}
    for remember_me in (True, False):
        token = cookie_of(await begin(browser, registered, remember_me=remember_me)).value
        headers = OWN | {"Cookie": f"tandem_refresh={token}"}
        async with running_app(settings, **changed) as app, client_of(app, **headers) as client:
            assert bool(cookie_of(await client.post("/v1/browser/refresh"))["max-age"]) == remember_me


async def test_reused_cookie_ends_the_session_and_is_deleted(
    app: FastAPI, browser: httpx.AsyncClient, registered: RegisteredUser, clock: AdjustableClock
) -> None:
    stolen = cookie_of(await begin(browser, registered)).value
    await browser.post("/v1/browser/refresh")
    clock.advance(seconds=11)
    async with client_of(app, **OWN, Cookie=f"tandem_refresh={stolen}") as thief:
        refused = await thief.post("/v1/browser/refresh")
    assert problem(refused) == (401, "refresh-token-reused")
    assert (cookie_of(refused).value, cookie_of(refused)["max-age"]) == ("", "0")
    assert cookie_of(refused)["path"] == "/v1/browser"
    answer = await browser.post("/v1/browser/refresh")
    assert problem(answer) == (401, "invalid-refresh-token")
    assert not browser.cookies


async def test_repeated_refresh_sets_the_same_cookie(
    app: FastAPI, browser: httpx.AsyncClient, registered: RegisteredUser
) -> None:
    """For example from two tabs without Web Locks, or after a broken connection."""
    lost = cookie_of(await begin(browser, registered)).value
    first = cookie_of(await browser.post("/v1/browser/refresh")).value
    async with client_of(app, **OWN, Cookie=f"tandem_refresh={lost}") as again:
        assert cookie_of(await again.post("/v1/browser/refresh")).value == first


@pytest.mark.parametrize("cookie", ["", "tandem_refresh=", "tandem_refresh=x", "tandem_refresh=" + "x" * 3000, "a=b"])
async def test_missing_or_unknown_cookie_is_refused(app: FastAPI, cookie: str) -> None:
    async with client_of(app, **OWN, Cookie=cookie) as client:
        assert problem(await client.post("/v1/browser/refresh")) == (401, "invalid-refresh-token")


async def test_refresh_token_in_the_body_is_not_accepted_as_cookie(
    browser: httpx.AsyncClient, registered: RegisteredUser
) -> None:
    body = {"refresh_token": registered["refresh_token"]}
    assert problem(await browser.post("/v1/browser/refresh", json=body)) == (401, "invalid-refresh-token")


async def test_cookie_does_not_authenticate_other_endpoints(app: FastAPI, registered: RegisteredUser) -> None:
    async with client_of(app, **OWN, Cookie=f"tandem_refresh={registered['refresh_token']}") as client:
        assert problem(await client.post("/v1/refresh")) == (422, "validation-failed")
        assert problem(await client.post("/v1/logout")) == (401, "not-authenticated")
        assert problem(await client.get("/v1/users/me")) == (401, "not-authenticated")


async def test_logout_ends_the_session_and_deletes_the_cookie(
    browser: httpx.AsyncClient, registered: RegisteredUser
) -> None:
    tokens = (await begin(browser, registered)).json()
    for _ in range(2):
        answer = await browser.post("/v1/browser/logout")
        assert answer.status_code == 204
        assert (cookie_of(answer).value, cookie_of(answer)["max-age"]) == ("", "0")
    assert not browser.cookies
    assert problem(await browser.get("/v1/users/me", headers=bearer(tokens))) == (401, "invalid-token")


@pytest.mark.parametrize("body", [{"json": {}}, {}], ids=["an empty object", "no body"])
async def test_logout_in_a_browser_ignores_the_access_token(
    browser: httpx.AsyncClient, registered: RegisteredUser, body: dict[str, Any]
) -> None:
    tokens = (await begin(browser, registered)).json()
    answer = await browser.post("/v1/browser/logout", headers={"Authorization": "Bearer expired"}, **body)
    assert answer.status_code == 204
    assert problem(await browser.get("/v1/users/me", headers=bearer(tokens))) == (401, "invalid-token")


async def test_login_in_a_browser_ends_its_previous_session(
    browser: httpx.AsyncClient, registered: RegisteredUser
) -> None:
    tokens = (await begin(browser, registered)).json()
    await begin(browser, registered)
    assert problem(await browser.get("/v1/users/me", headers=bearer(tokens))) == (401, "invalid-token")
    assert (await browser.get("/v1/users/me", headers=bearer(registered))).status_code == 200


async def test_failed_login_keeps_the_present_session(browser: httpx.AsyncClient, registered: RegisteredUser) -> None:
    await begin(browser, registered)
    answer = await browser.post("/v1/browser/login", json=credentials_of(registered) | {"password": "wrong password"})
    assert problem(answer) == (401, "invalid-credentials")
    assert "set-cookie" not in answer.headers
    assert (await browser.post("/v1/browser/refresh")).status_code == 200


FOREIGN = {
    "no header of our own": {"Origin": "http://auth.test", "Sec-Fetch-Site": "same-origin"},
    "another header": OWN | {"X-Tandem-Browser": "0"},
    "a form of another site": {"Origin": "http://evil.test", "Sec-Fetch-Site": "cross-site"},
    "another site with the header": {
        "X-Tandem-Browser": "1",
        "Origin": "http://evil.test",
        "Sec-Fetch-Site": "cross-site",
    },
    "a neighbouring site": {
        "X-Tandem-Browser": "1",
        "Origin": "http://evil.auth.test",
        "Sec-Fetch-Site": "same-site",
    },
    "another port of ours": {"X-Tandem-Browser": "1", "Origin": "http://auth.test:81", "Sec-Fetch-Site": "same-site"},
    "a foreign origin of an old browser": {"X-Tandem-Browser": "1", "Origin": "http://evil.test"},
    "a sandboxed frame": {"X-Tandem-Browser": "1", "Origin": "null", "Sec-Fetch-Site": "cross-site"},
    "a frame's empty origin": {"X-Tandem-Browser": "1", "Origin": ""},
    "an address typed in": {"X-Tandem-Browser": "1", "Sec-Fetch-Site": "none"},
    "no browser": {"X-Tandem-Browser": "1"},
    "our name in theirs": {"X-Tandem-Browser": "1", "Origin": "http://auth.test.evil.test"},
    "our name as their user": {"X-Tandem-Browser": "1", "Origin": "http://auth.test@evil.test"},
    "half an address": {"X-Tandem-Browser": "1", "Origin": "http://["},
    "no address": {"X-Tandem-Browser": "1", "Origin": "http://[auth.test]"},
    "no scheme": {"X-Tandem-Browser": "1", "Origin": "//auth.test"},
}


@pytest.mark.parametrize("foreign", FOREIGN.values(), ids=FOREIGN)
async def test_other_sites_can_neither_use_nor_set_the_cookie(
    app: FastAPI, browser: httpx.AsyncClient, *, registered: RegisteredUser, new_form: NewForm, foreign: dict[str, str]
) -> None:
    cookie = cookie_of(await begin(browser, registered)).value
    calls: dict[str, Form | None] = {
        "refresh": None,
        "logout": None,
        "login": credentials_of(registered),
        "register": new_form(),
    }
    async with client_of(app, **foreign, Cookie=f"tandem_refresh={cookie}") as other:
        for call, body in calls.items():
            answer = await other.post(f"/v1/browser/{call}", json=body)
            assert problem(answer) == (403, "cross-site-request")
            assert "set-cookie" not in answer.headers
    # Neither spent nor ended.
    assert (await browser.post("/v1/browser/refresh")).status_code == 200


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "application/json"])
async def test_form_of_another_site_can_not_log_in_with_any_content_type(
    app: FastAPI, registered: RegisteredUser, content_type: str
) -> None:
    body = httpx.Request("POST", "http://auth.test", json=credentials_of(registered)).content
    headers = {"Content-Type": content_type, "Origin": "http://evil.test", "Sec-Fetch-Site": "cross-site"}
    async with client_of(app, **headers) as other:
        answer = await other.post("/v1/browser/login", content=body)
    assert problem(answer) == (403, "cross-site-request")
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("origin", ["https://tandem.test", "http://10.0.0.7:8080"])
def test_requested_and_public_origin_are_accepted(origin: str) -> None:
    """A proxy that ends TLS may change the host and the scheme that the service sees."""
    headers = Headers({"host": "10.0.0.7:8080", "x-tandem-browser": "1", "origin": origin})
    assert is_same_origin(headers, "https://tandem.test/somewhere")


async def test_preflight_of_another_site_is_refused(browser: httpx.AsyncClient) -> None:
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-tandem-browser"}
    answer = await browser.options("/v1/browser/login", headers={"Origin": "http://evil.test", **asked})
    assert answer.status_code == 405
    assert not [name for name in answer.headers if name.startswith("access-control-")]


async def test_cookie_has_the_public_path_and_is_secure_over_https(
    settings: Settings, registered: RegisteredUser
) -> None:
    changed = {"auth_public_url": "https://tandem.test"}
    headers = OWN | {"X-Forwarded-Prefix": "/api/auth", "Origin": "https://tandem.test"}
    async with running_app(settings, **changed) as app, client_of(app, **headers) as client:
        answer = await begin(client, registered)
    header = answer.headers["set-cookie"]
    name, _, attributes = header.partition("=")
    assert name == "__Secure-tandem_refresh"
    assert attributes.split("; ")[1:] == ["Path=/api/auth/v1/browser", "HttpOnly", "SameSite=Strict", "Secure"]


async def test_registration_with_email_verification_begins_no_session(settings: Settings, form: Form) -> None:
    changed = {"auth_require_email_verification": True}
    async with running_app(settings, **changed) as app, client_of(app, **OWN) as client:
        answer = await client.post("/v1/browser/register", json=form)
        assert (answer.status_code, answer.json()) == (202, {"status": "confirm-your-email"})
        assert "set-cookie" not in answer.headers
        login = {"login": form["username"], "password": form["password"]}
        assert problem(await client.post("/v1/browser/login", json=login)) == (403, "email-not-verified")


async def test_browsers_share_limits_and_audit_trail_with_other_clients(
    settings: Settings, register: Register, admin: RegisteredUser, clock: AdjustableClock
) -> None:
    clock.freeze()
    user = await register()
    wrong = credentials_of(user) | {"password": "wrong password"}
    few = {"auth_login_attempts_per_account": 2}
    async with running_app(settings, clock, **few) as app, client_of(app, **OWN) as client:
        await begin(client, user)
        await client.post("/v1/browser/logout")
        assert problem(await client.post("/v1/login", json=wrong)) == (401, "invalid-credentials")
        answer = await client.post("/v1/browser/login", json=wrong)
        assert problem(answer) == (401, "invalid-credentials")
        assert "ratelimit" in answer.headers
        refused = await client.post("/v1/browser/login", json=credentials_of(user))
        assert problem(refused) == (429, "too-many-requests")
        assert int(refused.headers["retry-after"]) > 0
        events = await events_of(client, admin, user=user["user"]["id"])
    kinds = [event["event"] for event in events]
    assert {"authn_login_success", "authn_login_fail", "authn_token_revoked"} <= set(kinds)
    (success,) = [event for event in events if event["event"] == "authn_login_success"]
    assert success["address"] == "192.0.2.77"


async def test_sessions_of_browsers_and_other_clients_are_in_one_list(
    browser: httpx.AsyncClient, client: httpx.AsyncClient, registered: RegisteredUser
) -> None:
    await log_in(client, registered)
    tokens = (await begin(browser, registered)).json()
    items = (await browser.get("/v1/sessions", headers=bearer(tokens))).json()["items"]
    assert [each["is_current"] for each in items] == [True, False, False]
