"""The sources of the routes, as `sources:` in `routes.yaml` declares them. Pure.

A source is what one Debezium connector reads: a MySQL server, or one database of a MongoDB server.
"""

import re
import zlib
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, StringConstraints, field_validator, model_validator

from sync_service.routes.declaration import Declaration, TopicName
from sync_service.sinks.targets import Store

# The settings that follow from the routes and from the other fields of a source.
GENERATED = frozenset(
    {
        "capture.scope",
        "capture.target",
        "collection.include.list",
        "connector.class",
        "database.include.list",
        "database.server.id",
        "name",
        "table.include.list",
        "topic.prefix",
    }
)
_ENVIRONMENT: Mapping[Store, str] = {"mysql": "CDC_MYSQL", "mongodb": "CDC_MONGODB"}
_NOT_IN_NAMES = re.compile(r"[^a-z0-9-]")
_NAME = r"^[a-z0-9][a-z0-9-]{0,62}$"


def _as_text(value: Any) -> Any:
    """Kafka Connect's settings are texts. YAML reads `true` and `5` as other types."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else value


class Source(Declaration):
    """One connector.

    `topic_prefix` is the start of its topics, `<topic_prefix>.<database>.<table>`. `environment` is the start of the
    environment variables with its address: `<environment>_HOST`, `_PORT`, `_USER` and `_PASSWORD` of a MySQL server,
    `<environment>_URL` of MongoDB. `server_id` is the connector's own as a replica of MySQL. `partitions` are those of
    each topic. `options` are settings of Debezium's connector.
    """

    name: Annotated[str, StringConstraints(pattern=_NAME)]
    kind: Store
    topic_prefix: TopicName = ""
    environment: Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9_]*$")] = ""
    server_id: int = Field(default=0, ge=0, lt=2**32)
    database: str | None = Field(default=None, min_length=1, max_length=63)
    partitions: int = Field(default=6, ge=1)
    options: Mapping[str, Annotated[str, BeforeValidator(_as_text)]] = {}

    @model_validator(mode="before")
    @classmethod
    def _filled(cls, declared: Any) -> Any:
        """A connector's place among the replicas of its server follows from its name, and so does its prefix."""
        if not isinstance(declared, dict) or declared.get("kind") not in _ENVIRONMENT:
            return declared
        name = str(declared.get("name"))
        defaults = {"topic_prefix": f"cdc.{name}", "environment": _ENVIRONMENT[declared["kind"]]}
        if declared["kind"] == "mysql":
            # Above the ids that operators choose.
            defaults["server_id"] = str(1_000_000 + zlib.crc32(name.encode()) % 1_000_000_000)
        return {**defaults, **declared}

    @model_validator(mode="after")
    def _fitting(self) -> "Source":
        if self.kind == "mongodb" and self.database is None:
            raise ValueError("a source of kind mongodb has a database: declare one source for each database")
        if self.kind == "mongodb" and self.server_id:
            raise ValueError("server_id is for MySQL")
        if self.kind == "mysql" and self.database is not None:
            raise ValueError("database is for MongoDB: a source of kind mysql is a whole server")
        return self

    @field_validator("options")
    @classmethod
    def _not_generated(cls, options: Mapping[str, str]) -> Mapping[str, str]:
        if generated := sorted(GENERATED & options.keys()):
            raise ValueError(f"{', '.join(generated)} can't be set: the routes and the source determine it")
        return options

    @property
    def declaration(self) -> Mapping[str, object]:
        """What `routes.yaml` has below the name: without what follows from it."""
        needed = {"kind": self.kind, **({} if self.database is None else {"database": self.database})}
        defaults = Source.model_validate({"name": self.name, **needed})
        others = self.model_dump(exclude={"name", *needed})
        return {**needed, **{name: value for name, value in others.items() if value != getattr(defaults, name)}}

    @property
    def has_own_address(self) -> bool:
        """Is its server perhaps another one than that of `MYSQL_URL` or `MONGODB_URL`?"""
        return self.environment != _ENVIRONMENT[self.kind]

    def reads(self, store: Store, database: str) -> bool:
        return self.kind == store and self.database in (None, database)

    def table(self, topic: str) -> str | None:
        """`<database>.<table>` whose events are in the topic; None if it is no topic of this source."""
        rest = topic.removeprefix(f"{self.topic_prefix}.")
        return rest if rest != topic and rest.count(".") == 1 else None


def declared_source(store: Store, database: str) -> Source:
    """A source of its own for a table or collection of this database."""
    if store == "mysql":
        return Source.model_validate({"name": "mysql", "kind": store})
    name = f"mongodb-{_NOT_IN_NAMES.sub('-', database.lower())}"
    return Source.model_validate({"name": name, "kind": store, "database": database})
