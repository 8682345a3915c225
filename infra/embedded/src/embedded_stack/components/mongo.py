"""A real mongod from a wheel, as a replica set of one member, which change streams and transactions need."""

from typing import Any

from embedded_stack.components.base import LOOPBACK, Component, without_account
from embedded_stack.fetch.wheels import wheels_folder
from embedded_stack.process import Command

REPLICA_SET = "rs0"
_NOT_YET_INITIALIZED = 94


class Mongo(Component):
    name = "mongo"
    ports = ("mongo",)
    grace = 30

    @property
    def outside(self) -> str | None:
        return without_account(self.environment.configuration.outside_mongodb)

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
        """True if it is a primary that accepts writes.

        This creates the replica set at the first start. The set's configuration contains the port. If the state folder
        was used with another port, the configuration is changed; otherwise the server would never become primary.
        """
        import pymongo  # noqa: PLC0415 - a supervisor has no use for it and runs for long
        from pymongo.errors import OperationFailure  # noqa: PLC0415

        member = f"{LOOPBACK}:{self.environment.port('mongo')}"
        with pymongo.MongoClient[dict[str, Any]](
            member, directConnection=True, serverSelectionTimeoutMS=1000
        ) as client:
            if client.admin.command("hello").get("isWritablePrimary"):
                return True
            try:
                configuration = client.admin.command("replSetGetConfig")["config"]
            except OperationFailure as error:
                if error.code != _NOT_YET_INITIALIZED:
                    raise
                members = [{"_id": 0, "host": member}]
                client.admin.command("replSetInitiate", {"_id": REPLICA_SET, "members": members})
                return False
            if configuration["members"][0]["host"] != member:
                configuration["members"][0]["host"] = member
                configuration["version"] += 1
                client.admin.command("replSetReconfig", configuration, force=True)
            return False
