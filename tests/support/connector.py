"""Runs Debezium on a test's own tables and collections, with the settings of the generated connectors."""

import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from embedded_stack import Stack
from embedded_stack.components.services import registrar_environment
from registrar.connectors import Connector, connector
from registrar.declared import declared_settings
from registrar.generation import generated_connectors, generated_topics
from registrar.topics import TopicDeclaration, ensure_topics
from service_kit.kafka import KafkaClients
from service_kit.kafka_settings import MAX_RECORD_BYTES
from support.polling import eventually
from support.records import read_records
from sync_service.dead_letters.models import DEAD_LETTERS_TOPIC
from sync_service.routes.loader import RoutesFile, default_routes_file, load_routes_file

PARTITIONS = 6


def built_in_settings() -> dict[str, dict[str, str]]:
    """The settings of the built-in connectors by their names, with variables."""
    return declared_settings(load_routes_file(default_routes_file()))


def declared_connectors(stack: Stack, file: RoutesFile | None = None) -> dict[str, Connector]:
    """The connectors as the registrar puts them, by their names; those of the built-in routes by default."""
    declared = built_in_settings() if file is None else declared_settings(file)
    return {name: _complete(stack, name, config) for name, config in declared.items()}


def _complete(stack: Stack, name: str, config: Mapping[str, str]) -> Connector:
    environment = registrar_environment(stack.components["registrar"].environment)
    return connector(name, config, {"REGISTRAR_REPLICATION_FACTOR": "1", **environment}).sized(MAX_RECORD_BYTES)


def of_own_tables(schema: str, tables: str) -> dict[str, str]:
    """What changes in a connector of MySQL for the tables of a test. `tables` is a pattern, with the schema."""
    return {
        "topic.prefix": schema,
        "database.include.list": schema,
        "table.include.list": tables,
        "database.server.id": str(10_000 + secrets.randbelow(10_000)),
        "schema.history.internal.kafka.topic": f"{schema}.history",
    }


@asynccontextmanager
async def run_connector(
    stack: Stack, declared: str, *, changed: Mapping[str, str], topics: Sequence[str] = ()
) -> AsyncIterator[None]:
    """Run the built-in connector with changed settings until the block ends.

    `topics` are created first. A test that creates its topics itself does not pass them.
    """
    stack.start("mysql", "mongo", "kafka", "connect")
    if topics:
        wanted = {topic: TopicDeclaration(partitions=PARTITIONS) for topic in topics}
        await ensure_topics(KafkaClients(stack.addresses["KAFKA_BOOTSTRAP_SERVERS"]), wanted, deadline_seconds=120)
    name = f"test-{secrets.token_hex(4)}"
    config = _complete(stack, name, {**built_in_settings()[declared], **changed}).config
    async with _registered(stack, name, config):
        yield


@asynccontextmanager
async def run_declared(stack: Stack, routes: Path) -> AsyncIterator[None]:
    """Run the connectors that a file of routes declares, with their topics, until the block ends."""
    stack.start("mysql", "mongo", "kafka", "connect")
    file = load_routes_file(routes)
    kafka = KafkaClients(stack.addresses["KAFKA_BOOTSTRAP_SERVERS"])
    await ensure_topics(kafka, generated_topics(file), deadline_seconds=120)
    async with AsyncExitStack() as running:
        for name in generated_connectors(file):
            await running.enter_async_context(_registered(stack, name, declared_connectors(stack, file)[name].config))
        yield


@asynccontextmanager
async def _registered(stack: Stack, name: str, config: Mapping[str, str]) -> AsyncIterator[None]:
    async with httpx.AsyncClient(base_url=stack.addresses["CONNECT_URL"], timeout=60) as connect:

        async def registered() -> bool:
            answer = await connect.put(f"/connectors/{name}/config", json=dict(config))
            return answer.is_success

        async def states() -> Any:
            answer = await connect.get(f"/connectors/{name}/status")
            return [task["state"] for task in answer.json().get("tasks", [])] if answer.is_success else answer.text

        async def deleted() -> bool:
            # It refuses while it rebalances.
            return (await connect.delete(f"/connectors/{name}")).status_code in (204, 404)

        try:
            await eventually(registered)
            await eventually(states, lambda seen: seen == ["RUNNING"])
            yield
        finally:
            await eventually(deleted)


async def reasons_of_dead_letters(bootstrap_servers: str, topic: str) -> list[str]:
    """The reasons of all dead letters of that topic."""
    letters = [dict(record.headers) for record in await read_records(bootstrap_servers, DEAD_LETTERS_TOPIC)]
    return [
        headers["__connect.errors.exception.message"].decode()
        for headers in letters
        if headers.get("__connect.errors.topic") == topic.encode()  # a letter's resolution names none
    ]
