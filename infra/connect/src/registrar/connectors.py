"""The connectors as declared, generated or in a JSON file each. `${NAME}` stands for an environment variable.

The value may also come from the file that `NAME_FILE` names, because passwords are often mounted as files.
"""

import json
import string
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from registrar.captured import SIGNALS
from service_kit.kafka_java import java_properties, prefixed
from service_kit.kafka_settings import KafkaSecurity
from service_kit.settings import value_or_file

HEARTBEAT_TOPIC_PREFIX = "__debezium-heartbeat."
# Clients of Kafka that a connector creates itself: the setting with their address, and the starts of their settings.
_OWN_CLIENTS = {
    "schema.history.internal.kafka.bootstrap.servers": (
        "schema.history.internal.producer.",
        "schema.history.internal.consumer.",
    ),
    "signal.kafka.bootstrap.servers": ("signal.consumer.",),
}
_PRIVATE_KEY = "ssl.keystore.key"
# Debezium logs its settings; it hides a private key only if this pattern matches the setting's name. Each group of
# settings (producer, consumer) has a pattern of its own.
_SANITIZE, _PRIVATE_KEY_PATTERN = "custom.sanitize.pattern", r".*ssl\.keystore\.key$"

# MongoDB delivers no change event over 16 MB, and ends the change stream. The event of an update has the whole document
# and in addition the changed fields: without the latter every event fits. The copies are made from the whole document.
# It is removed first, because Debezium's own stages fail for an event that is too large.
_WITHOUT_UPDATE_DESCRIPTION = {
    "cursor.pipeline": '[{"$unset": "updateDescription"}]',
    "cursor.pipeline.order": "user_first",
}

# Kafka Connect refuses the connector unless it supports this itself, with `exactly.once.source.support=enabled`.
_EXACTLY_ONCE = {"exactly.once.support": "required", "transaction.boundary": "poll"}
# A transaction takes milliseconds, so it must have all events that wait, and not wait for more. With one event in each
# the MySQL connector does not keep up with 200 changes a second.
_BATCHES_OF_TRANSACTIONS = {"max.batch.size": "2048", "poll.interval.ms": "10"}


# Marks a generated connector in Kafka Connect: the registrar's name and the connector's. Connectors ignore options that
# they don't know. A copy of the settings under another name has not its own name in the mark.
_MARK = "tandem.generated"


class InvalidDeclaration(Exception):  # noqa: N818 - a state of a file, not a fault of the program
    """A file can't be used. The message names the file and the error."""


@dataclass(frozen=True)
class Connector:
    """Its name is that of its source, or its file's without `.json`."""

    name: str
    config: Mapping[str, str]

    @property
    def heartbeat_topic(self) -> str:
        prefix = self.config.get("topic.heartbeat.prefix", HEARTBEAT_TOPIC_PREFIX.removesuffix("."))
        return f"{prefix}.{self.config['topic.prefix']}"

    def secured(self, kafka: KafkaSecurity) -> "Connector":
        """Add the security settings of Kafka for schema history and signals. The declaration's own settings take
        precedence.

        For everything else a connector uses clients of the Connect worker.
        """
        prefixes = [
            prefix for address, prefixes in _OWN_CLIENTS.items() if address in self.config for prefix in prefixes
        ]
        if not prefixes:
            return self
        own = java_properties(kafka)
        hidden = {_SANITIZE: _PRIVATE_KEY_PATTERN} if _PRIVATE_KEY in own else {}
        clients = prefixed({**own, **hidden}, *prefixes)
        return replace(self, config={**hidden, **clients, **self.config})

    def sized(self, max_record_bytes: int) -> "Connector":
        """Let the connector write records of this size. The declaration's own settings take precedence.

        The queue between the database and Kafka is limited by bytes, too, because it may hold thousands of records.
        """
        sizes = {
            "producer.override.max.request.size": max_record_bytes,
            # Also the memory of records that Kafka has not confirmed yet.
            "producer.override.buffer.memory": 2 * max_record_bytes,
            "max.queue.size.in.bytes": max_record_bytes,
        }
        fitting = {name: str(size) for name, size in sizes.items()}
        if self.reads_mongodb:
            fitting |= _WITHOUT_UPDATE_DESCRIPTION
        return replace(self, config={**fitting, **self.config})

    def exactly_once(self) -> "Connector":
        """Write the events of each poll in a transaction (KIP-618).

        The declaration's `transaction.boundary` takes precedence; its batches are for a connector without transactions.
        """
        return replace(self, config={**_EXACTLY_ONCE, **self.config, **_BATCHES_OF_TRANSACTIONS})

    def generated_by(self, registrar: str) -> "Connector":
        """Mark it as generated, so that it is deleted when its source is no longer declared."""
        return replace(self, config={**self.config, _MARK: f"{registrar}/{self.name}"})

    def is_generated_by(self, registrar: str) -> bool:
        return self.config.get(_MARK) == f"{registrar}/{self.name}"

    @property
    def reads_mysql(self) -> bool:
        return self.config["connector.class"] == "io.debezium.connector.mysql.MySqlConnector"

    @property
    def reads_mongodb(self) -> bool:
        return self.config["connector.class"] == "io.debezium.connector.mongodb.MongoDbConnector"

    def writes(self, topic: str) -> bool:
        """The topic of its signals has the same prefix, and is written by others."""
        return topic.startswith(f"{self.config['topic.prefix']}.") and topic != self.config.get(SIGNALS)


def declarations_folder() -> Path:
    """The folder of `connectors/` and `topics.yaml`: the installed package, or in a checkout the parent of `src`."""
    package = Path(__file__).parent
    return package if (package / "topics.yaml").exists() else package.parents[1]


def read_connectors(folder: Path) -> dict[str, dict[str, str]]:
    """The settings in every `*.json` of `folder`, by the connector's name. Raises `InvalidDeclaration`."""
    return {file.stem: _read(file) for file in sorted(folder.glob("*.json"))}


def _read(file: Path) -> dict[str, str]:
    try:
        declared: dict[str, Any] = json.loads(file.read_text())
        # Without the mark, if the settings are copied from Kafka Connect: the connector is not generated.
        config = {key: str(value) for key, value in declared.items() if key != _MARK}
    except (OSError, ValueError, AttributeError) as error:
        raise InvalidDeclaration(f"{file.name}: {error}") from error
    for setting in ("connector.class", "topic.prefix"):
        if setting not in config:
            raise InvalidDeclaration(f"{file.name}: {setting} is missing")
    return config


def registered_connector(name: str, entry: object) -> Connector | None:
    """A connector as Kafka Connect's list of connectors has it; None without its settings."""
    match entry:
        case {"info": {"config": {"connector.class": _, "topic.prefix": _, **_rest} as config}}:
            return Connector(name, config)
    return None


def connector(name: str, declared: Mapping[str, str], environment: Mapping[str, str]) -> Connector:
    """Insert the variables. Raises `InvalidDeclaration`."""
    try:
        # Value by value, so that a password may contain quotes and backslashes.
        found = Connector(name, {key: _substitute(value, environment) for key, value in declared.items()})
    except KeyError as missing:
        variable = missing.args[0]
        raise InvalidDeclaration(f"connector {name}: the environment variable {variable} is not set") from None
    except ValueError as error:
        raise InvalidDeclaration(f"connector {name}: {error}") from error
    return found


def _substitute(text: str, environment: Mapping[str, str]) -> str:
    template = string.Template(text)
    found = {name: value_or_file(name, environment) for name in template.get_identifiers()}
    return template.substitute({name: value for name, value in found.items() if value is not None})
