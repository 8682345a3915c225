"""A connector that the registrar keeps, with what is known about it.

The declarations may change at every `await`. A task that waits keeps this object, instead of looking a name up again
afterwards: of a connector that is no longer declared, what it finds has no effect.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

from registrar.captured import added, captured, without
from registrar.connectors import Connector
from registrar.snapshots import SnapshotLog
from registrar.state import ConnectorMonitor, ConnectorState

NOT_CHECKED = "not checked yet"


@dataclass(eq=False)
class ManagedConnector:
    """`connector` is what is declared now.

    Results of the last poll: `state`, None if Connect did not answer, and `problem`. `source_problem` of its database
    is that of the last check that reached the database. `waits_for` names what must exist before the connector can be
    registered, or can capture more. `repairs` are counted since the process began. `refusal` is Connect's, of the last
    repair. `readable` is what it may read, or what could not be checked. `snapshots` are None if it can't be asked for
    rows. `cause` of its silence, with the time when it was found. `changed_at` is when the last repair ended.
    """

    connector: Connector
    monitor: ConnectorMonitor
    snapshots: SnapshotLog | None = None
    state: ConnectorState | None = None
    problem: str | None = NOT_CHECKED
    source_problem: str | None = None
    waits_for: str | None = None
    repairs: int = 0
    refusal: str | None = None
    readable: set[str] = field(default_factory=set)
    cause: tuple[float, str | None] = (float("-inf"), None)
    changed_at: float = float("-inf")
    # Is `state` from a poll that began after the last repair had ended?
    is_settled: bool = False

    @property
    def name(self) -> str:
        return self.connector.name

    @property
    def is_absent(self) -> bool:
        return self.state is None or self.state.config is None

    @property
    def not_captured(self) -> Sequence[str]:
        """What the connector is to capture, as far as it is not registered with it."""
        if self.state is None or self.state.config is None:
            return captured(self.connector.config)
        return added(self.state.config, self.connector.config)

    @property
    def rows_awaited(self) -> Sequence[str]:
        """Tables with rows that are not in Kafka yet: they are not captured, or a snapshot is copying them.

        A connector that takes its first snapshot has sent no heartbeat.
        """
        copying = [] if self.snapshots is None else list(chain.from_iterable(self.snapshots.pending.values()))
        if self.state is None:
            return copying
        if self.is_absent or self.state.has_never_sent_heartbeats:
            return captured(self.connector.config)
        return [*self.not_captured, *copying]

    @property
    def readable_part(self) -> Connector:
        """The connector without additions that it may not read. Its other routes do not wait for them."""
        if self.is_absent:
            return self.connector
        unreadable = set(self.not_captured) - self.readable
        return (
            replace(self.connector, config=without(self.connector.config, unreadable)) if unreadable else self.connector
        )
