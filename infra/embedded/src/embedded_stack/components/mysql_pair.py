"""Two MySQL servers, a primary and its semi-synchronous replica, and the address of the primary.

The replica has GTIDs, and binary logs with lower names and numbers than the first primary's.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

from embedded_stack.components.base import Component, Environment, MySQLAccount
from embedded_stack.components.mysql import MySQLServer
from embedded_stack.components.mysql_accounts import ACCOUNTS, create_accounts, execute
from embedded_stack.errors import StackError
from embedded_stack.process import Command

_POLL_SECONDS = 0.1
_DEADLINE_SECONDS = 60.0
# The replica's name sorts before the first primary's.
_LOGS = {1: "binlog", 2: "a-binlog"}
# Numbers that the binary logs of the first primary are ahead of those of its replica.
_LOGS_AHEAD = 12


class MySQLMember(MySQLServer):
    """Both servers have the plugins of both roles. Without a replica the primary does not wait for one."""

    name = "mysql"
    ports = ("mysql",)

    def __init__(self, environment: Environment, member: int) -> None:
        super().__init__(environment)
        self.member = member
        self.name = f"mysql-{member}"
        self.ports = (self.name,)
        self.options = (
            f"--server-id={member}",
            f"--log-bin={_LOGS[member]}",
            "--plugin-load=semisync_source.so;semisync_replica.so",
            "--rpl-semi-sync-source-enabled=ON",
            "--rpl-semi-sync-source-wait-no-replica=OFF",
            "--rpl-semi-sync-replica-enabled=ON",
        )

    def execute(self, *statements: str) -> list[tuple[object, ...]]:
        """Execute statements as root. Return the rows of the last one."""
        return list(execute(self.root, statements))

    def gtids(self) -> str:
        """The transactions that it has executed."""
        ((executed,),) = self.execute("SELECT @@GLOBAL.gtid_executed")
        return str(executed).replace("\n", "")

    def lacks(self, gtids: str) -> str:
        """Those of the transactions that it has not executed."""
        ((missing,),) = self.execute(f"SELECT GTID_SUBTRACT('{gtids}', @@GLOBAL.gtid_executed)")
        return str(missing).replace("\n", "")

    def become_primary(self) -> None:
        """Accept writes, after all that was received has been applied."""
        self.execute("STOP REPLICA IO_THREAD")
        self.wait_until(lambda: not self.lacks(self._received()), "apply what it has received")
        self.execute(
            "STOP REPLICA", "RESET REPLICA ALL", "SET GLOBAL super_read_only = OFF", "SET GLOBAL read_only = OFF"
        )

    def follow(self, primary: "MySQLMember") -> None:
        """Become a replica, and wait until the primary's commits wait for it. Raises `StackError`."""
        root = primary.root
        self.execute(
            "SET sql_notes = 0, max_error_count = 0",
            "STOP REPLICA",
            "SET GLOBAL super_read_only = ON",
            f"CHANGE REPLICATION SOURCE TO SOURCE_HOST = '{root.host}', SOURCE_PORT = {root.port}, "
            f"SOURCE_USER = '{root.user}', SOURCE_PASSWORD = '{root.password}', SOURCE_AUTO_POSITION = 1, "
            "GET_SOURCE_PUBLIC_KEY = 1, SOURCE_CONNECT_RETRY = 1",
            "START REPLICA",
        )
        self.wait_until(lambda: not self.lacks(primary.gtids()) and primary.has_replica(), "follow the primary")

    def has_replica(self) -> bool:
        """Do its commits wait for a replica?"""
        rows = self.execute(
            "SHOW STATUS WHERE variable_name IN ('Rpl_semi_sync_source_status', 'Rpl_semi_sync_source_clients')"
        )
        return [value for _, value in rows] == ["1", "ON"]

    def _received(self) -> str:
        query = "SELECT received_transaction_set FROM performance_schema.replication_connection_status"
        return ",".join(str(row[0]).replace("\n", "") for row in self.execute(query) if row[0])

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + _DEADLINE_SECONDS
        while not condition():
            if time.monotonic() > deadline:
                raise StackError(f"{self.name} does not {what} within {_DEADLINE_SECONDS:g} s.")
            time.sleep(_POLL_SECONDS)


class MySQLAddress(Component):
    """The address of the primary. `move` promotes the other server."""

    name = "mysql"
    depends_on = ("mysql-1", "mysql-2")
    ports = ("mysql",)

    def __init__(self, environment: Environment, members: tuple[MySQLMember, MySQLMember]) -> None:
        super().__init__(environment)
        self._members = members

    @property
    def primary(self) -> MySQLMember:
        target = self._target.read_text().split()[0] if self._target.exists() else ""
        return next((each for each in self._members if str(self._port_of(each)) == target), self._members[0])

    @property
    def other(self) -> MySQLMember:
        """The server that is not the primary: its replica, if it follows it."""
        (other,) = (each for each in self._members if each is not self.primary)
        return other

    def prepare(self) -> None:
        self.point_to(self.primary)

    def command(self) -> Command:
        port = str(self.environment.port("mysql"))
        return Command(
            [sys.executable, "-m", "embedded_stack.forwarder", port, str(self._target)], self.environment.base
        )

    def is_ready(self) -> bool:
        execute(MySQLAccount.parse(self.environment.addresses["MYSQL_ROOT_URL"]), ["SELECT 1"])
        return True

    def after_ready(self) -> None:
        primary, other = self.primary, self.other
        if not other.gtids():
            primary.execute(*["FLUSH BINARY LOGS"] * _LOGS_AHEAD)
        if not primary.has_replica():
            other.follow(primary)
        create_accounts(self.environment)

    def after_ready_inputs(self) -> bytes:
        return ACCOUNTS.read_bytes()

    def point_to(self, member: MySQLMember, *, keeps_connections: bool = False) -> None:
        """Forward new connections to this server, and close the others, unless they shall stay."""
        draft = self._target.with_suffix(".draft")
        draft.write_text(f"{self._port_of(member)} {'keep' if keeps_connections else 'close'}")
        draft.replace(self._target)

    def _port_of(self, member: MySQLMember) -> int:
        return self.environment.port(member.ports[0])

    @property
    def _target(self) -> Path:
        return self.environment.data("mysql") / "target"
