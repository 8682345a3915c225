"""`registrar sources`: can Debezium read the databases whose addresses are in the environment?

Before there are routes: `sources` checks those that a connector reads.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from registrar.connectors import Connector, connector
from registrar.declared import load_declared
from registrar.generation import connector_settings
from registrar.settings import Settings
from registrar.sources import Unreachable, missing_privileges, source_problem
from service_kit.settings import value_or_file
from sync_service.sinks.source_declaration import Source

# The beginnings of the variables that a new source has.
_DEFAULTS = (Source(name="mysql", kind="mysql"), Source(name="mongodb", kind="mongodb", database="admin"))


@dataclass(frozen=True)
class CheckedSource:
    """`problem` is what is wrong, with the remedy; None if the database is prepared."""

    name: str
    problem: str | None


async def check_sources(settings: Settings, environment: Mapping[str, str]) -> Sequence[CheckedSource]:
    """Those of the routes file, and those that a new route would have, as far as their variables are set.

    Raises `InvalidDeclaration`, `InvalidRoutes`.
    """
    by_address: dict[str, list[Connector]] = {}
    for each in (*load_declared(settings, environment).connectors, *_new(environment)):
        by_address.setdefault(_address(each), []).append(each)
    return [CheckedSource(name, await _problem(connectors)) for name, connectors in by_address.items()]


def _new(environment: Mapping[str, str]) -> Iterator[Connector]:
    for source in _DEFAULTS:
        variable = f"{source.environment}_{'HOST' if source.kind == 'mysql' else 'URL'}"
        if value_or_file(variable, environment):
            yield connector(source.name, connector_settings(source, ()), {**_OF_KAFKA, **environment})


# They are in the settings of a connector, and are not used here.
_OF_KAFKA = {"KAFKA_BOOTSTRAP_SERVERS": "", "REGISTRAR_REPLICATION_FACTOR": "1"}


def _address(each: Connector) -> str:
    """Without the password."""
    if each.reads_mysql:
        config = each.config
        return f"MySQL at {config['database.hostname']}:{config['database.port']} as {config['database.user']}"
    account, _, hosts = urlsplit(each.config["mongodb.connection.string"]).netloc.rpartition("@")
    return f"MongoDB at {hosts}" + (f" as {unquote(account.partition(':')[0])}" if account else "")


async def _problem(connectors: Sequence[Connector]) -> str | None:
    """Of connectors with one address."""
    try:
        found = [await source_problem(each) for each in connectors]
        found += await missing_privileges(connectors[0])
    except Unreachable as error:
        return str(error)
    return "; ".join(dict.fromkeys(filter(None, found))) or None
