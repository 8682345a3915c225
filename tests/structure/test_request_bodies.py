"""No request body can cause more than a few validation errors, each of which costs time."""

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError

import auth_service.main
import sync_service.main
import tweet_service.main
from service_kit.problems import MAX_ERRORS
from service_kit.schemas import RequestBody

# Importing the applications defines all bodies.
SERVICES = (auth_service.main, sync_service.main, tweet_service.main)
UNKNOWN = {f"unknown-{number}": 1 for number in range(1000)}


def bodies_of(base: type[RequestBody]) -> Iterator[type[RequestBody]]:
    for each in base.__subclasses__():
        if each.__module__.partition(".")[0] in {service.__package__ for service in SERVICES}:
            yield each
        yield from bodies_of(each)


BODIES = sorted(set(bodies_of(RequestBody)), key=lambda body: body.__qualname__)


def wrong_values() -> Iterator[Any]:
    for item in (None, 0, "", {}, [], UNKNOWN):
        # Lengths that services permit: a longer list is one error.
        for length in (200, 1000):
            yield [item] * length
            yield dict.fromkeys(map(str, range(length)), item)


def test_bodies_of_all_services_are_tested() -> None:
    assert {body.__module__.partition(".")[0] for body in BODIES} == {service.__package__ for service in SERVICES}


@pytest.mark.parametrize("body", BODIES, ids=lambda body: body.__qualname__)
def test_wrong_body_has_few_errors(body: type[RequestBody]) -> None:
    wrong = [UNKNOWN, *(UNKNOWN | {name: value} for name in body.model_fields for value in wrong_values())]
    for each in wrong:
        with pytest.raises(ValidationError) as raised:
            body.model_validate(each)
        # Of the body, of one item in it, and missing fields.
        assert raised.value.error_count() <= 3 * MAX_ERRORS
