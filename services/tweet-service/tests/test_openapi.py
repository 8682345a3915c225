"""The OpenAPI document, and a live service against it (schemathesis, all checks, all phases)."""

import json
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import schemathesis
from bson import ObjectId
from pydantic import SecretStr
from schemathesis.core.transport import Response
from schemathesis.generation.meta import TestPhase
from schemathesis.openapi.checks import UseAfterFree

from embedded_stack import Stack
from support.jwt_issuer import AUDIENCE, ISSUER, Issuer
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
from support.replicas import running_processes
from support.responses import problem
from support.tweet_app import Documents, own_database
from tweet_service.headers import ETAG
from tweet_service.main import create_app
from tweet_service.settings import Settings
from tweet_service.tweets.repository import COLLECTION
from tweet_service.tweets.service import new_tweet

PREFIX = "/api/tweets"

# At most. On an idle machine with two cores all of it takes 40 seconds; a busy one tries fewer random cases.
EXAMPLES_PER_OPERATION = 30
OPERATIONS_SECONDS, SEQUENCES_SECONDS = 35, 15

PAGE_AND_MORE = 25

# The objects that the examples in the document refer to.
TWEET_ID, AUTHOR = ObjectId("6924ea2f0c9d3a5b7e1f4a68"), "ada"

# What makes a request invalid that no schema can say: a refusal with nothing but these is no surprise.
RULES_BEYOND_SCHEMAS = {
    "invalid-cursor",  # only a list makes them
    "invalid-stream-position",  # only the stream makes them
    "stream-position-lost",
    "referenced-tweet-not-found",
    "stale-version",  # only the tweet says which is current
    "text-blank",
}

# High limits, because a 429 would hide other responses.
NO_LIMITS = dict.fromkeys(("TWEET_WRITES_PER_MINUTE", "TWEET_READS_PER_MINUTE"), "10000000")


@dataclass(frozen=True)
class LiveService:
    url: str
    documents: Documents


@pytest.fixture(scope="module")
async def service(stack: Stack, mongodb_url: str, issuer: Issuer) -> AsyncIterator[LiveService]:
    """A process of its own, on a database of its own."""
    variables = {
        **NO_LIMITS,
        "AUTH_JWKS_URL": issuer.url,
        "AUTH_ISSUER": ISSUER,
        "AUTH_AUDIENCE": AUDIENCE,
        "GATEWAY_PREFIX": PREFIX,
        "LOG_LEVEL": "WARNING",
    }
    with own_database(mongodb_url) as own:
        variables |= {"MONGODB_URL": own.url, "TWEET_USERS_DATABASE": own.documents.name}
        async with running_processes("tweet-service", 1, stack, **variables) as (replica,):
            yield LiveService(url=str(replica.client.base_url).rstrip("/"), documents=own.documents)
            # pytest shows the log with a failure, because a 500 has no details.
            print(replica.log.read_text())


@dataclass
class People:
    """The callers of requests: the user of the examples, and a follower."""

    documents: Documents
    issuer: Issuer
    tokens: dict[str, str] = field(default_factory=dict)

    def arrive(self, username: str, **claims: Any) -> None:
        """The caller has a token, and has arrived in the copy."""
        user_id = f"u-{username}"
        live = {"operation": "c", "deleted_at": None}
        user = {"_id": user_id, "username": username, "name": username.title(), "is_active": True, "_sync": live}
        self.documents["users_copy"].replace_one({"_id": user_id}, user, upsert=True)
        self.tokens[username] = self.issuer.token(sub=user_id, username=username, **claims)

    def put_example_in_place(self) -> None:
        """Restore the tweet of the examples, which an earlier case may have deleted."""
        tweet = new_tweet(f"u-{AUTHOR}", "Hello #Tandem", tweet_id=TWEET_ID)
        self.documents[COLLECTION].update_one({"_id": TWEET_ID}, {"$setOnInsert": {**tweet}}, upsert=True)

    def name_version(self, case: schemathesis.Case) -> None:
        """Edit the tweet as it is now, if there is one, unless the case has an `ETag` that was answered."""
        tweet_id = case.path_parameters["tweet_id"]
        found = (
            self.documents[COLLECTION].find_one({"_id": ObjectId(tweet_id)}) if ObjectId.is_valid(tweet_id) else None
        )
        if found is not None and not re.fullmatch(ETAG["schema"]["pattern"], case.headers.get("If-Match", "")):
            case.headers["If-Match"] = f'"{found["version"]}"'

    def fill_pages(self, url: str) -> None:
        """Every list has more than fits on a page."""
        tweet = f"/v1/tweets/{TWEET_ID}"
        with httpx.Client(base_url=url, timeout=30) as client:
            for number in range(PAGE_AND_MORE):
                username = f"reader_{number}"
                self.arrive(username)
                reader, author = ({"Authorization": f"Bearer {self.tokens[name]}"} for name in (username, AUTHOR))
                for path in (f"{tweet}/like", f"{tweet}/repost", f"/v1/users/{AUTHOR}/follow"):
                    client.put(path, headers=reader).raise_for_status()
                client.put(f"/v1/users/{username}/follow", headers=author).raise_for_status()
                reply = {"text": "tandem #tandem", "reply_to": str(TWEET_ID)}
                client.post("/v1/tweets", json=reply, headers=author).raise_for_status()

    def prepare(self, case: schemathesis.Case) -> None:
        """Fill in what a schema can't describe: a valid token, an existing tweet, its version."""
        if (role := role_of(case)) is not None:
            case.headers["Authorization"] = f"Bearer {self.tokens[role]}"
        # A sequence of operations sees to it that what is deleted stays so.
        names_example = str(TWEET_ID) in str((case.path_parameters, case.body))
        if names_example and case.meta.phase.name is not TestPhase.STATEFUL:
            self.put_example_in_place()
        if operation_id(case) == "edit_tweet" and case.meta.generation.mode.is_positive:
            self.name_version(case)
        if operation_id(case) == "stream_tweets" and (
            case.meta.generation.mode.is_positive or "seconds" not in case.query
        ):
            # A number, as the schema has it: of text schemathesis would say that the query is wrong for another reason.
            case.query["seconds"] = 0.05

    def note(self, case: schemathesis.Case, response: Response) -> None:
        """Nothing that was answered matters here."""


def _description() -> dict[str, Any]:
    """OpenAPI of the service; a live one is asked whether it publishes the same."""
    nowhere: dict[str, Any] = {
        "mongodb_url": SecretStr("mongodb://127.0.0.1:1/tweets"),
        "auth_jwks_url": "http://127.0.0.1:1/",
    }
    description: dict[str, Any] = json.loads(json.dumps(create_app(Settings(**nowhere)).openapi()))
    return description


DESCRIPTION = _description()
OPERATIONS = operations_of(DESCRIPTION)
contract = contract_of(DESCRIPTION, EXAMPLES_PER_OPERATION)
contract.auth(refresh_interval=None).apply_to(tag="people")(sent_as("bob"))
contract.auth(refresh_interval=None).skip_for(tag="people")(sent_as(AUTHOR))


def is_failure(failure: Exception) -> bool:
    """`/like` belongs to the caller; schemathesis treats `/likes` as the same resource."""
    return not (isinstance(failure, UseAfterFree) and failure.usage.split()[1] == failure.free.split()[1] + "s")


@pytest.fixture(scope="module")
def people(service: LiveService, issuer: Issuer) -> Iterator[People]:
    """Sends the requests of schemathesis to the live service, as existing users."""
    people = People(service.documents, issuer)
    people.arrive(AUTHOR)
    people.arrive("bob")
    people.put_example_in_place()
    people.fill_pages(service.url)
    with sending(contract, service.url, people, rules_beyond_schemas=RULES_BEYOND_SCHEMAS, is_failure=is_failure):
        yield people


@pytest.fixture(scope="module")
def findings(people: People, random_share: float) -> Findings:
    return try_operations(contract, OPERATIONS_SECONDS * random_share)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_operation_answers_as_it_is_described(operation: str, findings: Findings) -> None:
    assert operation in findings.tested
    assert not findings.failures[operation], "\n\n".join(findings.failures[operation])


def test_sequences_of_operations_answer_as_they_are_described(people: People, random_share: float) -> None:
    failures = try_sequences(contract, SEQUENCES_SECONDS * random_share)
    assert not failures, "\n\n".join(failures)


def test_live_service_publishes_this_description(service: LiveService) -> None:
    assert httpx.get(f"{service.url}/openapi.json").json() == DESCRIPTION


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_answer_is_described_with_an_example(operation: str) -> None:
    check_examples(OPERATIONS[operation], DESCRIPTION)


PUBLIC = {"GET /healthz", "GET /readyz", "GET /metrics"}


def test_reading_takes_a_token_and_writing_needs_one() -> None:
    needs = need_of_tokens(DESCRIPTION)
    assert {label for label, needed in needs.items() if needed is False} == PUBLIC
    own = {"GET /v1/timeline", "GET /v1/reactions"}
    reading = {label for label in needs if label.startswith("GET ") and label not in own}
    assert {label for label, needed in needs.items() if needed is None} == reading - PUBLIC


@pytest.mark.parametrize(
    ("operation", "sent", "code"),
    [
        *((label, {}, "not-authenticated") for label, needed in need_of_tokens(DESCRIPTION).items() if needed),
        *((label, {"Authorization": "Bearer x.y.z"}, "invalid-token") for label in OPERATIONS if label not in PUBLIC),
    ],
)
def test_operation_refuses_an_invalid_token(
    service: LiveService, operation: str, sent: dict[str, str], code: str
) -> None:
    method, path = operation.split()
    address = service.url + path.replace("{tweet_id}", str(TWEET_ID)).replace("{username}", AUTHOR)
    answer = httpx.request(method, address, headers=sent)
    assert problem(answer) == (401, code)
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_authorize_button_of_the_documentation_asks_auth_service(service: LiveService, people: People) -> None:
    """The gateway, which has both services on one origin."""
    page = f"http://gateway.test:8080{PREFIX}/docs"
    visitor = Visitor(service.url, page, PREFIX)
    description = visitor.description()
    assert token_address(page, description) == "http://gateway.test:8080/api/auth/v1/token"
    (server,) = description["servers"]
    sent = {"Authorization": f"Bearer {people.tokens[AUTHOR]}"}
    assert visitor.send("GET", f"{server['url']}/v1/timeline", headers=sent).json().keys() == {"items", "next_cursor"}


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/v1/tweets", "GET, HEAD, POST"),
        ("POST", f"/v1/tweets/{TWEET_ID}", "GET, HEAD, PATCH, DELETE"),
        ("TRACE", f"/v1/tweets/{TWEET_ID}/like", "PUT, DELETE"),
        ("OPTIONS", "/v1/users/ada/follow", "PUT, DELETE"),
    ],
)
def test_method_that_a_path_has_not_is_answered_with_those_that_it_has(
    service: LiveService, method: str, path: str, allowed: str
) -> None:
    answer = httpx.request(method, service.url + path)
    assert problem(answer) == (405, "method-not-allowed")
    assert answer.headers["allow"] == allowed
