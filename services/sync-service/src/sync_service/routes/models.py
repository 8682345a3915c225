"""A route, as `routes.yaml` declares it."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

from sync_service.routes.types import FieldType

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,58}$")]


class _Declaration(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class MongoTarget(_Declaration):
    store: Literal["mongodb"]
    collection: Name

    @property
    def name(self) -> str:
        return self.collection


class MysqlTarget(_Declaration):
    store: Literal["mysql"]
    table: Name

    @property
    def name(self) -> str:
        return self.table


class CopiedField(_Declaration):
    """A field of the copy: `source` is where it comes from (None: the same name), or it is a `constant`."""

    source: str | None = Field(default=None, alias="from")
    type: FieldType = "json"
    constant: Any = None

    @model_validator(mode="after")
    def _constant_or_copied(self) -> "CopiedField":
        constant = "constant" in self.model_fields_set
        if constant == ("type" in self.model_fields_set) or (constant and self.source is not None):
            raise ValueError("a field has either a type (and perhaps from) or a constant")
        return self

    @property
    def is_constant(self) -> bool:
        return "constant" in self.model_fields_set


# `name: string` is short for `name: {type: string}`.
FieldDeclaration = Annotated[
    CopiedField, BeforeValidator(lambda value: {"type": value} if isinstance(value, str) else value)
]


class Route(_Declaration):
    """One topic and its copy."""

    name: str
    topic: str
    target: Annotated[MongoTarget | MysqlTarget, Field(discriminator="store")]
    key: Mapping[Name, FieldDeclaration] = Field(min_length=1)
    fields: Mapping[Name, FieldDeclaration]
    indexes: list[list[Name]] = []
    tombstones: Literal["purge", "keep"] = "purge"

    @model_validator(mode="after")
    def _consistent(self) -> "Route":
        if any(field.is_constant for field in self.key.values()):
            raise ValueError("a constant can't tell rows apart, so it is no key")
        if any(field.type in ("json", "json_text") for field in self.key.values()):
            raise ValueError("a key needs a type of single values")
        if twice := self.key.keys() & self.fields.keys():
            raise ValueError(f"both key and field: {', '.join(sorted(twice))}")
        if self.target.store == "mongodb" and list(self.key) != ["_id"]:
            raise ValueError("the key of a collection is _id, and nothing else")
        if self.target.store == "mysql" and self.indexes:
            raise ValueError("a table gets its indexes in its migration")
        if reserved := [name for name in (*self.key, *self.fields) if name.startswith(("sync_", "_sync"))]:
            raise ValueError(f"names that start with sync_ are the sync's own: {', '.join(reserved)}")
        return self
