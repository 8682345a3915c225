"""A real mongod from a wheel, as a member of a replica set, which change streams and transactions need."""

from collections.abc import Mapping
from typing import Any

from embedded_stack.components.base import LOOPBACK, Component, numbered, without_account
from embedded_stack.fetch.debian import FAKETIME, debian_prefix
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
        self._clock()

    def command(self) -> Command:
        return Command(
            [
                str(wheels_folder(self.environment.cache) / "fiftyone/db/bin/mongod"),
                *("--dbpath", str(self.environment.data(self.name))),
                *("--port", str(self.environment.port(self.ports[0]))),
                *("--bind_ip", LOOPBACK, "--replSet", REPLICA_SET, "--nounixsocket", "--quiet"),
                *("--wiredTigerCacheSizeGB", "0.5" if self._members == 1 else "0.25"),
            ],
            {**self.environment.base, **self._clock()},
        )

    def _clock(self) -> Mapping[str, str]:
        """The variables that move the wall clock of this member, and no timer."""
        seconds = dict(self.environment.topology.clock_offsets).get(self.member)
        if seconds is None:
            return {}
        (library,) = debian_prefix(self.environment.cache, FAKETIME).root.glob("usr/lib/*/faketime/libfaketimeMT.so.1")
        return {"LD_PRELOAD": str(library), "FAKETIME": f"{seconds:+d}s", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}

    def is_ready(self) -> bool:
        """True if it is a primary that accepts writes, or one of several members and not the first to start.

        Member 1 creates the replica set at the first start. The set's configuration contains the port. If the state
        folder of a single member was used with another port, the configuration is changed; otherwise the server would
        never become primary.
        """
        import pymongo  # noqa: PLC0415 - a supervisor has no use for it and runs for long
        from pymongo.errors import OperationFailure  # noqa: PLC0415

        member = self._address(self.member)
        with pymongo.MongoClient[dict[str, Any]](
            member, directConnection=True, serverSelectionTimeoutMS=1000
        ) as client:
            hello = client.admin.command("hello")
            if hello.get("isWritablePrimary") or self.member > 1 or (self._members > 1 and hello.get("secondary")):
                return True
            try:
                configuration = client.admin.command("replSetGetConfig")["config"]
            except OperationFailure as error:
                if error.code != _NOT_YET_INITIALIZED:
                    raise
                client.admin.command("replSetInitiate", self._replica_set())
                return False
            if self._members == 1 and configuration["members"][0]["host"] != member:
                configuration["members"][0]["host"] = member
                configuration["version"] += 1
                client.admin.command("replSetReconfig", configuration, force=True)
            return False

    def _replica_set(self) -> dict[str, Any]:
        members = [{"_id": number - 1, "host": self._address(number)} for number in range(1, self._members + 1)]
        # A lost primary is replaced after two seconds instead of ten.
        elections = {"settings": {"electionTimeoutMillis": 2000, "heartbeatIntervalMillis": 500}}
        return {"_id": REPLICA_SET, "members": members, **(elections if self._members > 1 else {})}

    def _address(self, member: int) -> str:
        return f"{LOOPBACK}:{self.environment.port(numbered('mongo', member))}"

    @property
    def _members(self) -> int:
        return self.environment.topology.mongo
