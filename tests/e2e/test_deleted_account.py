"""What is left of a deleted account, with a shortened retention of the topics: docs/security.md, "Deleted accounts"."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient
from sqlalchemy import text

from e2e.copies import Copies
from e2e.test_secrets import everything_in_kafka
from e2e.users import Register
from embedded_stack import Stack
from registrar.topic_configs import SetTopicConfigs
from service_kit.kafka import KafkaClients
from support.polling import eventually
from sync_service.dead_letters.models import DEAD_LETTERS_TOPIC

TOPIC = "cdc.mysql.auth.users"
SHORT = {"retention.ms": "1000", "segment.ms": "1000"}
# The server's own log of changes, which MongoDB limits by its size.
OPLOG = "local"


async def shorten_retention(kafka: KafkaClients) -> None:
    async with kafka.started(kafka.client()) as client:
        answer = await client.send(client.get_random_node(), SetTopicConfigs({TOPIC: SHORT, DEAD_LETTERS_TOPIC: SHORT}))
    assert [code for code, *_ in answer.resources] == [0, 0]


async def tables_with(copies: Copies, word: str) -> set[str]:
    """The tables of MySQL that have the word in any column of any row."""
    found = set()
    async with copies.mysql.connect() as connection:
        schemas = "SELECT table_schema, table_name FROM information_schema.tables WHERE table_type = 'BASE TABLE' "
        own = await connection.execute(text(schemas + "AND table_schema IN ('auth', 'tweets')"))
        for schema, table in own.all():
            rows = await connection.execute(text(f"TABLE {schema}.{table}"))
            if any(word in str(value) for row in rows for value in row):
                found.add(f"{schema}.{table}")
    return found


def collections_with(url: str, word: str) -> Iterator[str]:
    with MongoClient[RawBSONDocument](url, document_class=RawBSONDocument) as client:
        for database in client.list_database_names():
            for collection in () if database == OPLOG else client[database].list_collection_names():
                if any(word.encode() in document.raw for document in client[database][collection].find()):
                    yield f"{database}.{collection}"


@pytest.mark.long
async def test_deleted_account_is_forgotten_except_for_what_the_page_names(
    breakable_stack: Stack, register: Register, copies: Copies
) -> None:
    stack = breakable_stack
    kafka = KafkaClients(stack.addresses["KAFKA_BOOTSTRAP_SERVERS"])
    user = await register()
    address = f"{user.username}@example.com"
    tweet = await user.tweet("I was here")
    await eventually(lambda: copies.user(user.id))
    await eventually(lambda: copies.tweet(tweet["id"]))
    async with kafka.started(kafka.producer()) as producer:
        broken = {"after": {"id": user.id, "username": user.username}}
        await producer.send_and_wait(TOPIC, key=b'{"id":"x"}', value=json.dumps(broken).encode())

    deleted = await user.client.request("DELETE", "/api/auth/v1/users/me", json={"current_password": user.password})
    assert deleted.status_code == 204, deleted.text

    users = copies.mongo.get_database("auth").get_collection("users_copy")

    async def tombstone() -> dict[str, Any]:
        return users.find_one({"_id": user.id}) or {}

    assert (await eventually(tombstone, lambda found: "username" not in found)).keys() == {"_id", "_sync"}
    assert user.username.encode() in await everything_in_kafka(kafka.bootstrap_servers)

    # The registrar would restore the retention.
    stack.stop_one("registrar")
    await shorten_retention(kafka)

    async def is_in_kafka() -> bool:
        found = await everything_in_kafka(kafka.bootstrap_servers)
        return user.username.encode() in found or address.encode() in found

    await eventually(is_in_kafka, lambda found: not found, within=180)
    assert await tables_with(copies, user.username) == {"auth.held_usernames"}
    assert await tables_with(copies, address) == set()
    assert await tables_with(copies, user.id) == {"auth.audit_events", "auth.held_usernames", "tweets.tweets_copy"}
    url = stack.addresses["MONGODB_URL"]
    assert set(collections_with(url, user.username)) == set()
    assert set(collections_with(url, address)) == set()
    assert {"auth.users_copy", "tweets.tweets"} <= set(collections_with(url, user.id))
