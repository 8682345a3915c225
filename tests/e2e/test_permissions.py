"""Every endpoint of every service, called without a token, as each role, and with tokens of accounts that ended.

The expected statuses are written down here and not derived from the code: a change of who may do what must change this
table. Requests of those who may are invalid or concern something that does not exist where they would change anything:
a 404 or 422 shows that the request got beyond the authorisation.
"""

import secrets
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from docs.permissions import operations
from e2e.copies import copies_of
from e2e.users import User, found_by_others, registration
from embedded_stack import Stack
from support.polling import eventually
from support.responses import problem, served

URLS = {"auth": "AUTH_URL", "tweet": "TWEET_URL", "sync": "SYNC_URL", "registrar": "REGISTRAR_URL"}
CALLERS = ("none", "customer", "technical_worker", "senior_manager", "admin", "deactivated", "deleted")

# In the order of `CALLERS`. The rows that end sessions or accounts are the last ones.
TABLE = """
auth       GET     /.well-known/jwks.json                200 200 200 200 200 200 200
auth       GET     /.well-known/oauth-authorization-server 200 200 200 200 200 200 200
auth       GET     /.well-known/openid-configuration     200 200 200 200 200 200 200
auth       POST    /v1/register                          422 422 422 422 422 401 401
auth       POST    /v1/login                             422 422 422 422 422 422 422
auth       POST    /v1/token                             400 400 400 400 400 400 400
auth       POST    /v1/refresh                           422 422 422 422 422 422 422
auth       POST    /v1/logout                            422 422 422 422 422 422 422
auth       GET     /v1/sessions                          401 200 200 200 200 401 401
auth       DELETE  /v1/sessions/{session_id}             401 404 404 404 404 401 401
auth       GET     /v1/users/me                          401 200 200 200 200 401 401
auth       PATCH   /v1/users/me                          401 422 422 422 422 401 401
auth       GET     /v1/users/me/export                   401 200 200 200 200 401 401
auth       POST    /v1/users/me/password                 401 422 422 422 422 401 401
auth       POST    /v1/password/forgot                   422 422 422 422 422 422 422
auth       POST    /v1/password/reset                    422 422 422 422 422 422 422
auth       POST    /v1/email/verify                      422 422 422 422 422 422 422
auth       POST    /v1/email/resend                      401 202 202 202 202 401 401
auth       POST    /v1/email/undo                        422 422 422 422 422 422 422
auth       POST    /v1/browser/register                  422 422 422 422 422 422 422
auth       POST    /v1/browser/login                     422 422 422 422 422 422 422
auth       POST    /v1/browser/refresh                   401 401 401 401 401 401 401
auth       POST    /v1/browser/logout                    204 204 204 204 204 204 204
auth       GET     /v1/users                             401 403 403 200 200 401 401
auth       GET     /v1/users/{user_id}                   401 403 403 200 200 401 401
auth       PATCH   /v1/users/{user_id}                   401 403 403 403 422 401 401
auth       DELETE  /v1/users/{user_id}                   401 403 403 403 404 401 401
auth       GET     /v1/audit                             401 403 403 200 200 401 401

tweet      GET     /v1/tweets                            200 200 200 200 200 401 401
tweet      POST    /v1/tweets                            401 422 422 422 422 401 401
tweet      GET     /v1/tweets/{tweet_id}                 200 200 200 200 200 401 401
tweet      PATCH   /v1/tweets/{tweet_id}                 401 422 422 422 422 401 401
tweet      DELETE  /v1/tweets/{tweet_id}                 401 403 403 403 204 401 401
tweet      GET     /v1/tweets/{tweet_id}/thread          200 200 200 200 200 401 401
tweet      GET     /v1/tweets/{tweet_id}/likes           200 200 200 200 200 401 401
tweet      PUT     /v1/tweets/{tweet_id}/like            401 200 200 200 200 401 401
tweet      DELETE  /v1/tweets/{tweet_id}/like            401 204 204 204 204 401 401
tweet      GET     /v1/tweets/{tweet_id}/reposts         200 200 200 200 200 401 401
tweet      PUT     /v1/tweets/{tweet_id}/repost          401 200 200 200 200 401 401
tweet      DELETE  /v1/tweets/{tweet_id}/repost          401 204 204 204 204 401 401
tweet      GET     /v1/reactions                         401 200 200 200 200 401 401
tweet      GET     /v1/timeline                          401 200 200 200 200 401 401
tweet      GET     /v1/search                            200 200 200 200 200 401 401
tweet      GET     /v1/trends                            200 200 200 200 200 401 401
tweet      GET     /v1/users/{username}                  200 200 200 200 200 401 401
tweet      GET     /v1/users/{username}/tweets           200 200 200 200 200 401 401
tweet      GET     /v1/users/{username}/followers        200 200 200 200 200 401 401
tweet      GET     /v1/users/{username}/following        200 200 200 200 200 401 401
tweet      PUT     /v1/users/{username}/follow           401 204 204 204 204 401 401
tweet      DELETE  /v1/users/{username}/follow           401 204 204 204 204 401 401
tweet      GET     /v1/stream                            200 200 200 200 200 401 401

sync       GET     /v1/status                            200 200 200 200 200 200 200
sync       GET     /v1/pipeline                          401 403 200 200 200 401 401
sync       GET     /v1/counts                            401 403 200 200 200 401 401
sync       GET     /v1/events                            401 403 200 200 200 401 401
sync       GET     /v1/dead-letters                      401 403 200 200 200 401 401
sync       POST    /v1/dead-letters                      401 403 422 403 422 401 401
sync       GET     /v1/dead-letters/{letter_id}          401 403 404 404 404 401 401
sync       POST    /v1/dead-letters/{letter_id}/retry    401 403 404 403 404 401 401
sync       POST    /v1/dead-letters/{letter_id}/discard  401 403 404 403 404 401 401
sync       GET     /v1/reconcile                         401 403 200 200 200 401 401
sync       POST    /v1/reconcile                         401 403 422 403 422 401 401
sync       GET     /v1/reconcile/{reconciliation_id}     401 403 404 404 404 401 401
sync       POST    /v1/routes/{name}/pause               401 403 404 403 404 401 401
sync       POST    /v1/routes/{name}/resume              401 403 404 403 404 401 401
sync       POST    /v1/routes/reload                     401 403 200 403 200 401 401

registrar  GET     /v1/connectors                        200 200 200 200 200 200 200
registrar  POST    /v1/snapshots                         422 422 422 422 422 422 422
registrar  GET     /v1/snapshots/{snapshot_id}           422 422 422 422 422 422 422

auth       GET     /healthz                              200 200 200 200 200 200 200
auth       GET     /readyz                               200 200 200 200 200 200 200
auth       GET     /metrics                              200 200 200 200 200 200 200
tweet      GET     /healthz                              200 200 200 200 200 200 200
tweet      GET     /readyz                               200 200 200 200 200 200 200
tweet      GET     /metrics                              200 200 200 200 200 200 200
sync       GET     /healthz                              200 200 200 200 200 200 200
sync       GET     /readyz                               200 200 200 200 200 200 200
sync       GET     /metrics                              200 200 200 200 200 200 200
registrar  GET     /healthz                              200 200 200 200 200 200 200
registrar  GET     /readyz                               200 200 200 200 200 200 200
registrar  GET     /metrics                              200 200 200 200 200 200 200

auth       POST    /v1/logout-all                        401 204 204 204 204 401 401
auth       DELETE  /v1/users/me                          401 204 204 204 204 401 401
"""

# A field that no body has.
_INVALID_BODY = {"no_such_field": True}
_QUERIES = {
    "GET /v1/search": {"q": "tandem"},
    "GET /v1/stream": {"seconds": 0.05},
    "GET /v1/events": {"seconds": 0.05},
}


@dataclass(frozen=True)
class Row:
    service: str
    method: str
    path: str
    statuses: tuple[int, ...]

    @property
    def operation(self) -> str:
        return f"{self.method} {self.path}"


def _rows() -> list[Row]:
    rows = []
    for line in filter(None, TABLE.splitlines()):
        service, method, path, *statuses = line.split()
        rows.append(Row(service, method, path, tuple(map(int, statuses))))
        assert len(statuses) == len(CALLERS), line
    return rows


ROWS = _rows()


@dataclass
class Callers:
    """`tokens` has the access token of each caller. `parameters` are values of paths."""

    stack: Stack
    client: httpx.AsyncClient
    admin: User
    parameters: Mapping[str, str] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)
    users: dict[str, User] = field(default_factory=dict)

    def url(self, service: str) -> str:
        return self.stack.addresses[URLS[service]]

    async def log_in(self, user: User) -> str:
        login = {"login": user.username, "password": user.password}
        answer = await served(lambda: self.client.post(f"{self.url('auth')}/v1/login", json=login))
        return str(answer.raise_for_status().json()["access_token"])

    async def sign_up(self, caller: str, role: str) -> None:
        """As an admin creates an account with a role."""
        username, password = f"user_{secrets.token_hex(5)}", secrets.token_urlsafe(16)
        form = {"username": username, "email": f"{username}@example.com", "name": caller, "role": role}
        passwords = {"password": password, "password_confirm": password, "current_password": self.admin.password}
        by = {"Authorization": f"Bearer {await self.log_in(self.admin)}"}
        answer = await self.client.post(f"{self.url('auth')}/v1/register", json=form | passwords, headers=by)
        body = answer.raise_for_status().json()
        self.users[caller] = User(body["user"]["id"], username, password, self.client)
        self.tokens[caller] = body["access_token"]

    async def ask(self, row: Row, caller: str, **parameters: str) -> httpx.Response:
        headers = {"X-Tandem-Browser": "1", "Origin": self.url(row.service), "If-Match": '"1"'}
        if caller in self.tokens:
            headers["Authorization"] = f"Bearer {self.tokens[caller]}"
        path = row.path.format(**{**self.parameters, **parameters})
        query: Mapping[str, Any] = _QUERIES.get(row.operation, {})
        if row.operation == "GET /v1/reactions":
            query = {"tweet": self.parameters["tweet_id"]}
        body: Mapping[str, Any] | None = _INVALID_BODY if row.method in ("POST", "PATCH") else None
        if row.operation == "DELETE /v1/users/me" and caller in self.users:
            body = {"current_password": self.users[caller].password}
        url = self.url(row.service) + path
        return await served(lambda: self.client.request(row.method, url, headers=headers, params=query, json=body))


@pytest.fixture(scope="module")
async def callers(running_stack: Stack) -> AsyncIterator[Callers]:
    gateway = running_stack.addresses["GATEWAY_URL"]
    async with registration(gateway) as register, httpx.AsyncClient(timeout=60) as client:
        admin, author = await register(), await register()
        async with copies_of(running_stack) as copies:
            await copies.execute("UPDATE auth.users SET role = 'admin' WHERE id = :id", id=admin.id)
        tweets = [(await author.tweet("a tweet"))["id"] for _ in range(2)]
        await found_by_others(gateway, author.username)
        nothing = "019ac2e4-6f1b-7c3e-9a52-0b7d8d3f4e21"
        parameters = {
            "tweet_id": tweets[0],
            "second_tweet_id": tweets[1],
            "username": author.username,
            "user_id": author.id,
            "session_id": nothing,
            "reconciliation_id": nothing,
            "letter_id": "0-99999999",
            "name": "nowhere",
            "snapshot_id": "nowhere",
        }
        callers = Callers(running_stack, client, admin, parameters)
        for caller in CALLERS[1:]:
            await callers.sign_up(caller, "admin" if caller in ("deactivated", "deleted") else caller)
        by = {"Authorization": f"Bearer {await callers.log_in(admin)}"}
        users, password = f"{callers.url('auth')}/v1/users", {"current_password": admin.password}
        deactivated, deleted = (f"{users}/{callers.users[each].id}" for each in ("deactivated", "deleted"))
        for answer in (
            await client.patch(deactivated, json={"is_active": False} | password, headers=by),
            await client.request("DELETE", deleted, json=password, headers=by),
        ):
            answer.raise_for_status()
        for row in (Row("tweet", "GET", "/v1/timeline", ()), Row("sync", "GET", "/v1/counts", ())):
            for caller in ("deactivated", "deleted"):
                await eventually(lambda: callers.ask(row, caller), lambda answer: answer.status_code == 401)  # noqa: B023 - called here
        yield callers


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.service} {row.operation}")
async def test_endpoint_is_open_to_those_in_the_table(callers: Callers, row: Row) -> None:
    # An admin deletes it; other rows need the first one.
    nothing = callers.parameters["session_id"]
    own = {
        "DELETE /v1/tweets/{tweet_id}": {"tweet_id": callers.parameters["second_tweet_id"]},
        "DELETE /v1/users/{user_id}": {"user_id": nothing},
    }.get(row.operation, {})
    answers = {caller: await callers.ask(row, caller, **own) for caller in CALLERS}
    found = {caller: answer.status_code for caller, answer in answers.items()}
    assert found == dict(zip(CALLERS, row.statuses, strict=True))
    for caller, answer in answers.items():
        if answer.status_code == 401 and not row.path.startswith("/v1/browser"):
            revoked = "invalid-token" if row.service == "auth" else "token-revoked"
            assert problem(answer) == (401, "not-authenticated" if caller == "none" else revoked)
        if answer.status_code == 403 and row.operation != "DELETE /v1/tweets/{tweet_id}":
            assert problem(answer) == (403, "forbidden")
            assert answer.headers["www-authenticate"].startswith('Bearer error="insufficient_scope", scope="')
    if row.operation == "POST /v1/logout-all":
        for caller in CALLERS[1:5]:
            callers.tokens[caller] = await callers.log_in(callers.users[caller])


def test_table_has_every_endpoint() -> None:
    """A new endpoint needs a row here, and one that was removed must not have one."""
    documented = {f"{each.service.removesuffix('-service')} {each.method} {each.path}" for each in operations()}
    assert {f"{row.service} {row.operation}" for row in ROWS} == documented
