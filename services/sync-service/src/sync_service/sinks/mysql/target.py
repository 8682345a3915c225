"""A table of MySQL as the target of a route."""

from collections.abc import Collection, Mapping
from typing import ClassVar, Literal

from sync_service.routes.converters import MAXIMUM_PRECISION, MAXIMUM_SCALE, Conversion, FieldType, limited_decimal
from sync_service.routes.declaration import Name
from sync_service.sinks.target import Target


class MysqlTarget(Target):
    source_store: ClassVar[Literal["mongodb"]] = "mongodb"
    system_databases: ClassVar[Collection[str]] = ("information_schema", "mysql", "performance_schema", "sys")
    has_case_sensitive_fields: ClassVar[bool] = False
    has_columns: ClassVar[bool] = True
    conversions: ClassVar[Mapping[FieldType, Conversion]] = {
        "decimal": limited_decimal(MAXIMUM_PRECISION, MAXIMUM_SCALE)
    }

    store: Literal["mysql"]
    table: Name

    @property
    def name(self) -> str:
        return self.table

    def check_fields(self, names: Collection[str], indexes: Collection[object]) -> None:  # noqa: ARG002 - any names do
        if indexes:
            raise ValueError("indexes are of a collection; those of a table you make yourself")
