"""The roles that accounts need for a new route. Pure.

Each command is one of MongoDB's, for the database that has the role or the account.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pymongo.uri_parser import parse_uri

# Debezium marks its place in the change stream by documents of this collection.
_SIGNALS, _WRITE = "debezium_signals", ["insert", "update", "remove"]


@dataclass(frozen=True, slots=True)
class Account:
    """`database` is the one that has the account."""

    name: str
    database: str

    @classmethod
    def of(cls, address: str) -> "Account | None":
        """None if the address names no account: the server has none then."""
        parts = parse_uri(address)
        name: str | None = parts["username"]
        if name is None:
            return None
        return cls(name, parts["options"].get("authSource") or parts["database"] or "admin")


@dataclass(frozen=True, slots=True)
class Command:
    database: str
    body: Mapping[str, Any]

    def __str__(self) -> str:
        """As it is typed into mongosh."""
        return f"db.getSiblingDB({json.dumps(self.database)}).runCommand({json.dumps(self.body)})"


def commands_of_source(database: str, connector: Account, sync: Account) -> Sequence[Command]:
    """So that both may read a database, and the connector may mark its place there."""
    role = f"{connector.name}_of_{database}"
    privilege = {"resource": {"db": database, "collection": _SIGNALS}, "actions": _WRITE}
    read = {"role": "read", "db": database}
    return [
        Command("admin", {"createRole": role, "privileges": [privilege], "roles": [read]}),
        _granted(connector, {"role": role, "db": "admin"}),
        _granted(sync, read),
    ]


def commands_of_copies(database: str, sync: Account) -> Sequence[Command]:
    """So that the sync may write copies there, and change their collections."""
    return [_granted(sync, *({"role": role, "db": database} for role in ("readWrite", "dbAdmin")))]


def _granted(account: Account, *roles: Mapping[str, str]) -> Command:
    return Command(account.database, {"grantRolesToUser": account.name, "roles": list(roles)})
