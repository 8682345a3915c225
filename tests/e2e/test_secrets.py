"""Password hashes, tokens and e-mail addresses stay in MySQL: they are in no topic and not in MongoDB."""

import re
import secrets
from collections.abc import Iterator

import httpx
import pymongo
from aiokafka import AIOKafkaConsumer
from bson.raw_bson import RawBSONDocument

from e2e.copies import Copies
from e2e.users import Register, User
from embedded_stack import Stack
from service_kit.kafka import KafkaClients
from support.polling import eventually
from sync_service.kafka.admin import existing_topics


async def everything_in_kafka(bootstrap_servers: str) -> bytes:
    return b"".join(await records_in_kafka(bootstrap_servers))


async def records_in_kafka(bootstrap_servers: str) -> list[bytes]:
    """Key, value and headers of every record of every topic."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap_servers)
    await consumer.start()
    try:
        topics = await existing_topics(KafkaClients(bootstrap_servers), await consumer.topics())
        partitions = [partition for topic in topics.values() for partition in topic.topic_partitions]
        consumer.assign(partitions)
        await consumer.seek_to_beginning()
        ends = await consumer.end_offsets(partitions)
        found = []
        while any([await consumer.position(each) < ends[each] for each in partitions]):
            for records in (await consumer.getmany(timeout_ms=200)).values():
                for record in records:
                    headers = b"".join(name.encode() + (value or b"") for name, value in record.headers)
                    found.append((record.key or b"") + (record.value or b"") + headers)
        return found
    finally:
        await consumer.stop()


def everything_in_mongodb(url: str) -> Iterator[bytes]:
    """The raw BSON of every document, the oplog included."""
    with pymongo.MongoClient[RawBSONDocument](url, document_class=RawBSONDocument) as client:
        for database in client.list_database_names():
            for collection in client[database].list_collection_names():
                for document in client[database][collection].find():
                    yield document.raw


async def mailed(stack: Stack, recipient: str) -> str | None:
    """The token in the mail that sets a new password, once it has arrived."""
    async with httpx.AsyncClient(base_url=stack.addresses["MAIL_URL"], timeout=20) as mails:
        query = {"query": f'to:{recipient} subject:"choose a new password"'}
        found = (await mails.get("/api/v1/search", params=query)).json()["messages"]
        text = (await mails.get(f"/api/v1/message/{found[0]['ID']}")).json()["Text"] if found else ""
    token = re.search(r"token=([A-Za-z0-9_-]+)", text)
    return token and token[1]


async def test_password_hashes_tokens_and_addresses_never_leave_mysql(
    running_stack: Stack, user: User, copies: Copies
) -> None:
    await eventually(lambda: copies.user(user.id))
    auth = "/api/auth/v1"
    login = {"login": user.username, "password": user.password}
    refresh_token = (await user.client.post(f"{auth}/login", json=login)).json()["refresh_token"]
    await user.client.post(f"{auth}/password/forgot", json={"email": f"{user.username}@example.com"})
    mailed_token = await eventually(lambda: mailed(running_stack, f"{user.username}@example.com"))
    row = await copies.row("SELECT password_hash FROM auth.credentials WHERE user_id = :id", id=user.id)
    assert row is not None
    password_hash = row["password_hash"].encode()
    assert password_hash.startswith(b"$argon2id$")

    in_kafka = await everything_in_kafka(running_stack.addresses["KAFKA_BOOTSTRAP_SERVERS"])
    in_mongodb = b"".join(everything_in_mongodb(running_stack.addresses["MONGODB_URL"]))

    for place in (in_kafka, in_mongodb):
        assert user.username.encode() in place, "the search reads the wrong files"
        assert password_hash not in place
        assert b"argon2" not in place
        for secret in (user.password, refresh_token, mailed_token, f"{user.username}@example.com"):
            assert secret.encode() not in place


async def test_statements_about_accounts_of_mysql_reach_no_topic(
    running_stack: Stack, register: Register, copies: Copies
) -> None:
    """Debezium writes statements to Kafka. MySQL logs these with the hashes of passwords."""
    name = f"account_{secrets.token_hex(6)}"
    for statement in (
        f"CREATE USER {name}@localhost IDENTIFIED BY 'a first password'",
        f"ALTER USER {name}@localhost IDENTIFIED BY 'a second password'",
        f"SET PASSWORD FOR {name}@localhost = 'a third password'",
        f"GRANT SELECT ON auth.* TO {name}@localhost",
        f"DROP USER {name}@localhost",
    ):
        await copies.execute(statement)
    after = await register()
    await eventually(lambda: copies.user(after.id))
    in_kafka = await everything_in_kafka(running_stack.addresses["KAFKA_BOOTSTRAP_SERVERS"])
    assert after.username.encode() in in_kafka
    assert name.encode() not in in_kafka
