"""The OpenAPI description, and whether a live service conforms to it (schemathesis, all checks, all phases)."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import strategies as st
from pydantic import SecretStr
from schemathesis.core.transport import Response
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.main import create_app
from auth_service.settings import Settings
from embedded_stack import Stack
from service_kit.mysql import create_engine
from support.auth_app import NewForm, client_of, own_schema, running_app
from support.openapi_contract import (
    Findings,
    Visitor,
    check_examples,
    contract_of,
    need_of_tokens,
    operation_id,
    operations_of,
    role_of,
    sending,
    sent_as,
    token_address,
    try_operations,
    try_sequences,
)
from support.replicas import running_replicas
from support.responses import bearer, problem, served

PREFIX = "/api/auth"
# The password of the examples in OpenAPI, so that they work for the users of this test.
PASSWORD = "correct horse battery staple"

# Maximum. An idle machine with two cores needs 40 seconds; a busy one tries fewer random cases.
EXAMPLES_PER_OPERATION = 25
OPERATIONS_SECONDS, SEQUENCES_SECONDS = 45, 20

# Rules that a schema can't express: a 422 with only these codes is expected.
RULES_BEYOND_SCHEMAS = {
    "invalid-credentials",  # 400 at the token endpoint
    "invalid-cursor",  # only a list creates valid ones
    "invalid-email-token",  # only a mail contains a valid one
    "invalid-refresh-token",
    "invalid-reset-token",
    "invalid-undo-token",
    "invisible-text",
    "password-too-weak",
    "required-by-grant-type",
    "username-reserved",
}
ENDS_OWN_SESSION = {"change_password", "delete_own_account", "end_session", "log_out", "log_out_everywhere"}

# Addresses with a real top-level domain: those of schemathesis end in `.test`, which is refused.
schemathesis.openapi.format("email", st.from_regex(r"[a-z0-9]{1,60}@[a-z0-9]{1,60}\.(com|org)", fullmatch=True))

# No test reaches these limits: a 429 would hide other responses.
NO_LIMITS = dict.fromkeys(
    (
        "AUTH_LOGIN_ATTEMPTS_PER_ACCOUNT",
        "AUTH_LOGIN_ATTEMPTS_PER_ADDRESS",
        "AUTH_LOGIN_FAILURES_OVERALL",
        "AUTH_REGISTRATIONS_PER_ADDRESS",
        "AUTH_MAILS_PER_ACCOUNT",
        "AUTH_MAILS_PER_ADDRESS",
        "AUTH_CHANGES_PER_ACCOUNT",
        "AUTH_PROFILE_CHANGES_PER_ACCOUNT",
        "AUTH_LOGINS_PER_ACCOUNT",
        "AUTH_REFRESHES_PER_SESSION",
    ),
    "1000000",
)
# This test is not about the strength of hashes.
CHEAP_HASHES = {"AUTH_ARGON2_MEMORY_KIB": "8192", "AUTH_ARGON2_ROUNDS": "1"}


@dataclass(frozen=True)
class LiveService:
    url: str
    mysql_url: str


@pytest.fixture(scope="module")
async def service(engine: AsyncEngine, mysql_root_url: str, stack: Stack) -> AsyncIterator[LiveService]:
    """A process with its own schema."""
    variables = {**NO_LIMITS, **CHEAP_HASHES, "GATEWAY_PREFIX": PREFIX, "LOG_LEVEL": "WARNING"}
    async with (
        own_schema(engine, mysql_root_url) as mysql_url,
        running_replicas(1, stack, mysql_url, **variables) as (replica,),
    ):
        yield LiveService(url=str(replica.client.base_url).rstrip("/"), mysql_url=mysql_url)
        # pytest shows the log with a failure: a 500 itself has no details.
        print(replica.log.read_text())


@dataclass
class Users:
    """One user of each role, as whom requests are sent. A user whose session has ended is replaced."""

    service: LiveService
    present: dict[str, dict[str, Any]] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def new_names(self) -> dict[str, str]:
        username = f"user_{next(self.numbers)}"
        return {"username": username, "email": f"{username}@example.com"}

    def register(self, **names: str) -> dict[str, Any]:
        form = {**names, "name": "User", "password": PASSWORD, "password_confirm": PASSWORD}
        answer = httpx.post(f"{self.service.url}/v1/register", json=form, timeout=20)
        assert answer.status_code == 201, answer.text
        registered: dict[str, Any] = answer.json()
        return registered

    def user_with(self, role: str) -> dict[str, Any]:
        if role not in self.present:
            user = self.register(**self.new_names())
            if role != "customer":
                # In another thread, because pytest-asyncio keeps the event loop of this one.
                with ThreadPoolExecutor(1) as thread:
                    thread.submit(asyncio.run, self._promote(user["user"]["id"], role)).result()
                # The token has the scopes of the former role.
                login = {"login": user["user"]["username"], "password": PASSWORD}
                user |= httpx.post(f"{self.service.url}/v1/login", json=login, timeout=20).raise_for_status().json()
            self.present[role] = user
        return self.present[role]

    async def _promote(self, user_id: str, role: str) -> None:
        engine = create_engine(self.service.mysql_url)
        async with engine.begin() as connection:
            await connection.execute(text("UPDATE users SET role = :r WHERE id = :i"), {"r": role, "i": user_id})
        await engine.dispose()

    def prepare(self, case: schemathesis.Case) -> None:
        """Add values that a schema can't express: a valid token, two equal passwords, an unused name."""
        if (role := role_of(case)) is not None:
            case.headers["Authorization"] = f"Bearer {self.user_with(role)['access_token']}"
        # Values that a browser adds.
        case.headers["Origin"] = self.service.url
        if operation_id(case) == "refresh_in_browser" and case.meta.generation.mode.is_positive:
            case.cookies = {"tandem_refresh": self.register(**self.new_names())["refresh_token"]}
        body = case.body
        registers = operation_id(case) in ("register", "register_in_browser")
        if registers and case.meta.generation.mode.is_positive and isinstance(body, dict):
            names = self.new_names() if body["username"] == "ada" else {}
            case.body = {**body, **names, "password_confirm": body["password"]}

    def note(self, case: schemathesis.Case, response: Response) -> None:
        if response.status_code >= 300:
            return
        for role, user in list(self.present.items()):
            acted = case.headers.get("Authorization") == f"Bearer {user['access_token']}"
            was_changed = case.path_parameters.get("user_id") == user["user"]["id"]
            if (acted and operation_id(case) in ENDS_OWN_SESSION) or was_changed:
                del self.present[role]


def _description() -> dict[str, Any]:
    """The OpenAPI document of the service. A test compares it with a live service's."""
    app = create_app(Settings(mysql_url=SecretStr("mysql://user:password@127.0.0.1:1/auth")))
    description: dict[str, Any] = json.loads(json.dumps(app.openapi()))
    return description


DESCRIPTION = _description()
OPERATIONS = operations_of(DESCRIPTION)
contract = contract_of(DESCRIPTION, EXAMPLES_PER_OPERATION)
contract.auth(refresh_interval=None).apply_to(tag="administration")(sent_as("admin"))
contract.auth(refresh_interval=None).skip_for(tag="administration")(sent_as("customer"))


@pytest.fixture(scope="module")
def users(service: LiveService) -> Iterator[Users]:
    """Makes schemathesis send its requests to the live service as existing users."""
    users = Users(service)
    # The user of the examples in OpenAPI.
    users.register(username="ada", email="ada@example.com")

    with sending(contract, service.url, users, rules_beyond_schemas=RULES_BEYOND_SCHEMAS):
        yield users


@pytest.fixture(scope="module")
def findings(users: Users, random_share: float) -> Findings:
    return try_operations(contract, OPERATIONS_SECONDS * random_share)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_operation_conforms_to_openapi(operation: str, findings: Findings) -> None:
    assert operation in findings.tested
    assert not findings.failures[operation], "\n\n".join(findings.failures[operation])


def test_sequences_of_operations_conform_to_openapi(users: Users, random_share: float) -> None:
    failures = try_sequences(contract, SEQUENCES_SECONDS * random_share)
    assert not failures, "\n\n".join(failures)


def test_live_service_publishes_this_description(service: LiveService) -> None:
    assert httpx.get(f"{service.url}/openapi.json").json() == DESCRIPTION


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_response_has_an_example(operation: str) -> None:
    check_examples(OPERATIONS[operation], DESCRIPTION)


PUBLIC = {
    "GET /healthz",
    "GET /readyz",
    "GET /metrics",
    "GET /.well-known/jwks.json",
    "GET /.well-known/oauth-authorization-server",
    "GET /.well-known/openid-configuration",
    "POST /v1/login",
    "POST /v1/token",
    "POST /v1/refresh",
    "POST /v1/browser/register",
    "POST /v1/browser/login",
    "POST /v1/browser/refresh",
    "POST /v1/browser/logout",
    "POST /v1/password/forgot",
    "POST /v1/password/reset",
    "POST /v1/email/verify",
    "POST /v1/email/undo",
}
TOKEN_IS_OPTIONAL = {"POST /v1/register", "POST /v1/logout"}


def test_openapi_states_which_operations_need_a_token() -> None:
    needs = need_of_tokens(DESCRIPTION)
    assert {label for label, needed in needs.items() if needed is False} == PUBLIC
    assert {label for label, needed in needs.items() if needed is None} == TOKEN_IS_OPTIONAL


@pytest.mark.parametrize("operation", sorted(OPERATIONS.keys() - PUBLIC - TOKEN_IS_OPTIONAL))
@pytest.mark.parametrize(
    ("sent", "code"), [({}, "not-authenticated"), ({"Authorization": "Bearer x.y.z"}, "invalid-token")]
)
def test_operation_without_a_valid_token_is_refused(
    service: LiveService, operation: str, sent: dict[str, str], code: str
) -> None:
    method, path = operation.split()
    answer = httpx.request(method, service.url + path.replace("{", "").replace("}", ""), headers=sent)
    assert problem(answer) == (401, code)
    assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    ("page", "gateway"),
    [("http://auth.test:8001/docs", ""), (f"http://gateway.test:8080{PREFIX}/docs", PREFIX)],
    ids=["of the service itself", "behind the gateway"],
)
def test_authorize_button_of_the_documentation_works(
    service: LiveService, users: Users, page: str, gateway: str
) -> None:
    """Does what Swagger UI does."""
    visitor = Visitor(service.url, page, gateway)
    description = visitor.description()
    username = users.register(**users.new_names())["user"]["username"]
    form = {"grant_type": "password", "username": username, "password": PASSWORD, "scope": "", "client_id": ""}
    tokens = visitor.send("POST", token_address(page, description), data=form).json()
    assert tokens["token_type"] == "bearer"

    (server,) = description.get("servers", [{"url": ""}])
    profile = visitor.send("GET", f"{server['url']}/v1/users/me", headers=bearer(tokens)).json()
    assert profile["username"] == username


async def test_responses_under_other_settings_conform_to_openapi(settings: Settings, new_form: NewForm) -> None:
    register = contract["/v1/register"]["POST"]
    async with running_app(settings, auth_require_email_verification=True) as app, client_of(app) as client:
        answer = await served(lambda: client.post("/v1/register", json=new_form()))
    assert (answer.status_code, register.validate_response(answer)) == (202, None)
    assert "ratelimit" in answer.headers

    one_each = {"auth_registrations_per_address": 1}
    async with running_app(settings, **one_each) as app, client_of(app, address="198.51.100.3") as client:
        answers = [await served(lambda: client.post("/v1/register", json=new_form())) for _ in range(3)]
    assert problem(answers[-1]) == (429, "too-many-requests")
    assert register.validate_response(answers[-1]) is None
    assert {"retry-after", "ratelimit", "ratelimit-policy", "x-request-id"} <= answers[-1].headers.keys()


@pytest.mark.parametrize("method", ["OPTIONS", "POST", "TRACE"])
def test_unsupported_method_is_answered_with_the_allowed_ones(service: LiveService, method: str) -> None:
    answer = httpx.request(method, f"{service.url}/v1/users/me")
    assert problem(answer) == (405, "method-not-allowed")
    assert answer.headers["allow"] == "GET, HEAD, PATCH, DELETE"
