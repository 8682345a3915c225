"""Tandem's services, run from this repository with the Python of its virtual environment."""

import json
import subprocess
import sys
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import ClassVar

from embedded_stack.components.base import (
    LOOPBACK,
    Component,
    Environment,
    MySQLAccount,
    failed_checks,
    get,
    responds_ok,
)
from embedded_stack.errors import StackError
from embedded_stack.process import Command


def script(name: str) -> str:
    """The path of a console script of the current virtual environment."""
    return str(Path(sys.executable).with_name(name))


class Service(Component):
    """A service with HTTP and a readiness check at `/readyz`."""

    program: ClassVar[str]
    address_key: ClassVar[str]
    grace = 15

    def variables(self) -> dict[str, str]:
        """Its environment variables, in addition to those of every process."""
        raise NotImplementedError

    def require(self, problem: str, *arguments: str) -> None:
        """Run one of its commands. Raises `StackError` if that fails."""
        environment = {**self.environment.base, **self.variables()}
        done = subprocess.run(
            [script(self.program), *arguments], env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise StackError(f"{problem} (docs/your-own-databases.md):\n{done.stderr.strip()}")

    def command(self) -> Command:
        own = {"HOST": LOOPBACK, "PORT": str(self.environment.port(self.name)), "TRUSTED_PROXIES": LOOPBACK}
        return Command([script(self.program), "run"], {**self.environment.base, **own, **self.variables()})

    def is_ready(self) -> bool:
        return responds_ok(f"{self.environment.addresses[self.address_key]}/readyz")


class AuthService(Service):
    name = "auth"
    program = "auth-service"
    address_key = "AUTH_URL"
    depends_on = ("mysql",)
    ports = ("auth",)

    def variables(self) -> dict[str, str]:
        return {
            **token_settings(self.environment),
            "MYSQL_URL": self.environment.addresses["MYSQL_URL"],
            "AUTH_KEY_ENCRYPTION_SECRET": self.environment.credentials.key_encryption,
            # The mail sink is no dependency: mails wait in the outbox until it is up.
            "AUTH_SMTP_URL": self.environment.addresses["SMTP_URL"],
            "AUTH_PUBLIC_URL": self.environment.addresses["GATEWAY_URL"],
            "GATEWAY_PREFIX": "/api/auth",
        }


class TweetService(Service):
    name = "tweet"
    program = "tweet-service"
    address_key = "TWEET_URL"
    depends_on = ("mongo", "auth")
    ports = ("tweet",)

    def variables(self) -> dict[str, str]:
        return {
            **token_settings(self.environment),
            **key_set(self.environment),
            "MONGODB_URL": self.environment.addresses["MONGODB_URL"],
            "GATEWAY_PREFIX": "/api/tweets",
        }


class SyncService(Service):
    name = "sync"
    program = "sync-service"
    address_key = "SYNC_URL"
    depends_on = ("mysql", "mongo", "kafka")
    ports = ("sync",)

    def check(self) -> None:
        missing = [name for name in ("MYSQL_URL", "MONGODB_URL") if not self.environment.addresses[name]]
        if missing:
            raise StackError(f"{' and '.join(missing)} of your databases must be set: docs/your-own-databases.md")
        if self.environment.configuration.is_sync_only:
            self.require("the tables of the sync can't be created in MYSQL_URL", "routes", "migrate")

    def variables(self) -> dict[str, str]:
        return {
            # auth is no dependency: only requests with a token need the keys.
            **(
                {"SYNC_OPERATOR_TOKEN": self.environment.addresses["SYNC_OPERATOR_TOKEN"]}
                if self.environment.configuration.is_sync_only
                else {**token_settings(self.environment), **key_set(self.environment)}
            ),
            "MYSQL_URL": self.environment.addresses["SYNC_MYSQL_URL"],
            "MONGODB_URL": self.environment.addresses["MONGODB_URL"],
            "KAFKA_BOOTSTRAP_SERVERS": self.environment.addresses["KAFKA_BOOTSTRAP_SERVERS"],
            **self.environment.configuration.kafka_security.kafka_variables(),
            **record_settings(self.environment),
            **routes_setting(self.environment),
            # The registrar is no dependency: without it the state of the connectors is unknown.
            "REGISTRAR_URL": self.environment.addresses["REGISTRAR_URL"],
            "GATEWAY_PREFIX": "/api/sync",
        }


class Registrar(Service):
    name = "registrar"
    program = "registrar"
    address_key = "REGISTRAR_URL"
    depends_on = ("connect", "mysql", "mongo")
    ports = ("registrar",)

    _awaited = ""

    def check(self) -> None:
        """Your own databases may not be prepared."""
        if self.environment.configuration.is_sync_only:
            self.require("Debezium can't read your databases", "sources")

    def variables(self) -> dict[str, str]:
        return registrar_environment(self.environment)

    def is_ready(self) -> bool:
        """Connectors may wait for tables that only a running stack can get."""
        address = self.environment.addresses[self.address_key]
        status, content = get(f"{address}/readyz")
        failed = failed_checks(content)
        self._awaited = ""
        if status != HTTPStatus.OK and failed:
            connectors = json.loads(get(f"{address}/v1/connectors")[1])
            awaited = {each["name"]: each["waits_for"] for each in connectors if each["waits_for"]}
            if failed.keys() <= awaited.keys():
                self._awaited = "".join(f"; {name} {reason}" for name, reason in awaited.items())
                return True
        return super().is_ready()

    @property
    def remark(self) -> str:
        return self._awaited


def token_settings(environment: Environment) -> dict[str, str]:
    return {"AUTH_ISSUER": f"{environment.addresses['GATEWAY_URL']}/api/auth", "AUTH_AUDIENCE": "tandem"}


def key_set(environment: Environment) -> dict[str, str]:
    return {"AUTH_JWKS_URL": f"{environment.addresses['AUTH_URL']}/.well-known/jwks.json"}


def record_settings(environment: Environment) -> dict[str, str]:
    return {"KAFKA_MAX_RECORD_BYTES": str(environment.configuration.kafka_max_record_bytes)}


def routes_setting(environment: Environment) -> dict[str, str]:
    return {"SYNC_ROUTES_FILE": str(environment.configuration.routes)}


def registrar_environment(environment: Environment) -> dict[str, str]:
    return {
        **environment.base,
        "KAFKA_BOOTSTRAP_SERVERS": environment.addresses["KAFKA_BOOTSTRAP_SERVERS"],
        **environment.configuration.kafka_security.kafka_variables(),
        **record_settings(environment),
        **routes_setting(environment),
        "CONNECT_URL": environment.addresses["CONNECT_URL"],
        "REGISTRAR_NAME": environment.configuration.name_of_registrar,
        "REGISTRAR_REPLICATION_FACTOR": str(environment.topology.kafka),
        "CONNECT_EXACTLY_ONCE": str(environment.configuration.connect_exactly_once),
        **_source_addresses(environment),
    }


def _source_addresses(environment: Environment) -> Mapping[str, str]:
    if environment.configuration.is_sync_only:
        return environment.configuration.connector_variables
    mysql = MySQLAccount.parse(environment.addresses["MYSQL_ROOT_URL"])
    return {
        "CDC_MYSQL_HOST": mysql.host,
        "CDC_MYSQL_PORT": str(mysql.port),
        "CDC_MYSQL_USER": "debezium",
        "CDC_MYSQL_PASSWORD": environment.credentials.mysql_debezium,
        "CDC_MONGODB_URL": environment.addresses["MONGODB_URL"],
    }
