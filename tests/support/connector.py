"""Runs Debezium on a test's own tables and collections, with the settings of `infra/connect/connectors`."""

import json
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from embedded_stack import Stack
from embedded_stack.components.services import registrar_environment
from registrar.connectors import Connector, declarations_folder, load_connectors
from registrar.topics import TopicDeclaration, ensure_topics
from service_kit.kafka import KafkaClients
from service_kit.kafka_settings import MAX_RECORD_BYTES
from support.polling import eventually
from support.records import read_records
from sync_service.dead_letters.models import DEAD_LETTERS_TOPIC

PARTITIONS = 6


def declared_connectors(stack: Stack, folder: Path | None = None) -> dict[str, Connector]:
    """The connectors as the registrar puts them, by their names."""
    environment = registrar_environment(stack.components["registrar"].environment)
    declared = load_connectors(
        folder or declarations_folder() / "connectors", {"REGISTRAR_REPLICATION_FACTOR": "1", **environment}
    )
    return {each.name: each.sized(MAX_RECORD_BYTES) for each in declared}


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
    stack: Stack, folder: Path, declared: str, *, changed: Mapping[str, str], topics: Sequence[str] = ()
) -> AsyncIterator[None]:
    """Run the declared connector with changed settings, from a file in `folder`, until the block ends.

    `topics` are created first. A test that creates its topics itself does not pass them.
    """
    stack.start("mysql", "mongo", "kafka", "connect")
    if topics:
        wanted = {topic: TopicDeclaration(partitions=PARTITIONS) for topic in topics}
        await ensure_topics(KafkaClients(stack.addresses["KAFKA_BOOTSTRAP_SERVERS"]), wanted, deadline_seconds=30)
    name = f"test-{secrets.token_hex(4)}"
    settings = json.loads((declarations_folder() / "connectors" / f"{declared}.json").read_text())
    own = folder / "connectors"
    own.mkdir(exist_ok=True)
    (own / f"{name}.json").write_text(json.dumps({**settings, **changed}))
    config = declared_connectors(stack, own)[name].config
    async with httpx.AsyncClient(base_url=stack.addresses["CONNECT_URL"], timeout=20) as connect:

        async def registered() -> bool:
            answer = await connect.put(f"/connectors/{name}/config", json=dict(config))
            return answer.is_success

        async def states() -> Any:
            answer = await connect.get(f"/connectors/{name}/status")
            return [task["state"] for task in answer.json().get("tasks", [])] if answer.is_success else answer.text

        await eventually(registered)
        await eventually(states, lambda seen: seen == ["RUNNING"], within=60)
        yield
        await connect.delete(f"/connectors/{name}")


async def reasons_of_dead_letters(bootstrap_servers: str, topic: str) -> list[str]:
    """The reasons of all dead letters of that topic."""
    letters = [dict(record.headers) for record in await read_records(bootstrap_servers, DEAD_LETTERS_TOPIC)]
    return [
        headers["__connect.errors.exception.message"].decode()
        for headers in letters
        if headers.get("__connect.errors.topic") == topic.encode()  # a letter's resolution names none
    ]
