"""What OpenAPI says of all that workers may ask, and whether a live service keeps to it (schemathesis, all checks)."""

import json
import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from schemathesis.core.transport import Response

from embedded_stack import Stack
from service_kit.pagination import encode_cursor
from support.built_in_routes import built_in_declarations
from support.jwt_issuer import Issuer
from support.openapi_contract import (
    Findings,
    check_examples,
    contract_of,
    need_of_tokens,
    operation_id,
    operations_of,
    role_of,
    sending,
    sent_as,
    try_operations,
)
from support.polling import eventually
from support.replicas import Replica
from support.responses import problem
from support.sync_process import SyncProcess, sync_process
from sync_service.main import create_app
from sync_service.routes.loader import default_routes_file, load_routes
from sync_service.settings import Settings

TAGS = ("dead letters", "events", "reconciliation", "pipeline", "counts", "routes")

# At most. On an idle machine with two cores all of it takes half a minute; a busy one tries fewer random cases.
EXAMPLES_PER_OPERATION, OPERATIONS_SECONDS = 20, 25
LETTERS = 25

# What makes a request invalid that no schema can say: a refusal with nothing but these is no surprise.
RULES_BEYOND_SCHEMAS = {
    "invalid-cursor",  # only a list makes them
    "unknown-route",
    "route-not-found",
    "route-not-stopped",
    "reconciliation-running",  # one at a time
    "value-error",  # either ids or a route
}


def _description() -> dict[str, Any]:
    """OpenAPI of the service; a live one is asked whether it publishes the same."""
    nowhere: dict[str, Any] = {
        "mysql_url": "mysql://nobody@127.0.0.1:1/tweets",
        "mongodb_url": "mongodb://127.0.0.1:1/tweets",
        "kafka_bootstrap_servers": "127.0.0.1:1",
        "auth_jwks_url": "http://127.0.0.1:1/",
    }
    app = create_app(Settings(**nowhere), load_routes(default_routes_file()))
    description: dict[str, Any] = json.loads(json.dumps(app.openapi()))
    return description


DESCRIPTION = _description()
OPERATIONS = {
    label: operation
    for label, operation in operations_of(DESCRIPTION).items()
    if set(operation.get("tags", ())) & set(TAGS)
}
contract = contract_of(DESCRIPTION, EXAMPLES_PER_OPERATION).include(tag=list(TAGS))
contract.auth(refresh_interval=None)(sent_as("technical_worker"))


@pytest.fixture(scope="module")
def addresses(schema_url: str, mongodb_url: str, kafka_bootstrap_servers: str) -> dict[str, str]:
    return {
        "MYSQL_URL": schema_url,
        "MONGODB_URL": mongodb_url.replace("/?", f"/sync_openapi_{secrets.token_hex(4)}?"),
        "KAFKA_BOOTSTRAP_SERVERS": kafka_bootstrap_servers,
    }


@pytest.fixture(scope="module")
async def live(
    stack: Stack,
    issuer: Issuer,
    tmp_path_factory: pytest.TempPathFactory,
    addresses: dict[str, str],
) -> AsyncIterator[tuple[SyncProcess, Replica]]:
    """A process with dead letters: more than fit on a page."""
    folder: Path = tmp_path_factory.mktemp("openapi")
    declared = built_in_declarations()
    async with sync_process(
        stack, issuer, folder, urls=addresses, routes=[declared["users"], declared["tweets"]]
    ) as sync:
        await sync.send(sync.tweets, *[(b"k", b"broken")] * LETTERS)
        async with sync.running(LOG_LEVEL="WARNING") as replica:

            async def letters() -> int:
                answer = await replica.client.get("/v1/dead-letters", params={"route": sync.tweets, "limit": 100})
                return len(answer.json()["items"])

            await eventually(letters, lambda count: count == LETTERS)
            yield sync, replica
            # pytest shows it with a failure: a 500 says no more than that it is one.
            print(replica.log.read_text())


class Worker:
    """Sends the cases, with a token that works."""

    def __init__(self, sync: SyncProcess) -> None:
        self._sync = sync

    def prepare(self, case: schemathesis.Case) -> None:
        """Put in what no schema can say."""
        if role_of(case) is not None:
            case.headers.update(self._sync.bearer())
        is_valid = case.meta.generation.mode.is_positive
        if operation_id(case) == "stream_events" and (is_valid or "seconds" not in case.query):
            case.query["seconds"] = "0.05"
        if is_valid and isinstance(case.body, dict) and case.body.get("cursor"):
            case.body["cursor"] = encode_cursor(0, 0)

    def note(self, case: schemathesis.Case, response: Response) -> None:
        """Nothing that was answered matters here."""


@pytest.fixture(scope="module")
def findings(live: tuple[SyncProcess, Replica], random_share: float) -> Iterator[Findings]:
    sync, replica = live
    url = str(replica.client.base_url).rstrip("/")
    with sending(contract, url, Worker(sync), rules_beyond_schemas=RULES_BEYOND_SCHEMAS):
        yield try_operations(contract, OPERATIONS_SECONDS * random_share)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_operation_answers_as_it_is_described(operation: str, findings: Findings) -> None:
    assert operation in findings.tested
    assert not findings.failures[operation], "\n\n".join(findings.failures[operation])


async def test_live_service_publishes_this_description(live: tuple[SyncProcess, Replica]) -> None:
    assert (await live[1].client.get("/openapi.json")).json() == DESCRIPTION


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_answer_is_described_with_an_example(operation: str) -> None:
    check_examples(OPERATIONS[operation], DESCRIPTION)


def test_everything_but_the_status_needs_a_token() -> None:
    needs = need_of_tokens(DESCRIPTION)
    assert {needs[label] for label in OPERATIONS} == {True}
    assert needs["GET /v1/status"] is False


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_operation_refuses_other_roles(live: tuple[SyncProcess, Replica], operation: str) -> None:
    sync, replica = live
    method, path = operation.split()
    body = {"action": "discard", "ids": ["0-0"]} if operation == "POST /v1/dead-letters" else None
    for headers, expected in (
        ({"Authorization": ""}, (401, "not-authenticated")),
        ({"Authorization": "Bearer x.y.z"}, (401, "invalid-token")),
        (sync.bearer("customer"), (403, "forbidden")),
    ):
        answer: httpx.Response = await replica.client.request(
            method, path.replace("{letter_id}", "0-0").replace("{name}", "nowhere"), headers=headers, json=body
        )
        assert problem(answer) == expected
