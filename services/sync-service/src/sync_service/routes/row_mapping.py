"""The fields of a route, compiled for mapping many rows: no field is looked up by name for each row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sync_service.debezium.errors import MissingColumn, UnfitValue
from sync_service.routes.converters import CONVERSION_FAILURES, Conversion, unfit_value


@dataclass(frozen=True, slots=True)
class MappedField:
    """The value of `name` in the copy is the one at `path` in the row, or `absent`. A constant has no path.

    A row without a field that `must_exist` is refused. (Its value may be null all the same.)
    """

    name: str
    path: Sequence[str] = ()
    conversion: Conversion | None = None
    absent: Any = None
    must_exist: bool = False


class RowMapping:
    """Maps a source row, as an event or a driver has it, to the row of the copy."""

    def __init__(self, fields: Sequence[MappedField]) -> None:
        self._absent = {field.name: field.absent for field in fields}
        self._plain = []
        self._nested = []
        for field in fields:
            if field.conversion is None:
                continue
            unchanged, convert = field.conversion.unchanged, field.conversion.convert
            if len(field.path) == 1:
                self._plain.append((field.name, field.path[0], unchanged, convert))
            else:
                self._nested.append((field.name, tuple(field.path), convert))
        self._field_types = {
            field.name: field.conversion.field_type for field in fields if field.conversion is not None
        }
        self._must_exist = {field.path[0]: field.name for field in fields if field.must_exist}

    def __call__(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Raises `UnfitValue`, which names the field."""
        if not row.keys() >= self._must_exist.keys():
            raise self._missing(row)
        values = self._absent.copy()
        get = row.get
        name, value = "", None
        try:
            for name, source, unchanged, convert in self._plain:
                value = get(source)
                if value is None:
                    continue
                if type(value) is unchanged:
                    values[name] = value
                elif (converted := convert(value)) is not None:
                    values[name] = converted
            for name, path, convert in self._nested:
                value = follow(path, row)
                if value is not None and (converted := convert(value)) is not None:
                    values[name] = converted
        except UnfitValue as error:
            raise UnfitValue(f"{name}: {error}") from error
        except CONVERSION_FAILURES as error:
            raise UnfitValue(f"{name}: {unfit_value(value, self._field_types[name], error)}") from error
        return values

    def _missing(self, row: Mapping[str, Any]) -> MissingColumn:
        missing = [column for column in self._must_exist if column not in row]
        return MissingColumn(
            f"{', '.join(self._must_exist[column] for column in missing)}: the source row has no column "
            f"{', '.join(missing)}: it was renamed or dropped, or did not exist yet, or never did (a field with "
            "`default: null` takes such rows)"
        )


def follow(path: Sequence[str], row: Any) -> Any:
    """The value at the path, or None if a step is missing or null. Raises `UnfitValue` if a step is no document."""
    for step in path:
        if row is None:
            return None
        if not isinstance(row, Mapping):
            raise UnfitValue(f"what should hold {step!r} is a {type(row).__name__} and no document")
        row = row.get(step)
    return row
