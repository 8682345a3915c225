"""`sync-service routes add mysql:shop.products`: from a table or collection to a route, its rights and its copy."""

import argparse
import asyncio
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from pydantic import Field, SecretStr

from service_kit.files import write_atomically
from service_kit.mongodb import MongodbAddress
from service_kit.mysql import MysqlAddress
from service_kit.settings import EnvironmentSettings
from sync_service.routes.drop import NotDropped, finish_drop_from
from sync_service.routes.loader import default_routes_file, load_routes, load_routes_file, parse_routes
from sync_service.routes.proposal import ProposedRoute, propose_route, with_route
from sync_service.routes.yaml_lines import read_yaml
from sync_service.sinks.base import Unavailable
from sync_service.sinks.mysql.schema import require_separate_schema
from sync_service.sinks.mysql.sink import engine_for_sinks
from sync_service.sinks.proposals import CannotPropose
from sync_service.sinks.registry import SourceDescriber, change_schemas
from sync_service.sinks.rights import Administrators, Rights, needed_rights
from sync_service.sinks.targets import Store

# What has to be done by hand is printed.
BY_HAND = 3


class AddSettings(EnvironmentSettings):
    """The file, the servers as the running service knows them, and administrators of them, if they are given."""

    sync_routes_file: Path = Field(default_factory=default_routes_file)
    mysql_url: MysqlAddress
    mongodb_url: MongodbAddress
    # Without a database.
    mysql_root_url: SecretStr | None = None
    mongodb_admin_url: SecretStr | None = None

    @property
    def administrators(self) -> Administrators:
        given = (self.mysql_root_url, self.mongodb_admin_url)
        return Administrators(*(None if url is None else url.get_secret_value() for url in given))


@dataclass(frozen=True, slots=True)
class Plan:
    """What `routes add` would do, or has done. `text` is that of the file, `changed` the one with the route."""

    added: ProposedRoute
    rights: Rights
    ddl: list[str]
    text: str
    changed: str

    @property
    def by_hand(self) -> list[str]:
        """Commands to run once the route runs."""
        return [f"sync-service routes backfill {self.added.route.name}"] if self.added.no_snapshot else []

    @property
    def json(self) -> str:
        route = self.added.route
        return json.dumps(
            {
                "name": route.name,
                "source": f"{route.source_store}:{'.'.join(route.source or ())}",
                "target": f"{route.target.store}:{route.target.place}",
                "declaration": self.added.text,
                "ddl": self.ddl,
                "grants": list(self.rights.statements),
                "by_hand": self.by_hand,
            },
            ensure_ascii=False,
        )

    def __str__(self) -> str:
        parts = [self.added.text.rstrip()]
        if self.rights.statements:
            parts.append("\n".join(["# Rights, which an administrator grants:", *self.rights.statements]))
        if self.ddl:
            parts.append("\n".join(["# Tables, which sync-service creates:", *(f"{each};" for each in self.ddl)]))
        if self.by_hand:
            why = f"# Once the route runs, because Debezium's snapshot leaves out {self.added.no_snapshot}:"
            parts.append("\n".join([why, *self.by_hand]))
        return "\n\n".join(parts)


def add_add_parser(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = actions.add_parser(
        "add",
        help="print a route for a table or collection, or add it to the file",
        description="Reads the columns of a table, or a sample of documents, and prints a route with the rights that "
        "it needs. MYSQL_URL and MONGODB_URL are the servers.",
        epilog="Exit code 3: something has to be done by hand, which is printed.",
    )
    parser.add_argument("source", metavar="STORE:DATABASE.NAME", type=_place, help="such as mysql:shop.products")
    parser.add_argument(
        "--apply",
        action="store_true",
        help="grant the rights through MYSQL_ROOT_URL and MONGODB_ADMIN_URL, and add the route to the file",
    )
    parser.add_argument("--granted", action="store_true", help="with --apply: the rights are granted already")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def _place(text: str) -> tuple[Store, str, str]:
    store, _, place = text.partition(":")
    database, _, name = place.partition(".")
    if store not in get_args(Store) or not database or not name:
        stores = " or ".join(f"{each}:DATABASE.NAME" for each in get_args(Store))
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form {stores}")
    return store, database, name  # type: ignore[return-value]  # one of the stores


def run_add(arguments: argparse.Namespace) -> int:
    """The exit code. Raises `InvalidRoutes` and `SourceSchema`."""
    settings = AddSettings()
    try:
        plan = asyncio.run(_plan(settings, arguments.source))
        print(plan.json if arguments.json else plan)
        if not arguments.apply:
            return 0
        if not arguments.granted:
            if missing := settings.administrators.missing_for(plan.rights):
                names = " and ".join(missing)
                print(
                    f"error: set {names} to grant the rights above; or grant them, and add --granted", file=sys.stderr
                )
                return BY_HAND
            asyncio.run(settings.administrators.grant(plan.rights))
        asyncio.run(_finish_drop(settings, plan.added.route.topic))
    except (CannotPropose, NotDropped, Unavailable, TimeoutError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return _add(plan, settings.sync_routes_file)


def _add(plan: Plan, file: Path) -> int:
    """Write the file. Returns the exit code."""
    try:
        if file.read_text(encoding="utf-8") != plan.text:
            print(f"error: {file} has changed meanwhile: try again", file=sys.stderr)
            return 1
        write_atomically(file.resolve(), plan.changed.encode())
    except OSError as error:
        print(f"error: {file} can't be written ({error.strerror}): add the above", file=sys.stderr)
        return BY_HAND
    print(f"{file}: route {plan.added.route.name} is added, and runs within some seconds", file=sys.stderr)
    if plan.by_hand:
        print(f"Then run: {'; '.join(plan.by_hand)}", file=sys.stderr)
        return BY_HAND
    return 0


async def _finish_drop(settings: AddSettings, topic: str) -> None:
    """Raises `NotDropped` and `Unavailable`."""
    engine = engine_for_sinks(settings.mysql_url.get_secret_value(), pool_size=1)
    others = [route.topic for route in load_routes(settings.sync_routes_file, needs_secret=False)]
    try:
        await finish_drop_from(topic, engine, others)
    finally:
        await engine.dispose()


async def _plan(settings: AddSettings, source: tuple[Store, str, str]) -> Plan:
    """Raises `InvalidRoutes`, `SourceSchema`, `CannotPropose`, `Unavailable`, `TimeoutError`."""
    store, database, name = source
    path = settings.sync_routes_file
    file = load_routes_file(path)
    text = path.read_text(encoding="utf-8")
    mysql, mongodb = settings.mysql_url.get_secret_value(), settings.mongodb_url.get_secret_value()
    describer = SourceDescriber(mysql, mongodb, settings.administrators)
    try:
        described = await describer.describe(store, database, name)
        databases = await describer.databases_beside(store)
    finally:
        await describer.close()
    declares_sources = "sources" in (read_yaml(text).value or {})
    added = propose_route(described, file, databases, declares_sources=declares_sources)
    require_separate_schema(mysql, [added.route])
    changed = with_route(text, added)
    parse_routes(changed.encode(), path, needs_secret=False)
    declared = [*file.sources, *added.sources]
    its_source = next(each for each in declared if each.table(added.route.topic) is not None)
    rights = needed_rights(added.route, its_source, mysql, mongodb)
    ddl = await change_schemas(mysql, [added.route], apply=False)
    return Plan(added, rights, ddl, text, changed)
