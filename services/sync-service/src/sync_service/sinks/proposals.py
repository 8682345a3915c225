"""How a copy would have what a source has: `routes add` writes it into `routes.yaml`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sync_service.routes.converters import FieldType
from sync_service.sinks.targets import Store


class CannotPropose(Exception):  # noqa: N818 - a state of the source
    """The table or collection can't be copied as it is. The message says why."""


@dataclass(frozen=True, slots=True)
class ProposedField:
    """A column, or a field of documents.

    `path` is its place in the source. `type` is None if no copy can have it. `options` are those of `CopiedField`.
    `remark` says what it is in the source.
    """

    path: tuple[str, ...]
    type: FieldType | None
    remark: str
    options: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DescribedSource:
    """A table or collection. `remark` says what was read to describe it.

    `no_snapshot` names the rows that Debezium's snapshot of a running connector leaves out; None if it copies all.
    """

    store: Store
    database: str
    name: str
    key: Sequence[ProposedField]
    fields: Sequence[ProposedField]
    remark: str
    no_snapshot: str | None = None

    @property
    def place(self) -> str:
        return f"{self.database}.{self.name}"
