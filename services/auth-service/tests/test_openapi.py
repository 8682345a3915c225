"""What OpenAPI says of the service, and whether a live one keeps to it (schemathesis, all checks, all phases)."""

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
# What the examples in OpenAPI say, so that those who are registered here can log in and change it by them.
PASSWORD = "correct horse battery staple"

# At most. On an idle machine with two cores all of it takes 40 seconds; a busy one tries fewer random cases.
EXAMPLES_PER_OPERATION = 25
OPERATIONS_SECONDS, SEQUENCES_SECONDS = 45, 20

# What makes a request invalid that no schema can say: 422 with nothing but these is no surprise.
RULES_BEYOND_SCHEMAS = {
    "invalid-cursor",  # only a list makes them
    "invalid-email-token",  # only a mail has one that works
    "invalid-reset-token",
    "invisible-text",
    "password-too-weak",
    "username-reserved",
}
ENDS_OWN_SESSION = {"change_password", "delete_own_account", "end_session", "log_out", "log_out_everywhere"}

# Addresses that may exist: schemathesis' own end in `.test`, which is nobody's.
schemathesis.openapi.format("email", st.from_regex(r"[a-z0-9]{1,60}@[a-z0-9]{1,60}\.(com|org)", fullmatch=True))

# Nobody reaches these: a 429 would hide what else is answered.
NO_LIMITS = dict.fromkeys(
    (
        "AUTH_LOGIN_ATTEMPTS_PER_ACCOUNT",
        "AUTH_LOGIN_ATTEMPTS_PER_ADDRESS",
        "AUTH_LOGIN_FAILURES_OVERALL",
        "AUTH_REGISTRATIONS_PER_ADDRESS",
        "AUTH_MAILS_PER_ACCOUNT",
        "AUTH_MAILS_PER_ADDRESS",
    ),
    "1000000",
)
# Nor are passwords what is tested here.
CHEAP_HASHES = {"AUTH_ARGON2_MEMORY_KIB": "8192", "AUTH_ARGON2_ROUNDS": "1"}


@dataclass(frozen=True)
class LiveService:
    url: str
    mysql_url: str


@pytest.fixture(scope="module")
async def service(engine: AsyncEngine, mysql_root_url: str, stack: Stack) -> AsyncIterator[LiveService]:
    """A process of its own, on a schema of its own."""
    variables = {**NO_LIMITS, **CHEAP_HASHES, "GATEWAY_PREFIX": PREFIX, "LOG_LEVEL": "WARNING"}
    async with (
        own_schema(engine, mysql_root_url) as mysql_url,
        running_replicas(1, stack, mysql_url, **variables) as (replica,),
    ):
        yield LiveService(url=str(replica.client.base_url).rstrip("/"), mysql_url=mysql_url)
        # pytest shows it with a failure: a 500 says no more than that it is one.
        print(replica.log.read_text())


@dataclass
class People:
    """Whom requests are sent as: somebody of each role. Whoever's session has ended is followed by somebody new."""

    service: LiveService
    present: dict[str, dict[str, Any]] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def new_names(self) -> dict[str, str]:
        username = f"somebody_{next(self.numbers)}"
        return {"username": username, "email": f"{username}@example.com"}

    def register(self, **names: str) -> dict[str, Any]:
        form = {**names, "name": "Somebody", "password": PASSWORD, "password_confirm": PASSWORD}
        answer = httpx.post(f"{self.service.url}/v1/register", json=form, timeout=20)
        assert answer.status_code == 201, answer.text
        registered: dict[str, Any] = answer.json()
        return registered

    def who_is(self, role: str) -> dict[str, Any]:
        if role not in self.present:
            person = self.register(**self.new_names())
            if role != "customer":
                # Not in this thread, whose event loop pytest-asyncio keeps.
                with ThreadPoolExecutor(1) as thread:
                    thread.submit(asyncio.run, self._promote(person["user"]["id"], role)).result()
            self.present[role] = person
        return self.present[role]

    async def _promote(self, user_id: str, role: str) -> None:
        engine = create_engine(self.service.mysql_url)
        async with engine.begin() as connection:
            await connection.execute(text("UPDATE users SET role = :r WHERE id = :i"), {"r": role, "i": user_id})
        await engine.dispose()

    def prepare(self, case: schemathesis.Case) -> None:
        """Put in what no schema can say: a token that works, two passwords that are the same, a name that is free."""
        if (role := role_of(case)) is not None:
            case.headers["Authorization"] = f"Bearer {self.who_is(role)['access_token']}"
        # What a browser says by itself, and keeps.
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
        for role, person in list(self.present.items()):
            acted = case.headers.get("Authorization") == f"Bearer {person['access_token']}"
            was_changed = case.path_parameters.get("user_id") == person["user"]["id"]
            if (acted and operation_id(case) in ENDS_OWN_SESSION) or was_changed:
                del self.present[role]


def _description() -> dict[str, Any]:
    """OpenAPI of the service; a live one is asked whether it publishes the same."""
    app = create_app(Settings(mysql_url=SecretStr("mysql://nobody:nothing@127.0.0.1:1/auth")))
    description: dict[str, Any] = json.loads(json.dumps(app.openapi()))
    return description


DESCRIPTION = _description()
OPERATIONS = operations_of(DESCRIPTION)
contract = contract_of(DESCRIPTION, EXAMPLES_PER_OPERATION)
contract.auth(refresh_interval=None).apply_to(tag="administration")(sent_as("admin"))
contract.auth(refresh_interval=None).skip_for(tag="administration")(sent_as("customer"))


@pytest.fixture(scope="module")
def people(service: LiveService) -> Iterator[People]:
    """Makes schemathesis send its requests to the live service, as people who are there."""
    people = People(service)
    # Whom the examples in OpenAPI name.
    people.register(username="ada", email="ada@example.com")

    with sending(contract, service.url, people, rules_beyond_schemas=RULES_BEYOND_SCHEMAS):
        yield people


@pytest.fixture(scope="module")
def findings(people: People) -> Findings:
    return try_operations(contract, OPERATIONS_SECONDS)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_operation_conforms_to_openapi(operation: str, findings: Findings) -> None:
    assert operation in findings.tested
    assert not findings.failures[operation], "\n\n".join(findings.failures[operation])


def test_sequences_of_operations_conform_to_openapi(people: People) -> None:
    failures = try_sequences(contract, SEQUENCES_SECONDS)
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
    service: LiveService, people: People, page: str, gateway: str
) -> None:
    """Does what Swagger UI does."""
    visitor = Visitor(service.url, page, gateway)
    description = visitor.description()
    username = people.register(**people.new_names())["user"]["username"]
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
    assert answer.headers["allow"] == "GET, PATCH, DELETE"
