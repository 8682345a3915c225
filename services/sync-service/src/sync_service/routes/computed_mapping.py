"""The mapping of a route with expressions: which rows are in the copy, and fields that are computed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sync_service.debezium.errors import UnfitValue
from sync_service.routes.converters import CONVERSION_FAILURES, Conversion, unfit_value
from sync_service.routes.expressions import Expression
from sync_service.routes.row_mapping import RowMapping


@dataclass(frozen=True, slots=True)
class BoundExpression:
    """An expression, and the mapping of the values that it needs."""

    expression: Expression
    values: RowMapping

    def __call__(self, row: Mapping[str, Any]) -> Any:
        """Raises `UnfitValue`."""
        return self.expression(self.values(row))


@dataclass(frozen=True, slots=True)
class ComputedField:
    """The result of the expression is converted like a value of the source. A null result leaves the default."""

    name: str
    compute: BoundExpression
    conversion: Conversion

    def __call__(self, row: Mapping[str, Any]) -> Any:
        """Raises `UnfitValue`, which names the field."""
        value = None
        try:
            value = self.compute(row)
            return None if value is None else self.conversion.convert(value)
        except UnfitValue as error:
            raise UnfitValue(f"{self.name}: {error}") from error
        except CONVERSION_FAILURES as error:
            raise UnfitValue(f"{self.name}: {unfit_value(value, self.conversion.field_type, error)}") from error


class ComputedMapping:
    """A `RowMapping` with computed fields, for the rows of which `where` is true."""

    def __init__(self, copied: RowMapping, computed: Sequence[ComputedField], where: BoundExpression | None) -> None:
        self._copied = copied
        self._computed = computed
        self._where = where

    def __call__(self, row: Mapping[str, Any]) -> dict[str, Any] | None:
        """None for a row that is not in the copy. Raises `UnfitValue`.

        The fields of such a row are not converted, so that none of them makes a dead letter of it.
        """
        if self._where is not None and not self._is_in_copy(self._where, row):
            return None
        values = self._copied(row)
        for field in self._computed:
            if (value := field(row)) is not None:
                values[field.name] = value
        return values

    @staticmethod
    def _is_in_copy(where: BoundExpression, row: Mapping[str, Any]) -> bool:
        try:
            result = where(row)
        except UnfitValue as error:
            raise UnfitValue(f"where: {error}") from error
        if not isinstance(result, bool):
            raise UnfitValue(f"where: {where.expression.text}: the result is a {type(result).__name__}, not a boolean")
        return result
