"""An installation of an earlier release, upgraded by starting this one: its copy moves to the database of its route."""

import secrets
import signal
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from service_kit.moved_copy import STATES
from support.polling import eventually
from support.replicas import Replica
from support.sync_process import SyncProcess
from sync_service.routes.config import Route
from sync_service.sinks.mongodb.sink import MongoSink

if TYPE_CHECKING:
    # motor's classes are generic for the type checker only.
    from motor.motor_asyncio import AsyncIOMotorDatabase

    Database = AsyncIOMotorDatabase[dict[str, Any]]

USERS = 20_000
AT = datetime(2026, 11, 24, 3, 17, 34, 81000, tzinfo=UTC)


def released(number: int) -> dict[str, Any]:
    """A user, or each tenth a tombstone, as release 0.1.0 wrote them."""
    is_deleted = number % 10 == 0
    version = {
        "stream": f"{'7' * 32}:{number % 6:06d}",
        "offset": f"{number:019d}",
        "epoch": "mysql:cdc.mysql/6f1c",
        "position": f"0000000002.{number:020d}.0000000000",
        "operation": "d" if is_deleted else "u",
        "deleted_at": AT if is_deleted else None,
    }
    user = {"username": f"user{number}", "name": f"User {number}", "email": f"user{number}@example.com"}
    rest = {"role": "customer", "is_active": True, "tokens_valid_after": AT, "created_at": AT, "updated_at": AT}
    return {"_id": f"u{number:05d}", **({} if is_deleted else user | rest), "_sync": version}


def moved(number: int) -> dict[str, Any]:
    """The same in its new place: the address stays behind."""
    return {name: value for name, value in released(number).items() if name != "email"}


async def documents(database: "Database") -> list[dict[str, Any]]:
    return await database["users_copy"].find().sort("_id").to_list(None)


@pytest.mark.long
async def test_killed_again_and_again_the_upgrade_moves_every_user_and_tombstone(
    sync: SyncProcess, database: "Database", routes: dict[str, Route]
) -> None:
    moved_to = database.client[f"{database.name}_{secrets.token_hex(2)}_auth"]

    async def steps() -> set[str]:
        return {name for name, value in (await moved_to[STATES].find_one() or {}).items() if value is not None}

    async def copied() -> int:
        return int(await moved_to["users_copy"].estimated_document_count())

    await MongoSink(database, routes["users"]).prepare()
    await database["users_copy"].insert_many(map(released, range(USERS)))
    sync.routes[sync.users]["target"]["database"] = moved_to.name
    sync.write_routes()
    replica = Replica(
        "sync-service", {**sync.variables, "SYNC_MOVE_QUIET_SECONDS": "2"}, sync.stack.configuration.state
    )
    try:
        await replica.begin()
        await eventually(copied)
        await replica.end(signal.SIGKILL)
        for step in ("complete_at", "retired_at"):
            await replica.begin()
            await eventually(steps, lambda done: step in done)  # noqa: B023 - awaited here
            await replica.end(signal.SIGKILL)
        await replica.start()
        await eventually(steps, {"dropped_at"}.__le__)
        assert {"users", "users_copy"}.isdisjoint(await database.list_collection_names())
        assert await documents(moved_to) == [moved(number) for number in range(USERS)]
        assert await moved_to["users"].count_documents({}) == USERS * 9 // 10

        # A second start changes nothing.
        state = await moved_to[STATES].find_one()
        await replica.end(signal.SIGTERM)
        await replica.start()
        assert await moved_to[STATES].find_one() == state
        assert await documents(moved_to) == [moved(number) for number in range(USERS)]
    finally:
        await replica.end(signal.SIGTERM)
        await replica.client.aclose()
        await database.client.drop_database(moved_to.name)
