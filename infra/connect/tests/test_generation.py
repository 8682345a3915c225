"""Connectors and topics follow from `routes.yaml`."""

import json
from pathlib import Path

import yaml

from registrar.generation import generated_connectors, generated_topics
from sync_service.routes.loader import default_routes_file, load_routes_file

CONNECT = Path(__file__).parents[1]


def test_built_in_connectors_are_those_of_the_last_release() -> None:
    generated = generated_connectors(load_routes_file(default_routes_file()))
    files = {file.stem: json.loads(file.read_text()) for file in (CONNECT / "connectors").glob("*.json")}
    assert {name: list(config.items()) for name, config in generated.items()} == {
        name: list(config.items()) for name, config in files.items()
    }


def test_built_in_topics_are_those_of_the_last_release() -> None:
    declared = yaml.safe_load((CONNECT / "topics.yaml").read_text())
    generated = generated_topics(load_routes_file(default_routes_file()))
    assert {name: topic.model_dump() for name, topic in generated.items()} == {
        name: topic for name, topic in declared.items() if name.startswith(("cdc.", "__debezium"))
    }
