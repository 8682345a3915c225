"""The target of a route, as `routes.yaml` declares it: the store of the copy and the copy's name."""

from collections.abc import Collection
from typing import ClassVar

from sync_service.routes.converters import Conversion
from sync_service.routes.declaration import Declaration


class Target(Declaration):
    """Each store has a subclass, which says by its field `store` for which store it is, and how the copy is called."""

    # The store that a copy in this store is made from.
    source_store: ClassVar[str]
    # Is a key of several fields one document?
    has_document_keys: ClassVar[bool] = False
    # Converts a decimal without a declared precision.
    decimal: ClassVar[Conversion]

    @property
    def name(self) -> str:
        """The name of the view of the copy's live rows."""
        raise NotImplementedError

    @property
    def copy_name(self) -> str:
        """The name of the table or collection of the copy, tombstones included."""
        return f"{self.name}_copy"

    def check_key(self, names: Collection[str]) -> None:
        """Raises `ValueError` if a copy can't have these fields as its key."""

    def check_fields(self, names: Collection[str], indexes: Collection[object]) -> None:
        """Raises `ValueError` if a copy can't have these fields, or these indexes."""
