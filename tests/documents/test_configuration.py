"""docs/configuration.md is what the code says, and every variable is where it belongs."""

import re

import pytest

from docs import configuration
from support.manifests import ROOT, Manifest, compose_file


@pytest.fixture(scope="module")
def compose() -> Manifest:
    return compose_file()


def test_page_matches_the_code() -> None:
    assert configuration.PAGE.read_text() == configuration.page(), "run `make generate`"


def test_every_variable_is_described() -> None:
    classes = [*configuration.SERVICES.values(), configuration.StackConfiguration]
    silent = {
        name
        for settings in classes
        for name in configuration.variables(settings)
        if not configuration.description(settings, name)
    }
    assert silent == set()
    assert [name for name, (_, comment) in configuration.docker_variables().items() if not comment] == []


def test_compose_sets_required_variables_and_no_unknown_ones(compose: Manifest) -> None:
    for service, settings in configuration.SERVICES.items():
        read = configuration.variables(settings)
        needed = {name for name, field in read.items() if field.is_required()}
        given = set(compose["services"][service]["environment"])
        if service == "registrar":
            needed |= set(configuration.connector_variables())
            read = {**read, **configuration.connector_variables()}
        assert needed <= given, service
        assert given <= read.keys(), service


def test_every_variable_of_compose_is_in_its_example() -> None:
    text = re.sub(r"^\s*#.*$", "", (ROOT / "docker-compose.yml").read_text(), flags=re.MULTILINE)
    # `$${NAME}` is the container's business.
    assert set(re.findall(r"(?<!\$)\$\{(\w+)", text)) == set(configuration.docker_variables())
