"""Hostile text in every field, parameter and header of a request."""

import json
import re
import unicodedata
from collections.abc import Awaitable
from typing import Any, Literal
from urllib.parse import quote, urlencode

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from support.auth_app import NewForm, Register, RegisteredUser, client_of, sign_up
from support.jwt_issuer import segment
from support.responses import bearer, problem

PASSWORD = "correct horse battery staple"

Json = dict[str, Any]


@pytest.fixture(scope="module")
async def insider(app: FastAPI) -> RegisteredUser:
    """An admin, who may call every endpoint."""
    user = await sign_up(app, "insider")
    async with app.state.database.engine.begin() as connection:
        await connection.execute(text("UPDATE users SET role = 'admin' WHERE id = :id"), user["user"])
    async with client_of(app) as client:
        # The token has the scopes of the former role.
        login = {"login": user["user"]["username"], "password": PASSWORD}
        return user | (await client.post("/v1/login", json=login)).raise_for_status().json()


_NEW_ACCOUNT = {
    "username": "somebody_new",
    "email": "somebody.new@example.com",
    "name": "Somebody",
    "password": PASSWORD,
    "password_confirm": PASSWORD,
    "role": "customer",
    "current_password": PASSWORD,
}
_LOGIN = {"login": "nobody_here", "password": PASSWORD, "remember_me": False}
# A valid body for each endpoint that takes one. The tests change one field at a time.
BODIES: dict[tuple[str, str], Json] = {
    ("post", "/v1/register"): _NEW_ACCOUNT,
    ("post", "/v1/browser/register"): _NEW_ACCOUNT,
    ("post", "/v1/login"): _LOGIN,
    ("post", "/v1/browser/login"): _LOGIN,
    ("post", "/v1/token"): {
        "grant_type": "password",
        "username": "nobody_there",
        "password": PASSWORD,
        "refresh_token": "unknown",
    },
    ("post", "/v1/refresh"): {"refresh_token": "unknown"},
    ("post", "/v1/logout"): {"refresh_token": "unknown"},
    ("patch", "/v1/users/me"): {
        "username": "renamed",
        "name": "Renamed",
        "email": "renamed@example.com",
        "current_password": PASSWORD,
    },
    ("delete", "/v1/users/me"): {"current_password": PASSWORD},
    ("post", "/v1/users/me/password"): {"current_password": PASSWORD, "new_password": "another correct horse"},
    ("post", "/v1/password/forgot"): {"email": "nobody@example.com"},
    ("post", "/v1/password/reset"): {"token": "unknown", "new_password": "another correct horse"},
    ("post", "/v1/email/verify"): {"token": "unknown"},
    ("post", "/v1/email/undo"): {"token": "unknown"},
    ("patch", "/v1/users/{user_id}"): {
        "name": "Renamed",
        "role": "customer",
        "is_active": True,
        "current_password": PASSWORD,
    },
    ("delete", "/v1/users/{user_id}"): {"current_password": PASSWORD},
}
# OAuth2 clients may send these fields. They are ignored.
IGNORED = {"scope", "client_id", "client_secret"}

FIELDS = [(endpoint, name) for endpoint, body in BODIES.items() for name in body]

# pydantic gives email-validator addresses up to this length.
_LONGEST_NORMALISED = 2048

HOSTILE = (
    "' OR '1'='1' -- ",
    "'; DROP TABLE users; -- ",
    "\\",
    "%",
    "\x00",
    "a\x00b",
    "a\r\nSet-Cookie: admin=1",
    "\ud800",
    "\u202e\u2066",
    "ключ@例え.jp",
    "{{7*7}}${7*7}<script>",
    "😀" * 50,
    10**400,
    float("nan"),
    -1,
    True,
    None,
    [],
    ["a"],
    {"$ne": None},
)


def changed(endpoint: tuple[str, str], name: str, value: Any) -> Json:
    """The body with another value of one field, which the endpoint reads."""
    grant = {"grant_type": "refresh_token"} if (endpoint[1], name) == ("/v1/token", "refresh_token") else {}
    return {**BODIES[endpoint], **grant, name: value}


def refusals(endpoint: tuple[str, str]) -> set[int]:
    """The statuses of wrong values: OAuth2 has one for all."""
    return {400} if endpoint[1] == "/v1/token" else {401, 422}


def call(
    client: httpx.AsyncClient, endpoint: tuple[str, str], user: RegisteredUser, body: Json
) -> Awaitable[httpx.Response]:
    """Call the endpoint as this user. The body may contain values that JSON does not allow."""
    method, path = endpoint
    url = path.replace("{user_id}", user["user"]["id"])
    if path == "/v1/token":
        form = urlencode({name: str(value) for name, value in body.items()}, errors="surrogatepass")
        return client.request(method, url, content=form, headers={"Content-Type": "application/x-www-form-urlencoded"})
    own_page = {"X-Tandem-Browser": "1", "Sec-Fetch-Site": "same-origin"}
    headers = {**bearer(user), **own_page, "Content-Type": "application/json"}
    try:
        content = json.dumps(body, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        content = json.dumps(body).encode()
    return client.request(method, url, content=content, headers=headers)


async def stored(rows: AsyncEngine) -> list[tuple[str, int]]:
    """A checksum of every table, except those that the worker of the outbox writes when it sends earlier mails."""
    others = {"outbox", "login_attempts", "one_time_tokens", "audit_events"}
    async with rows.connect() as connection:
        tables = ", ".join(name for name in await connection.scalars(text("SHOW TABLES")) if name not in others)
        return [tuple(row) for row in await connection.execute(text(f"CHECKSUM TABLE {tables}"))]


def test_every_field_of_every_body_is_attacked(app: FastAPI) -> None:
    schemas = app.openapi()["components"]["schemas"]
    known = set()
    for path, operations in app.openapi()["paths"].items():
        for method, operation in operations.items():
            for content in operation.get("requestBody", {}).get("content", {}).values():
                names = re.findall(r"#/components/schemas/(\w+)", json.dumps(content["schema"]))
                known |= {((method, path), field) for name in names for field in schemas[name]["properties"]}
    assert {each for each in known if each[1] not in IGNORED} == set(FIELDS)


@pytest.mark.parametrize(("endpoint", "name"), FIELDS, ids=lambda each: each if isinstance(each, str) else each[1])
async def test_text_of_10_000_characters_is_refused_and_not_stored(
    client: httpx.AsyncClient, insider: RegisteredUser, rows: AsyncEngine, endpoint: tuple[str, str], name: str
) -> None:
    before = await stored(rows)
    for long in ("x" * 10_000, "😀" * 10_000, "a" * 9_988 + "@example.com"):
        answer = await call(client, endpoint, insider, changed(endpoint, name, long))
        status, _ = problem(answer)
        assert status in refusals(endpoint)
        assert len(answer.content) < 2_000, "the text must not be echoed"
    assert await stored(rows) == before


@pytest.mark.parametrize(("endpoint", "name"), FIELDS, ids=lambda each: each if isinstance(each, str) else each[1])
async def test_a_body_full_of_combining_marks_is_refused_without_a_normalisation(
    client: httpx.AsyncClient,
    insider: RegisteredUser,
    monkeypatch: pytest.MonkeyPatch,
    endpoint: tuple[str, str],
    name: str,
) -> None:
    """Its time grows with the square of the number of marks: it would stop the event loop for minutes."""
    normalise, long = unicodedata.normalize, []

    def watched(form: Literal["NFC", "NFD", "NFKC", "NFKD"], given: str) -> str:
        if len(given) <= _LONGEST_NORMALISED:
            return normalise(form, given)
        long.append(len(given))
        return given

    monkeypatch.setattr(unicodedata, "normalize", watched)
    # A form has three bytes for each one of UTF-8.
    count = 80_000 if endpoint[1] == "/v1/token" else 250_000
    marks = "a" + "\u0345" * count + "\u0301" * count + "@x.com"
    answer = await call(client, endpoint, insider, changed(endpoint, name, marks))
    assert problem(answer)[0] in refusals(endpoint)
    assert long == []


@pytest.mark.parametrize(("endpoint", "name"), FIELDS, ids=lambda each: each if isinstance(each, str) else each[1])
async def test_hostile_value_causes_no_server_error(
    client: httpx.AsyncClient, register: Register, insider: RegisteredUser, endpoint: tuple[str, str], name: str
) -> None:
    # A change of password and a logout end sessions, and admins may remove their own role: each case has a new user.
    user = insider
    if endpoint[1] == "/v1/logout":
        user = await register()
    elif endpoint[1].startswith("/v1/users/"):
        user = await register(role="customer" if endpoint[1].startswith("/v1/users/me") else "admin")
    for hostile in HOSTILE:
        answer = await call(client, endpoint, user, changed(endpoint, name, hostile))
        assert answer.status_code < 500, f"{hostile!r}: {answer.text}"
        if answer.is_error:
            problem(answer)


@pytest.mark.parametrize("path", ["/v1/login", "/v1/token"])
async def test_sql_injection_does_not_log_in(client: httpx.AsyncClient, registered: RegisteredUser, path: str) -> None:
    username = registered["form"]["username"]
    for name in (
        f"{username}' -- ",
        f"{username}'#",
        f"x' OR username = '{username}",
        "' OR '1'='1",
        "' UNION SELECT * FROM users -- ",
        f"{username}\x00",
        f"{username} ",
        "%",
        username[:-1] + "_",
    ):
        content = {"login": name, "password": PASSWORD}
        is_form = path == "/v1/token"
        form = {"data": {"username": name, "password": PASSWORD}} if is_form else {"json": content}
        status, code = (422, "validation-failed") if "\x00" in name else (401, "invalid-credentials")
        assert problem(await client.post(path, **form)) == (400 if is_form else status, code), name


async def test_sql_and_wildcards_in_a_query_are_literal(
    client: httpx.AsyncClient, register: Register, insider: RegisteredUser
) -> None:
    sought = await register(name="100% \\ sure_")
    await register(name="100 dollars")

    async def found(query: str) -> list[RegisteredUser]:
        answer = await client.get("/v1/users", params={"query": query}, headers=bearer(insider))
        assert answer.status_code == 200
        items: list[RegisteredUser] = answer.json()["items"]
        return items

    for query in (
        "' OR '1'='1",
        "' UNION SELECT * FROM credentials -- ",
        "%",
        "_",
        "\\",
        "insider%",
        "inside_",
    ):
        for user in await found(query):
            assert any(user[each].startswith(query) for each in ("username", "name", "email")), query
    assert [user["id"] for user in await found("100% \\ sure")] == [sought["user"]["id"]]


def cursor(*position: Any) -> str:
    return segment(list(position))


@pytest.mark.parametrize("path", ["/v1/users", "/v1/audit"])
@pytest.mark.parametrize(
    "made_up",
    [
        cursor("' OR '1'='1"),
        cursor("' UNION SELECT * FROM credentials -- "),
        cursor("ключ"),
        cursor("\x00"),
        cursor("\ud800"),
        cursor(1),
        cursor(None),
        cursor(),
        cursor("a", "b"),
        segment({"a": 1}),
        segment(b"\xff\xfe"),
        segment(b"[" * 140),
        "====",
        "é",
        "x" * 10_000,
    ],
)
async def test_forged_cursor_is_refused(
    client: httpx.AsyncClient, insider: RegisteredUser, path: str, made_up: str
) -> None:
    answer = await client.get(path, params={"cursor": made_up}, headers=bearer(insider))
    status, code = problem(answer)
    assert (status, code) in {(422, "invalid-cursor"), (422, "validation-failed")}


@pytest.mark.parametrize(
    "moment",
    [
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-01:00",
        "0001-01-01T00:00:00+00:00",
        "9999-12-31T23:59:59.999999+00:00",
        "2026-01-01T00:00:00",
        "yesterday",
    ],
)
async def test_forged_cursor_of_the_sessions_causes_no_server_error(
    client: httpx.AsyncClient, insider: RegisteredUser, moment: str
) -> None:
    made_up = {"cursor": cursor(moment, insider["user"]["id"])}
    answer = await client.get("/v1/sessions", params=made_up, headers=bearer(insider))
    is_moment_in_utc = moment.endswith("+00:00")
    assert answer.status_code == 200 if is_moment_in_utc else problem(answer) == (422, "invalid-cursor")


# Every parameter of every path and query, as OpenAPI has them.
async def test_hostile_parameter_causes_no_server_error(
    client: httpx.AsyncClient, app: FastAPI, register: Register
) -> None:
    user = await register(role="admin")
    tried = 0
    for path, operations in app.openapi()["paths"].items():
        for method, operation in operations.items():
            for parameter in operation.get("parameters", []):
                for hostile in (
                    "x" * 10_000,
                    "' OR '1'='1' -- ",
                    "ключ",
                    "\x00",
                    "a\r\nb",
                    "../../etc/passwd",
                    "%ff",
                    "-1",
                    "",
                ):
                    place = {parameter["name"]: hostile} if parameter["in"] == "query" else {}
                    url = re.sub(r"\{\w+\}", quote(hostile, safe=""), path)
                    body = BODIES.get((method, path))
                    answer = await client.request(method, url, params=place, json=body, headers=bearer(user))
                    assert answer.status_code < 500, (
                        f"{method} {path} {parameter['name']}={hostile!r:.40}: {answer.text}"
                    )
                    tried += 1
    assert tried > 100


async def test_malformed_request_id_is_replaced(client: httpx.AsyncClient) -> None:
    for offered in (b"a\r\nSet-Cookie: admin=1", b"a\nb", b"\x00", "ключ".encode(), b"a b", b"x" * 129, b""):
        answer = await client.get("/v1/users/me", headers=[(b"X-Request-ID", offered)])
        assert re.fullmatch(r"[0-9a-f-]{36}", answer.headers["X-Request-ID"])
        assert answer.json()["request_id"] == answer.headers["X-Request-ID"]
        assert "set-cookie" not in answer.headers


async def test_user_agent_is_stored_without_control_characters(
    client: httpx.AsyncClient, registered: RegisteredUser
) -> None:
    login = {"login": registered["form"]["username"], "password": PASSWORD}
    agent = b"browser\r\nSet-Cookie: admin=1\x00\x1b[2J\x7f" + b"x" * 10_000
    headers = [(b"User-Agent", agent), (b"Content-Type", b"application/json")]
    answer = await client.post("/v1/login", content=json.dumps(login), headers=headers)
    assert answer.status_code == 200
    sessions = (await client.get("/v1/sessions", headers=bearer(answer.json()))).json()["items"]
    (client_text,) = [each["client"] for each in sessions if each["is_current"]]
    assert client_text.startswith("browserSet-Cookie")
    assert client_text.isprintable()
    assert len(client_text) <= 200


@pytest.mark.parametrize(
    "name", ["Ada\r\nBcc: all@example.com", "Ada\nLovelace", "Ada\x00", "Ada\x1b[2J", "Ada\u2028Lovelace"]
)
async def test_name_with_line_breaks_is_refused(
    client: httpx.AsyncClient, registered: RegisteredUser, new_form: NewForm, name: str
) -> None:
    answers = (
        await client.post("/v1/register", json=new_form() | {"name": name}),
        await client.patch("/v1/users/me", json={"name": name}, headers=bearer(registered)),
    )
    for answer in answers:
        assert problem(answer) == (422, "validation-failed")
        assert [error["pointer"] for error in answer.json()["errors"]] == ["#/name"]


@pytest.mark.parametrize(("endpoint", "name"), FIELDS, ids=lambda each: each if isinstance(each, str) else each[1])
async def test_nul_and_half_a_surrogate_pair_are_refused_and_not_stored(
    client: httpx.AsyncClient, insider: RegisteredUser, rows: AsyncEngine, endpoint: tuple[str, str], name: str
) -> None:
    before = await stored(rows)
    for odd in ("a\x00b", "a\ud800b"):
        answer = await call(client, endpoint, insider, changed(endpoint, name, odd))
        if endpoint[1] == "/v1/token":
            # A form has bytes: they are decoded to another text, which no account has.
            assert problem(answer)[0] == 400
        else:
            assert problem(answer)[0] == 422
            assert await stored(rows) == before


@pytest.mark.parametrize("depth", [100, 100_000])
async def test_deeply_nested_body_is_refused(client: httpx.AsyncClient, depth: int) -> None:
    body = b'{"login":' + b"[" * depth + b"]" * depth + b"}"
    answer = await client.post("/v1/login", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in {400, 422}
    problem(answer)
