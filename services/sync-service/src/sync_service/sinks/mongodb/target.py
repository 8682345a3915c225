"""A collection of MongoDB as the target of a route."""

from collections.abc import Collection, Mapping
from typing import ClassVar, Literal

from sync_service.routes.column_times import COLUMN_TIMES, WITHOUT_ZERO_DATES
from sync_service.routes.converters import (
    DECIMAL128,
    Conversion,
    FieldType,
    json_text_conversion,
    whole_milliseconds,
)
from sync_service.routes.declaration import Name
from sync_service.routes.json_numbers import decode_for_bson
from sync_service.sinks.target import Target


class MongodbTarget(Target):
    source_store: ClassVar[Literal["mysql"]] = "mysql"
    source_rows_are_complete: ClassVar[bool] = True
    system_databases: ClassVar[Collection[str]] = ("admin", "config", "local")
    is_read_whole: ClassVar[bool] = True
    has_document_keys: ClassVar[bool] = True
    conversions: ClassVar[Mapping[FieldType, Conversion]] = {
        "decimal": DECIMAL128,
        "json_text": json_text_conversion(decode_for_bson),
        **COLUMN_TIMES,
    }
    conversions_without_zero_dates: ClassVar[Mapping[FieldType, Conversion]] = WITHOUT_ZERO_DATES
    refused_keys: ClassVar[Mapping[FieldType, str]] = {
        "bits": "bits is no type of a key in a collection: Debezium's snapshots lack low bytes of a BIT key; use an "
        "integer column"
    }

    store: Literal["mongodb"]
    collection: Name

    @property
    def name(self) -> str:
        return self.collection

    def exact(self, conversion: Conversion) -> Conversion:
        return whole_milliseconds(conversion) if conversion.field_type == "datetime" else conversion

    def check_key(self, names: Collection[str]) -> None:
        if (len(names) == 1) != ("_id" in names):
            raise ValueError("the key of a collection is _id and nothing else, or several fields that make up its _id")

    def check_fields(self, names: Collection[str], indexes: Collection[object]) -> None:  # noqa: ARG002 - any indexes do
        if "_id" in names:
            raise ValueError("_id of a collection is its key")
