"""Reads the declared connectors: one JSON file each, in which `${NAME}` stands for an environment variable.

The value may also come from the file that `NAME_FILE` names, because passwords are often mounted as files.
"""

import json
import string
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from service_kit.kafka_java import java_properties, prefixed
from service_kit.kafka_settings import KafkaSecurity
from service_kit.settings import value_or_file

HEARTBEAT_TOPIC_PREFIX = "__debezium-heartbeat."
_SCHEMA_HISTORY = "schema.history.internal."
_PRIVATE_KEY = "ssl.keystore.key"
# Debezium logs its settings; it hides a private key only if this pattern matches the setting's name. Each group of
# settings (producer, consumer) has a pattern of its own.
_SANITIZE, _PRIVATE_KEY_PATTERN = "custom.sanitize.pattern", r".*ssl\.keystore\.key$"


class InvalidDeclaration(Exception):  # noqa: N818 - a state of a file, not a fault of the program
    """A file can't be used. The message names the file and the error."""


@dataclass(frozen=True)
class Connector:
    """Its name is its file's name without `.json`."""

    name: str
    config: Mapping[str, str]

    @property
    def heartbeat_topic(self) -> str:
        return HEARTBEAT_TOPIC_PREFIX + self.config["topic.prefix"]

    def secured(self, kafka: KafkaSecurity) -> "Connector":
        """Add the security settings of Kafka for the schema history. The declaration's own settings take precedence.

        For everything else a connector uses clients of the Connect worker.
        """
        if f"{_SCHEMA_HISTORY}kafka.bootstrap.servers" not in self.config:
            return self
        own = java_properties(kafka)
        hidden = {_SANITIZE: _PRIVATE_KEY_PATTERN} if _PRIVATE_KEY in own else {}
        clients = prefixed({**own, **hidden}, f"{_SCHEMA_HISTORY}producer.", f"{_SCHEMA_HISTORY}consumer.")
        return replace(self, config={**hidden, **clients, **self.config})


def declarations_folder() -> Path:
    """The folder of `connectors/` and `topics.yaml`: the installed package, or in a checkout the parent of `src`."""
    package = Path(__file__).parent
    return package if (package / "topics.yaml").exists() else package.parents[1]


def load_connectors(folder: Path, environment: Mapping[str, str]) -> list[Connector]:
    """Read every `*.json` of `folder`. Raises `InvalidDeclaration`."""
    return [_load(file, environment) for file in sorted(folder.glob("*.json"))]


def _load(file: Path, environment: Mapping[str, str]) -> Connector:
    try:
        # Value by value, so that a password may contain quotes and backslashes.
        declared: dict[str, Any] = json.loads(file.read_text())
        config = {key: _substitute(str(value), environment) for key, value in declared.items()}
    except KeyError as missing:
        raise InvalidDeclaration(f"{file.name}: the environment variable {missing.args[0]} is not set") from None
    except ValueError as error:
        raise InvalidDeclaration(f"{file.name}: {error}") from error
    for setting in ("connector.class", "topic.prefix"):
        if setting not in config:
            raise InvalidDeclaration(f"{file.name}: {setting} is missing")
    return Connector(file.stem, config)


def _substitute(text: str, environment: Mapping[str, str]) -> str:
    template = string.Template(text)
    found = {name: value_or_file(name, environment) for name in template.get_identifiers()}
    return template.substitute({name: value for name, value in found.items() if value is not None})
