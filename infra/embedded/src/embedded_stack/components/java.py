"""The Java runtime and the class path that Kafka and Kafka Connect share."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from embedded_stack.components.base import Component
from embedded_stack.configuration import REPOSITORY, require_without
from embedded_stack.fetch.jars import jars_folder
from embedded_stack.fetch.wheels import java, share_classes

# An address, because Log4j gives `,` and `%` a meaning in a path.
LOGGING_OPTION = f"-Dlog4j2.configurationFile={(REPOSITORY / 'infra' / 'kafka' / 'log4j2.properties').as_uri()}"


class JavaComponent(Component):
    """A Java program with Apache Kafka's class path."""

    def check(self) -> None:
        configuration = self.environment.configuration
        require_without(configuration.cache, {":": "colon"}, "TANDEM_CACHE_DIR", "a class path")
        # In the properties, data folders and plugin folders are lists, in which a comma can't be escaped.
        require_without(configuration.state, {",": "comma"}, "TANDEM_STATE_DIR", "Kafka's properties")

    def fetch(self) -> None:
        java(self.environment.cache)
        self.jars("kafka")

    def jars(self, name: str) -> Path:
        """The folder of the jars of `infra/embedded/jars/NAME.lock`."""
        configuration = self.environment.configuration
        return jars_folder(configuration.cache, name, configuration.maven_repository)

    @property
    def variables(self) -> Mapping[str, str]:
        """The environment. In the locale `C` Java can't open files whose names are not ASCII."""
        return {**self.environment.base, "LC_ALL": "C.UTF-8"}

    def java(self, *arguments: str) -> Sequence[str]:
        """The command line for these options, main class and arguments."""
        return [str(java(self.environment.cache)), "-cp", f"{self.jars('kafka')}/*", *arguments]

    def class_archive(self) -> Sequence[str]:
        """Options of a JVM that loads its classes from an archive in the cache, for a start in half the time.

        A JVM that finds no valid archive writes one when it ends (`AutoCreateSharedArchive`). None if the archive can't
        be written: such a JVM would warn at its start or its end.
        """
        cache = self.environment.cache
        if not os.access(cache, os.W_OK) or not share_classes(cache):
            return []
        folder = cache / f"{self.jars('kafka').name}-classes"
        folder.mkdir(exist_ok=True)
        archive = folder / f"{type(self).name}.jsa"
        # It warns of each class that an archive can't have.
        return ["-XX:+AutoCreateSharedArchive", f"-XX:SharedArchiveFile={archive}", "-Xlog:cds*=error"]
