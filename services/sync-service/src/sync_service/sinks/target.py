"""The target of a route, as `routes.yaml` declares it: the store of the copy and the copy's name."""

from collections.abc import Collection, Mapping
from typing import Annotated, ClassVar

from pydantic import StringConstraints, field_validator

from sync_service.routes.converters import Conversion, FieldType
from sync_service.routes.declaration import Declaration

# The name of a database in both stores. MongoDB's limit is 63 bytes, MySQL's 64 characters.
DatabaseName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_-]{0,62}$")]


class Target(Declaration):
    """Each store has a subclass, which says by its field `store` for which store it is, and how the copy is called.

    `database` is None for the database of the store's address (`MONGODB_URL`, `MYSQL_URL`).
    """

    database: DatabaseName | None = None

    # Databases of the server itself, in lower case.
    system_databases: ClassVar[Collection[str]] = ()
    # The store that a copy in this store is made from.
    source_store: ClassVar[str]
    # Does a row of the source have every column, so that one without a field's column is an error?
    source_rows_are_complete: ClassVar[bool] = False
    # Are fields whose names differ in case only different?
    has_case_sensitive_fields: ClassVar[bool] = True
    # Does a connector get every change of a database from the server, also of collections that it does not capture?
    is_read_whole: ClassVar[bool] = False
    # Has a copy columns? A changed route neither removes one nor changes its type.
    has_columns: ClassVar[bool] = False
    # Is a key of several fields one document?
    has_document_keys: ClassVar[bool] = False
    # How this store's copies convert values of some types, if not as all stores do.
    conversions: ClassVar[Mapping[FieldType, Conversion]] = {}
    # The same for columns of MySQL that contain no zero dates. Empty: the source has none at all.
    conversions_without_zero_dates: ClassVar[Mapping[FieldType, Conversion]] = {}
    # Types of which a key would not be exact, with the reason and the remedy.
    refused_keys: ClassVar[Mapping[FieldType, str]] = {}

    @property
    def name(self) -> str:
        """The name of the view of the copy's live rows."""
        raise NotImplementedError

    @property
    def copy_name(self) -> str:
        """The name of the table or collection of the copy, tombstones included."""
        return f"{self.name}_copy"

    @property
    def place(self) -> str:
        """The name of the view, with its database if the route names one."""
        return self.name if self.database is None else f"{self.database}.{self.name}"

    @field_validator("database")
    @classmethod
    def _is_no_system_database(cls, database: str | None) -> str | None:
        if database is not None and database.lower() in cls.system_databases:
            raise ValueError(f"{database} is a database of the server itself")
        return database

    def exact(self, conversion: Conversion) -> Conversion:
        """The conversion for a part of the key: it refuses values that the store would not keep exactly."""
        return conversion

    def check_key(self, names: Collection[str]) -> None:
        """Raises `ValueError` if a copy can't have these fields as its key."""

    def check_fields(self, names: Collection[str], indexes: Collection[object]) -> None:
        """Raises `ValueError` if a copy can't have these fields, or these indexes."""
