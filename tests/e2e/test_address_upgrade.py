"""The last release wrote e-mail addresses to Kafka and to MongoDB: the upgrade erases them there."""

from collections.abc import Mapping
from typing import Any

import httpx
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

from auth_service.database import migrations_folder
from e2e.copies import Copies
from e2e.test_secrets import everything_in_kafka, records_in_kafka
from e2e.users import Register
from embedded_stack import Stack
from service_kit.kafka import KafkaClients
from service_kit.mysql import create_engine
from support.commands import run_command
from support.connector import declared_connectors
from support.polling import eventually

EXCLUDED = "column.exclude.list"


async def reconcile(stack: Stack) -> tuple[int, str]:
    variables = {
        "MYSQL_URL": stack.addresses["SYNC_MYSQL_URL"],
        "MONGODB_URL": stack.addresses["MONGODB_URL"],
        "KAFKA_BOOTSTRAP_SERVERS": stack.addresses["KAFKA_BOOTSTRAP_SERVERS"],
    }
    code, output, errors = await run_command("sync-service", "reconcile", "--route", "users", **variables)
    return code, output + errors


async def test_upgrade_erases_addresses_while_everything_runs(
    breakable_stack: Stack, register: Register, copies: Copies
) -> None:
    stack = breakable_stack
    kafka = KafkaClients(stack.addresses["KAFKA_BOOTSTRAP_SERVERS"])
    declared = declared_connectors(stack)["mysql-users"]
    old = {name: value for name, value in declared.config.items() if name != EXCLUDED}
    stack.stop_one("registrar")
    async with httpx.AsyncClient(base_url=stack.addresses["CONNECT_URL"], timeout=60) as connect:

        async def put(path: str, body: Mapping[str, str] | None = None) -> bool:
            return (await connect.put(f"/connectors/mysql-users/{path}", json=body)).is_success

        async def config() -> Any:
            return (await connect.get("/connectors/mysql-users/config")).json()

        async def states() -> Any:
            answer = await connect.get("/connectors/mysql-users/status")
            if not answer.is_success:
                return answer.text
            found = answer.json()
            return [found["connector"]["state"], *(task["state"] for task in found["tasks"])]

        # A task with the new configuration might still write the event of the user.
        await eventually(lambda: put("stop"))
        await eventually(states, lambda found: found == ["STOPPED"])
        await eventually(lambda: put("config", old))
        await eventually(lambda: put("resume"))
        await eventually(states, lambda found: found == ["RUNNING", "RUNNING"])
        before = await register()
        address = f"{before.username}@example.com".encode()

        async def in_kafka() -> bool:
            return address in await everything_in_kafka(kafka.bootstrap_servers)

        await eventually(lambda: copies.user(before.id))
        users = copies.mongo.get_database("auth").get_collection("users_copy")
        users.update_one({"_id": before.id}, {"$set": {"email": address.decode()}})
        assert (await reconcile(stack))[0] == 0

        # The upgrade: the registrar of this release changes the connector, the sync starts again.
        stack.stop_one("sync")
        stack.start("sync", "registrar")
        await eventually(config, lambda found: found.get(EXCLUDED) == declared.config[EXCLUDED])
        assert (await reconcile(stack))[0] == 0

        async def is_in_copy() -> bool:
            return "email" in (users.find_one({"_id": before.id}) or {})

        await eventually(in_kafka, lambda found: not found)
        await eventually(is_in_copy, lambda found: not found)

        async def next_user_arrives_without_address() -> bool:
            after = await register()
            copied = await eventually(lambda: copies.user(after.id))
            assert (copied or {})["username"] == after.username
            found = await everything_in_kafka(kafka.bootstrap_servers)
            return after.username.encode() in found and f"{after.username}@example.com".encode() not in found

        # The task with the old configuration may write one more event.
        await eventually(next_user_arrives_without_address)
        reads = [each for each in await records_in_kafka(kafka.bootstrap_servers) if b'"op":"r"' in each]
        assert not any(before.username.encode() in each for each in reads), "Debezium took a snapshot again"
        assert (await reconcile(stack))[0] == 0


async def test_upgrade_compares_addresses_exactly_while_debezium_reads_them(
    breakable_stack: Stack, register: Register, copies: Copies
) -> None:
    """The table that Debezium captures gets another collation, and addresses another form."""
    stack = breakable_stack
    before = await register()
    await eventually(lambda: copies.user(before.id))
    stack.stop_one("auth")

    def downgrade(connection: Connection) -> None:
        config = Config()
        config.set_main_option("script_location", str(migrations_folder()))
        config.attributes["connection"] = connection
        command.downgrade(config, "0009")

    engine = create_engine(stack.addresses["MYSQL_URL"])
    async with engine.begin() as connection:
        await connection.run_sync(downgrade)
    await engine.dispose()
    named = "UPDATE auth.users SET email = :email, name = 'Before' WHERE id = :id"
    await copies.execute(named, id=before.id, email=f"{before.username}@Example.com".capitalize())
    stack.start("auth")

    async def stored() -> Any:
        return await copies.row("SELECT email, name FROM auth.users WHERE id = :id", id=before.id)

    expected = {"email": f"{before.username}@example.com", "name": "Before"}
    await eventually(stored, lambda found: found == expected)
    after = await register()
    copied = await eventually(lambda: copies.user(after.id))
    assert copied is not None
    assert copied["username"] == after.username
    assert "email" not in copied
    assert (await copies.user(before.id) or {})["name"] == "Before"
    assert (await reconcile(stack))[0] == 0
