"""Every fault that there is. `docs/faults.md` lists them with what they are for."""

from faults.catalogue.base import Fault
from faults.catalogue.broker import AllTopicsLost, ConnectCompacted, RecordsDeleted, TopicDeleted
from faults.catalogue.connectors import SnapshotAnew
from faults.catalogue.databases import (
    ColumnAdded,
    ConnectionsKilled,
    FieldsAdded,
    KillBeforeWrite,
    LockHeld,
)
from faults.catalogue.group import RebalanceStorm, SetBack
from faults.catalogue.people import MadeAnew
from faults.catalogue.processes import (
    Down,
    Kill,
    KillBeforeCommit,
    KillInBacklog,
    KillInRebalance,
    Pause,
    Restart,
    Zombie,
)
from faults.catalogue.records import Poison, StaleEvents, TailReplayed

CATALOGUE: tuple[Fault, ...] = (
    Kill("sync", 16),
    KillBeforeWrite(),
    KillBeforeCommit(),
    KillInBacklog(),
    KillInRebalance(),
    Zombie(),
    Restart(),
    RebalanceStorm(),
    SetBack("offsets set back", 200, 10),
    SetBack("offsets set to the start", None, 5),
    StaleEvents(),
    TailReplayed(),
    Poison(),
    MadeAnew(),
    ConnectionsKilled(),
    LockHeld(),
    ColumnAdded(),
    FieldsAdded(),
    Kill("mysql", 4),
    Kill("mongo", 4),
    Kill("connect", 3),
    Kill("kafka", 4),
    Kill("registrar", 3),
    Kill("auth", 4),
    Kill("tweet", 4),
    Kill("gateway", 3),
    Pause("mysql", 5),
    Pause("mongo", 5),
    Pause("kafka", 5),
    Pause("connect", 5),
    Down("mysql", 3),
    Down("mongo", 3),
    Down("kafka", 3),
    Down("connect", 2),
    RecordsDeleted(),
    TopicDeleted(),
    AllTopicsLost(),
    ConnectCompacted(),
    SnapshotAnew("mysql-users"),
    SnapshotAnew("mongodb-tweets"),
)

__all__ = ["CATALOGUE", "Fault"]
