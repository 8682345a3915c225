"""Holds a live service to its OpenAPI by schemathesis, with all its checks."""

import contextlib
import copy
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import hypothesis
from hypothesis.errors import FlakyStrategyDefinition
from schemathesis import Case
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.core.transport import Response
from schemathesis.engine import Status, events, from_schema
from schemathesis.engine.recorder import ScenarioRecorder
from schemathesis.engine.run import PhaseName
from schemathesis.schemas import BaseSchema

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
        def validate_response(self, response: Response, case: Case, *args: Any, **kwargs: Any) -> None:
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
