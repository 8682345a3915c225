"""A real mongod from a wheel, as a replica set of one: change streams and transactions need one."""

from typing import Any

import pymongo
from pymongo.errors import OperationFailure

from embedded_stack.components.base import LOOPBACK, Component
from embedded_stack.fetch.wheels import wheels_folder
from embedded_stack.process import Command

REPLICA_SET = "rs0"
_ALREADY_INITIALIZED = 23


class Mongo(Component):
    name = "mongo"
    ports = ("mongo",)
    grace = 30

    @property
    def outside(self) -> str | None:
        return self.environment.configuration.outside_mongodb

    def fetch(self) -> None:
        wheels_folder(self.environment.cache)

    def command(self) -> Command:
        return Command(
            [
                str(wheels_folder(self.environment.cache) / "fiftyone/db/bin/mongod"),
                *("--dbpath", str(self.environment.data("mongo"))),
                *("--port", str(self.environment.port("mongo"))),
                *("--bind_ip", LOOPBACK, "--replSet", REPLICA_SET, "--nounixsocket", "--quiet"),
                *("--wiredTigerCacheSizeGB", "0.5"),
            ],
            self.environment.base,
        )

    def is_ready(self) -> bool:
        """Ready is a primary that takes writes; the first time, the replica set has to be made."""
        member = f"{LOOPBACK}:{self.environment.port('mongo')}"
        with pymongo.MongoClient[dict[str, Any]](
            member, directConnection=True, serverSelectionTimeoutMS=1000
        ) as client:
            hello = client.admin.command("hello")
            if not hello.get("setName"):
                members = [{"_id": 0, "host": member}]
                try:
                    client.admin.command("replSetInitiate", {"_id": REPLICA_SET, "members": members})
                except OperationFailure as error:
                    if error.code != _ALREADY_INITIALIZED:
                        raise
            return bool(hello.get("isWritablePrimary"))
