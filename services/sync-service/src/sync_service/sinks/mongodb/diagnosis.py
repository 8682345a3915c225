"""What `sync-service doctor` asks MongoDB."""

import time
from collections.abc import Collection, Sequence
from datetime import UTC
from typing import TYPE_CHECKING, Any

from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorDatabase
from pymongo.errors import OperationFailure, PyMongoError

from sync_service.check_results import Result, clock_result, disk_result
from sync_service.probe import without_server_states
from sync_service.routes.config import Route
from sync_service.sinks.diagnosis import sources_to_check
from sync_service.sinks.mongodb.databases import copy_database

if TYPE_CHECKING:
    # motor's classes are generic for the type checker only.
    Client = AsyncIOMotorClient[dict[str, Any]]
    Database = AsyncIOMotorDatabase[dict[str, Any]]

_SERVER = "MongoDB"


async def mongodb_results(
    address: str, routes: Sequence[Route], elsewhere: Collection[str], seconds: float
) -> list[Result]:
    """Whether it answers as a replica set, its clock, its disk, and the rights of the account.

    `elsewhere` are the routes whose source is on another server.
    """
    milliseconds = int(seconds * 1000)
    client: Client = AsyncIOMotorClient(
        address,
        appname="sync-service doctor",
        serverSelectionTimeoutMS=milliseconds,
        connectTimeoutMS=milliseconds,
        socketTimeoutMS=milliseconds,
    )
    try:
        begun = time.time()
        hello = await client.admin.command("hello")
        ended = time.time()
        server_time = hello["localTime"].replace(tzinfo=UTC).timestamp()
        return [
            _replica_set(hello),
            clock_result(_SERVER, server_time - (begun + ended) / 2, ended - begun),
            *await _disk(client),
            *await _rights(client, routes, elsewhere),
        ]
    except PyMongoError as error:
        reason = without_server_states(error)
        return [Result(_SERVER, False, reason, "start MongoDB, or correct MONGODB_URL")]
    finally:
        client.close()


def _replica_set(hello: dict[str, Any]) -> Result:
    if name := hello.get("setName"):
        return Result(_SERVER, True, f"the replica set {name} answers")
    return Result(_SERVER, False, "a server without a replica set has no change streams", "start it with --replSet")


async def _disk(client: "Client") -> list[Result]:
    """None if the account may not read it."""
    try:
        found = await client.get_default_database().command("dbStats")
    except OperationFailure:
        return []
    if not found.get("fsTotalSize"):
        return []
    return [disk_result(f"disk of {_SERVER}", found["fsTotalSize"] - found["fsUsedSize"], found["fsTotalSize"])]


async def _rights(client: "Client", routes: Sequence[Route], elsewhere: Collection[str]) -> list[Result]:
    """To read the sources and the copies. The sync creates a copy that does not exist."""
    sources, unchecked = sources_to_check(routes, "mongodb", elsewhere)
    copies = [
        (copy_database(client, each).name, each.target.copy_name) for each in routes if each.target.store == "mongodb"
    ]
    refused, absent = [], []
    for database, name in (*sources, *copies):
        try:
            await client[database][name].find_one({}, {"_id": True})
            # To read a collection that does not exist is no error.
            if (database, name) in sources and not await _exists(client[database], name):
                absent.append(f"{database}.{name}")
        except OperationFailure as error:
            code = error.details.get("codeName") if error.details else error.code
            refused.append(f"{database}.{name} ({code})")
    check = f"rights in {_SERVER}"
    if refused:
        remedy = "as an administrator, grant the account of MONGODB_URL what `sync-service routes add` prints for them"
        found = Result(check, False, f"no right to read {', '.join(refused)}", remedy)
    else:
        found = Result(check, True, f"to read {len(sources)} sources and {len(copies)} copies")
    missing = [
        Result(f"collection {place}", False, "does not exist", "create it, or correct the topic of its route")
        for place in absent
    ]
    return [found, *missing, *unchecked]


async def _exists(database: "Database", name: str) -> bool:
    return bool(await database.list_collection_names(filter={"name": name}, authorizedCollections=True))
