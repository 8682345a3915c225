"""What `sync-service doctor` asks MongoDB."""

import time
from collections.abc import Sequence
from datetime import UTC
from typing import TYPE_CHECKING, Any

from motor.motor_asyncio import AsyncIOMotorClient
from pymongo.errors import OperationFailure, PyMongoError

from sync_service.check_results import Result, clock_result, disk_result
from sync_service.probe import without_server_states
from sync_service.routes.config import Route
from sync_service.sinks.mongodb.databases import copy_database

if TYPE_CHECKING:
    # motor's classes are generic for the type checker only.
    Client = AsyncIOMotorClient[dict[str, Any]]

_SERVER = "MongoDB"


async def mongodb_results(address: str, routes: Sequence[Route], seconds: float) -> list[Result]:
    """Whether it answers as a replica set, its clock, its disk, and the rights of the account."""
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
        there = hello["localTime"].replace(tzinfo=UTC).timestamp()
        return [
            _replica_set(hello),
            clock_result(_SERVER, there - (begun + ended) / 2, ended - begun),
            *await _disk(client),
            await _rights(client, routes),
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


async def _rights(client: "Client", routes: Sequence[Route]) -> Result:
    """To read the sources and the copies."""
    places = [
        (client[each.source[0]][each.source[1]], f"{'.'.join(each.source)}")
        for each in routes
        if each.source_store == "mongodb" and each.source is not None
    ]
    for each in routes:
        if each.target.store == "mongodb":
            database = copy_database(client, each)
            places.append((database[each.target.copy_name], f"{database.name}.{each.target.copy_name}"))
    refused = []
    for collection, name in places:
        try:
            await collection.find_one({}, {"_id": True})
        except OperationFailure as error:
            refused.append(f"{name} ({error.details.get('codeName') if error.details else error.code})")
    if not refused:
        return Result(f"rights in {_SERVER}", True, f"{len(places)} collections can be read")
    remedy = "as an administrator, grant the account of MONGODB_URL what `sync-service routes add` prints for them"
    return Result(f"rights in {_SERVER}", False, f"no right to read {', '.join(refused)}", remedy)
