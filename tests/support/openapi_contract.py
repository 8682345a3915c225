"""Holds a live service to its OpenAPI by schemathesis, with all its checks."""

import contextlib
import copy
import re
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urljoin, urlsplit

import httpx
import hypothesis
import schemathesis
from hypothesis.errors import FlakyStrategyDefinition
from schemathesis import Case
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.core.transport import Response
from schemathesis.engine import Status, events, from_schema
from schemathesis.engine.recorder import ScenarioRecorder
from schemathesis.engine.run import PhaseName
from schemathesis.openapi.checks import RejectedPositiveData
from schemathesis.schemas import BaseSchema

from service_kit.problems import MEDIA_TYPE, ProblemDocument

SUITES, SEQUENCES_PER_SUITE, STEPS_PER_SEQUENCE = 12, 8, 8


def operations_of(description: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Every operation by its label, as in `POST /v1/login`."""
    return {
        f"{method.upper()} {path}": operation
        for path, operations in description["paths"].items()
        for method, operation in operations.items()
    }


def with_bearer_scheme(description: dict[str, Any]) -> dict[str, Any]:
    """The same contract with the scheme `http` in place of `oauth2`.

    It is the same header, but the check `ignored_auth` and the cases with a missing or wrong token know only this one.
    """
    described = copy.deepcopy(description)
    described["components"]["securitySchemes"]["Bearer"] = {"type": "http", "scheme": "bearer"}
    for operation in operations_of(described).values():
        if "security" in operation:
            operation["security"] = [{"Bearer": []} if needed else {} for needed in operation["security"]]
    return described


def example_of(schema: dict[str, Any], description: dict[str, Any]) -> Any:
    """What a reader is shown for this schema. Fails for a part that has no example and more than a few values."""
    for word in ("examples", "enum"):
        if word in schema:
            return schema[word][0]
    if "$ref" in schema:
        return example_of(description["components"]["schemas"][schema["$ref"].rpartition("/")[2]], description)
    if "anyOf" in schema:
        return example_of(schema["anyOf"][0], description)
    known = schema.get("const", schema.get("default"))
    match schema["type"]:
        case "boolean":
            known = True
        case "array" if known is None:
            known = [example_of(schema["items"], description)]
        case "object" if known is None:
            known = {name: example_of(each, description) for name, each in schema["properties"].items()}
    assert known is not None, f"no example of {schema}"
    return known


def check_examples(operation: dict[str, Any], description: dict[str, Any]) -> None:
    """Fails unless every answer of the operation is described with an example, and every error as a problem."""
    for status, answer in operation["responses"].items():
        assert "X-Request-ID" in answer["headers"], status
        content = answer.get("content", {})
        if int(status) < 400 or operation["operationId"] == "readyz":  # 503 with the same document as 200
            for described in content.values():
                assert "example" in described or example_of(described["schema"], description) is not None, status
            continue
        ((media_type, described),) = content.items()
        examples = described["examples"]
        assert examples, status
        for code, example in examples.items():
            # RFC 6749 §5.2 has another media type.
            assert media_type == ("application/json" if "error" in example["value"] else MEDIA_TYPE)
            document = ProblemDocument.model_validate(example["value"])
            assert (str(document.status), document.code) == (status, code)


def need_of_tokens(description: dict[str, Any]) -> dict[str, bool | None]:
    """Of every operation by its label, whether it needs a token; None: it takes one, and works without."""
    (scheme,) = description["components"]["securitySchemes"]
    needs: dict[str, bool | None] = {}
    for label, operation in operations_of(description).items():
        match operation.get("security", []):
            case []:
                needs[label] = False
            case [need]:
                assert need.keys() == {scheme}
                needs[label] = True
            case several:
                assert sorted(several, key=len) == [{}, {scheme: []}]
                needs[label] = None
    return needs


@dataclass(frozen=True)
class Visitor:
    """Sees a service's documentation in a browser, behind the gateway if the page is under its `prefix`."""

    url: str
    page: str
    prefix: str

    def send(self, method: str, address: str, **content: Any) -> httpx.Response:
        """Ask for what is at this address, which is relative to the page."""
        path = urlsplit(urljoin(self.page, address)).path
        assert path.startswith(self.prefix)
        headers = content.pop("headers", {}) | ({"X-Forwarded-Prefix": self.prefix} if self.prefix else {})
        answer = httpx.request(
            method, self.url + path.removeprefix(self.prefix), headers=headers, timeout=20, **content
        )
        return answer.raise_for_status()

    def description(self) -> dict[str, Any]:
        """OpenAPI as the page shows it: by the address that one of its scripts names."""
        scripts = re.findall(r'<script src="([^"]+)">', self.send("GET", self.page).text)
        named = re.findall(r"^ *url: '([^']+)'", self.send("GET", scripts[-1]).text, re.MULTILINE)
        shown: dict[str, Any] = self.send("GET", *named).json()
        return shown


def token_address(page: str, description: dict[str, Any]) -> str:
    """Where the Authorize button of Swagger UI asks for a token: it resolves `tokenUrl` against its own page."""
    (scheme,) = description["components"]["securitySchemes"].values()
    return urljoin(page, str(scheme["flows"]["password"]["tokenUrl"]))


def contract_of(description: dict[str, Any], examples_per_operation: int) -> BaseSchema:
    """The description made ready for `try_operations` and `try_sequences`, whose cases are the same in every run."""
    config = {
        "base-url": "http://service.test",
        # RFC 6585 §3: what a header is missed with that is a precondition. 403: it shows that one may.
        "checks": {"missing_required_header": {"expected-statuses": ["401", "403", "422", "428"]}},
        "generation": {"deterministic": True, "max-examples": examples_per_operation},
        "continue-on-failure": True,
        "cache": {"enabled": False},
        "suppress-health-check": ["all"],
    }
    return schemathesis.openapi.from_dict(with_bearer_scheme(description), config=schemathesis.Config.from_dict(config))


class _As:
    """Marks whom a case is sent as; it gets a token when it is sent, as that may be much later (`role_of`)."""

    role: str

    def get(self, _case: Case[Any], _context: schemathesis.AuthContext) -> str:
        return self.role

    def set(self, case: Case[Any], data: str, _context: schemathesis.AuthContext) -> None:
        case.headers["Authorization"] = f"Bearer as {data}"


def sent_as(role: str) -> type[_As]:
    """What to register with the contract's `auth`, so that a user of this role sends the requests."""
    return type(f"As{role.title()}", (_As,), {"role": role})


def role_of(case: Case[Any]) -> str | None:
    """As whom the case is to be sent. None: it has no token, or one of its own."""
    scheme, _, role = case.headers.get("Authorization", "").partition(" as ")
    return role if scheme == "Bearer" and role else None


def operation_id(case: Case[Any]) -> str:
    return str(case.operation.definition.raw["operationId"])


class Senders(Protocol):
    """Those who send the cases."""

    def prepare(self, case: Case[Any]) -> None:
        """Put in what no schema can say: a token that works, the name of something that is there."""

    def note(self, case: Case[Any], response: Response) -> None:
        """See what a case was answered with."""


def _is_failure(_failure: Exception) -> bool:
    return True


@contextlib.contextmanager
def sending(
    contract: BaseSchema,
    url: str,
    senders: Senders,
    *,
    rules_beyond_schemas: Collection[str],
    is_failure: Callable[[Exception], bool] = _is_failure,
) -> Iterator[None]:
    """Cases go to this service.

    `rules_beyond_schemas` are codes of what makes a request invalid that no schema can say: a refusal of valid data
    with nothing but these is no failure. `is_failure` knows what else schemathesis gets wrong.
    """

    @schemathesis.hook
    def before_call(_context: schemathesis.HookContext, case: Case[Any], _kwargs: dict[str, Any]) -> None:
        senders.prepare(case)

    @contract.hook
    def after_call(_context: schemathesis.HookContext, case: Case[Any], response: Response) -> None:
        senders.note(case, response)

    @contract.hook
    def filter_failure(
        _context: schemathesis.HookContext, failure: Exception, case: Case[Any], response: Response
    ) -> bool:
        # A machine that stands still for seconds makes a 503 of anything; what is wrong with the service is so again.
        if response.status_code == 503 and case.call().status_code != 503:
            return False
        if not isinstance(failure, RejectedPositiveData):
            return is_failure(failure)
        document = response.json()
        codes = {error["code"] for error in document.get("errors", [])} or {document["code"]}
        return not codes <= set(rules_beyond_schemas)

    contract.config.update(base_url=url)
    try:
        yield
    finally:
        schemathesis.hooks.unregister(before_call)


@dataclass(frozen=True)
class Findings:
    """Which operations were tested, and what was found, by their labels."""

    tested: set[str] = field(default_factory=set)
    failures: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))


def try_operations(contract: BaseSchema, seconds: float) -> Findings:
    """Send each operation its examples, all cases that follow from its schema (valid and not), and random ones.

    After `seconds` no more random cases are made up. All is one run, so that what one operation answers is asked of
    another.
    """
    findings, seen = Findings(), set()
    deadline = time.monotonic() + seconds
    run = from_schema(contract).execute()
    for event in run:
        match event:
            case events.FatalError():
                raise event.exception
            case events.NonFatalError():
                findings.failures[event.label].append(f"{event.info.title}\n{event.info.message}")
            case events.PhaseStarted() if event.phase.name is PhaseName.STATEFUL_TESTING:
                run.stop()  # this would end at the first change of what the service holds: see `try_sequences`
            case events.ScenarioFinished(label=str(label)):
                if event.phase is PhaseName.COVERAGE and event.status is not Status.SKIP:
                    findings.tested.add(label)
                for failure, told in _failures(event.recorder):
                    if failure not in seen:
                        seen.add(failure)
                        findings.failures[label].append(told)
                if event.phase is PhaseName.FUZZING and time.monotonic() > deadline:
                    run.stop()
    return findings


def _failures(recorder: ScenarioRecorder) -> Iterator[tuple[Failure, str]]:
    for case_id, checks in recorder.checks.items():
        for check in checks:
            if check.failure_info is not None:
                failure, response = check.failure_info.failure, recorder.find_response(case_id=case_id)
                answer = f"{response.status_code} {response.text}" if response is not None else "no answer"
                yield failure, f"{failure.title}\n{failure.message}\n{answer}\n{check.failure_info.code_sample}"


def try_sequences(contract: BaseSchema, seconds: float) -> list[str]:
    """What is found in random sequences of operations, each of which takes up what an earlier one has answered.

    They follow the `links` of the answers in OpenAPI, and those that schemathesis infers from names that are the same.
    """
    failures: dict[str, str] = {}

    class Sequences(contract.as_state_machine()):  # type: ignore[misc]
        def validate_response(self, response: Response, case: Case[Any], *args: Any, **kwargs: Any) -> None:
            try:
                super().validate_response(response, case, *args, **kwargs)
            except FailureGroup as failure:
                # Not raised: Hypothesis would replay the sequence, and what it began with may be gone by now.
                steps = (f"{step.method} {step.formatted_path}" for step in self.recorder.find_all_cases())
                failures.setdefault(str(failure), "\n".join(steps))

    settings = hypothesis.settings(
        max_examples=SEQUENCES_PER_SUITE,
        stateful_step_count=STEPS_PER_SEQUENCE,
        database=None,
        deadline=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    deadline = time.monotonic() + seconds
    for number in range(SUITES):
        Sequences.rule_order_seed = number
        # What a step can draw depends on what the service holds; Hypothesis ends a suite when it sees that.
        with contextlib.suppress(FlakyStrategyDefinition):
            hypothesis.seed(number)(Sequences).run(settings=settings)
        if time.monotonic() > deadline:
            break
    return [f"{steps}\n{failure}" for failure, steps in failures.items()]
