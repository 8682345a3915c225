"""All faults. `docs/faults.md` says what each is for."""

from faults.catalogue.base import Fault
from faults.catalogue.broker import AllTopicsLost, ConnectCompacted, RecordsDeleted, TopicDeleted
from faults.catalogue.connectors import NewSnapshot
from faults.catalogue.consumer_group import OffsetsRewound, RebalanceStorm
from faults.catalogue.databases import (
    ColumnAdded,
    ConnectionsKilled,
    FieldsAdded,
    KillBeforeWrite,
    LockHeld,
)
from faults.catalogue.failover import (
    BrokerKilled,
    ControllerKilled,
    MongoPrimaryKilled,
    MysqlPrimaryKilled,
    PrimaryBehind,
    Promotion,
    StepDown,
    TwoBrokersKilled,
    WorkerKilled,
)
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
from faults.catalogue.users import DeleteRecreate

CATALOGUE: tuple[Fault, ...] = (
    Kill("sync", 16),
    KillBeforeWrite(),
    KillBeforeCommit(),
    KillInBacklog(),
    KillInRebalance(),
    Zombie(),
    Restart(),
    RebalanceStorm(),
    OffsetsRewound("offsets set back", 200, 10),
    OffsetsRewound("offsets set to the start", None, 5),
    StaleEvents(),
    TailReplayed(),
    Poison(),
    DeleteRecreate(),
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
    # Longer than the sync waits for an answer.
    Pause("kafka", 5, longest=45),
    Pause("connect", 5),
    Down("mysql", 3),
    Down("mongo", 3),
    Down("kafka", 3),
    Down("connect", 2),
    RecordsDeleted(),
    TopicDeleted(),
    AllTopicsLost(),
    ConnectCompacted(),
    NewSnapshot("mysql-users"),
    NewSnapshot("mongodb-tweets"),
)

# The faults of a topology with several members, and those of the sync and its records.
FAILOVERS: tuple[Fault, ...] = (
    StepDown(),
    PrimaryBehind(),
    MongoPrimaryKilled(),
    Promotion(),
    MysqlPrimaryKilled(),
    BrokerKilled(),
    ControllerKilled(),
    TwoBrokersKilled(),
    WorkerKilled(),
    Kill("sync", 2),
    KillBeforeWrite(),
    KillInRebalance(),
    StaleEvents(),
    TailReplayed(),
)

CATALOGUES = {"single": CATALOGUE, "ha": FAILOVERS}

__all__ = ["CATALOGUE", "CATALOGUES", "FAILOVERS", "Fault"]
