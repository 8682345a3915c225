"""What the registrar keeps in place: connectors and topics, of `routes.yaml` and of files of one's own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from registrar.connectors import Connector, InvalidDeclaration, connector, declarations_folder, read_connectors
from registrar.generation import generated_connectors, generated_topics, with_exclusions, with_statements
from registrar.settings import Settings
from registrar.topics import TopicDeclaration, load_topics
from sync_service.routes.loader import InvalidRoutes, RoutesFile, load_routes_file


@dataclass(frozen=True)
class Declared:
    connectors: Sequence[Connector]
    topics: Mapping[str, TopicDeclaration]


def declared_settings(file: RoutesFile, folder: Path | None = None) -> dict[str, dict[str, str]]:
    """The settings of each connector by its name, with variables. A file in `folder` replaces a generated connector.

    Raises `InvalidDeclaration`.
    """
    own = _own_connectors(folder)
    excluding = {name: with_exclusions(config, file.routes) for name, config in own.items()}
    return {name: with_statements(config) for name, config in {**generated_connectors(file), **excluding}.items()}


def _own_connectors(folder: Path | None = None) -> dict[str, dict[str, str]]:
    return read_connectors(folder or declarations_folder() / "connectors")


def declared_topics(file: RoutesFile) -> dict[str, TopicDeclaration]:
    """Raises `InvalidDeclaration`."""
    return {**generated_topics(file), **load_topics(declarations_folder() / "topics.yaml")}


class DeclarationError(Exception):
    """Routes or connectors are wrong. The message is one line."""


class DeclaredFile:
    """The file of the routes, which may change while the registrar runs."""

    def __init__(self, settings: Settings, environment: Mapping[str, str]) -> None:
        self._settings, self._environment = settings, environment
        self._content = self._seen = self._read()
        self._is_refused = False

    def changed(self) -> Declared | None:
        """What the file declares, if it has changed. Raises `DeclarationError`.

        A content is taken over by the second call that finds it: before, it may not be written to its end. A wrong one
        is loaded again by each call, because the fault may be in a variable, or in another file.
        """
        content, before = self._read(), self._seen
        self._seen = content
        if content != before or (content == self._content and not self._is_refused):
            return None
        self._content, self._is_refused = content, True
        try:
            declared = load_declared(self._settings, self._environment)
        except (InvalidRoutes, InvalidDeclaration) as error:
            raise DeclarationError("; ".join(str(error).splitlines())) from error
        self._is_refused = False
        return declared

    def _read(self) -> bytes | None:
        try:
            return self._settings.sync_routes_file.read_bytes()
        except OSError:
            return None


def load_declared(settings: Settings, environment: Mapping[str, str]) -> Declared:
    """Raises `InvalidDeclaration` and `InvalidRoutes`."""
    file = load_routes_file(settings.sync_routes_file)
    variables = {**environment, "REGISTRAR_REPLICATION_FACTOR": str(settings.registrar_replication_factor)}
    connectors = [
        connector(name, config, variables).secured(settings).sized(settings.kafka_max_record_bytes)
        for name, config in sorted(declared_settings(file).items())
    ]
    own = _own_connectors()
    connectors = [each if each.name in own else each.generated_by(settings.registrar_name) for each in connectors]
    if settings.connect_exactly_once:
        connectors = [each.exactly_once() for each in connectors]
    return Declared(connectors, declared_topics(file))
