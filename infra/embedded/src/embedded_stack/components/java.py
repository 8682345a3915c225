"""What Kafka and Kafka Connect have in common: a Java runtime and the class path of one lock file."""

from collections.abc import Sequence
from pathlib import Path

from embedded_stack.components.base import Component
from embedded_stack.fetch.jars import jars_folder
from embedded_stack.fetch.wheels import java


class JavaComponent(Component):
    """A process of Apache Kafka's class path."""

    def fetch(self) -> None:
        java(self.environment.cache)
        self.jars("kafka")

    def jars(self, name: str) -> Path:
        """The folder with the jars of `infra/embedded/jars/NAME.lock`."""
        configuration = self.environment.configuration
        return jars_folder(configuration.cache, name, configuration.maven_repository)

    def java(self, *arguments: str) -> Sequence[str]:
        """The command line of a Java program: options, main class and its arguments."""
        return [str(java(self.environment.cache)), "-cp", f"{self.jars('kafka')}/*", *arguments]
