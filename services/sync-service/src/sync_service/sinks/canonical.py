"""The canonical text of a row: equal for equal rows, different for all others. Pure.

It is implemented twice. The functions in Python define it: the mapped source row and the row of the copy are equal if
their texts are. The expressions in SQL compute the same text where MySQL has exact types for it, so that checksums are
computed where the rows are. Where it has none, `expression` is None, and rows are compared one by one.

Texts are unambiguous within a row: one that may contain any character begins with its length in characters.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec

from sync_service.apply.changes import Key
from sync_service.debezium.errors import UnfitValue
from sync_service.routes.config import CopiedField
from sync_service.routes.converters import FieldType, convert, type_of_constant
from sync_service.routes.json_numbers import InexactNumberError, decode_for_bson
from sync_service.sinks.floats import single_text
from sync_service.sinks.mysql.json_text import double_text, json_text

NULL = "-"
_UNWRITABLE = (UnfitValue, ValueError, TypeError, ArithmeticError, RecursionError)
# MongoDB keeps milliseconds.
MONGODB_DIGITS = 3

_INTEGERS = frozenset({"tinyint", "smallint", "mediumint", "int", "bigint"})
_TEXTS = frozenset({"char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum"})
# They are sorted by the number of their element.
_NUMBERED = frozenset({"enum", "set"})
_MOMENTS = frozenset({"datetime", "timestamp"})
_BINARIES = frozenset({"varbinary", "tinyblob", "blob", "mediumblob", "longblob"})


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table from `information_schema`. `digits` are those of a time after the second.

    `full_type` has everything that `data_type` has not: `bit(1)`, `bigint unsigned`.
    """

    name: str
    data_type: str
    collation: str | None = None
    digits: int | None = None
    full_type: str = ""
    is_nullable: bool = True

    @property
    def is_in_order_of_bytes(self) -> bool:
        """Does MySQL sort the column as it compares it with a value, and as MongoDB does?"""
        if self.data_type in _NUMBERED:
            return False
        return self.collation is None or self.collation == "binary" or self.collation.endswith("_bin")


@dataclass(frozen=True, slots=True)
class CanonicalField:
    """`text` is for a value of the copy or a mapped value of the source, `expression` for a column in SQL.

    `absent` is the text of the route's default, for a source row without the field.
    """

    name: str
    text: Callable[[Any], str]
    expression: str | None
    absent: str = NULL

    def sql(self, column: str, *, of_source: bool) -> str:
        """An expression that is never null. `column` is quoted. Raises `ValueError` if there is none."""
        if self.expression is None:
            raise ValueError(f"there is no SQL expression for {self.name}")
        return f"IFNULL({self.expression.format(column)}, {_literal(self.absent if of_source else NULL)})"


@dataclass(frozen=True, slots=True)
class CanonicalRow:
    """The fields of the key, and the other fields.

    `is_selected_here`: MySQL can't say which of its rows are copied.
    """

    key: Sequence[CanonicalField]
    fields: Sequence[CanonicalField]
    is_keyed_by_document: bool = False
    is_selected_here: bool = False

    @property
    def is_exact_in_sql(self) -> bool:
        return not self.is_selected_here and all(field.expression is not None for field in (*self.key, *self.fields))

    def text(self, key: Key, values: Mapping[str, Any]) -> str:
        """Raises nothing: a value that is not of its field's type has a text that equals no other."""
        components = self._components(key)
        if len(components) != len(self.key):
            return f"!key:{key!r}"
        parts = [field.text(part) for field, part in zip(self.key, components, strict=True)]
        parts += [field.text(values.get(field.name)) for field in self.fields]
        return ",".join(parts)

    def differing(self, source: Mapping[str, Any], copy: Mapping[str, Any]) -> list[str]:
        """The names of the fields that differ."""
        return [
            field.name
            for field in self.fields
            if field.text(source.get(field.name)) != field.text(copy.get(field.name))
        ]

    def _components(self, key: Key) -> Sequence[Any]:
        return tuple(key[0].values()) if self.is_keyed_by_document and isinstance(key[0], dict) else key


@dataclass(frozen=True, slots=True)
class Checksum:
    """The checksum of a set of rows in any order: their number, and the XOR of the SHA-256 hashes of their texts."""

    count: int
    digest: int


class ChecksumBuilder:
    """Computes a checksum row by row."""

    def __init__(self) -> None:
        self._count = 0
        self._digest = 0

    def add(self, text: str) -> None:
        self._count += 1
        self._digest ^= int.from_bytes(hashlib.sha256(text.encode()).digest())

    @property
    def checksum(self) -> Checksum:
        return Checksum(self._count, self._digest)


def checksum_sql(texts: Sequence[str]) -> str:
    """Two columns with the checksum of `ChecksumBuilder`, computed by MySQL. `texts` are the parts of a row."""
    return f"COUNT(*), BIT_XOR(UNHEX(SHA2(CONCAT_WS(',', {', '.join(texts)}), 256)))"


def canonical_field(name: str, field: CopiedField, column: Column, *, in_mongodb: bool) -> CanonicalField:
    """`column` is the one in MySQL, of the source or of the copy. `in_mongodb`: the copy is in MongoDB.

    Times are compared with the precision of the copy: MongoDB truncates to milliseconds, MySQL rounds to the digits of
    the column. MySQL does not keep trailing blanks of a CHAR. Of a FLOAT, the digits are compared that a snapshot has,
    too, and JSON that is copied as a string is compared as JSON: Debezium writes it as MySQL does in a snapshot only.
    """
    kind = type_of_constant(field.constant) if field.is_constant else field.type
    digits = column.digits if column.digits is not None else 6
    copied_digits = MONGODB_DIGITS if in_mongodb else digits
    text = _COLUMN_TEXTS.get((column.data_type, kind)) if in_mongodb else None
    if text is None:
        text = _value_text(kind, copied_digits, strip=column.data_type == "char")
    default = field.constant if field.is_constant else field.default
    # A constant, and the default of a null value, are part of the mapped source row.
    absent = NULL if default is None else text(default if field.is_constant else convert(default, field.type))
    if field.is_constant and in_mongodb:
        return CanonicalField(name, text, "NULL", absent)
    return CanonicalField(name, text, _expression(kind, column, copied_digits, of_source=in_mongodb), absent)


def _value_text(kind: FieldType, digits: int, *, strip: bool) -> Callable[[Any], str]:
    written = _TEXTS_OF.get(kind, _sized)
    if kind == "datetime":
        written = _moment_text(digits)
    elif strip and kind in ("string", "uuid"):
        written = _stripped
    text = _text_of_type(kind, written)
    # Most values have these types already. A call for each would take half of the time.
    if kind == "datetime":
        zones = (UTC, None)
        return lambda value: written(value) if type(value) is datetime and value.tzinfo in zones else text(value)
    if kind in ("string", "text") and not strip:
        return lambda value: f"{len(value)}:{value}" if type(value) is str else text(value)
    return text


def _sized(text: str) -> str:
    return f"{len(text)}:{text}"


def _stripped(text: str) -> str:
    return _sized(text.rstrip(" "))


def _moment_text(digits: int) -> Callable[[datetime], str]:
    length = _moment_length(digits)
    half = timedelta(microseconds=10**6 // 2 // 10**digits)

    def rounded(moment: datetime) -> str:
        return (moment + half).isoformat(" ", "microseconds")[:length]

    return (lambda moment: moment.isoformat(" ", "microseconds")[:length]) if digits >= MONGODB_DIGITS else rounded


def _moment_length(digits: int) -> int:
    """The length of `2026-01-31 12:00:00`, plus the point and the digits."""
    return 20 + digits if digits else 19


def _decimal_text(number: Decimal) -> str:
    text = f"{number:f}"
    if "." in text:
        text = text.rstrip("0").removesuffix(".")
    return "0" if text == "-0" else text


def _boolean_text(value: bool) -> str:
    return "1" if value else "0"


def _json_text(value: Any) -> str:
    return _sized(json_text(value))


_TEXTS_OF: Mapping[FieldType, Callable[[Any], str]] = {
    "integer": lambda number: str(int(number)),
    "unsigned": lambda number: str(int(number)),
    "bits": lambda number: str(int(number)),
    "number": double_text,
    "decimal": _decimal_text,
    "boolean": _boolean_text,
    "binary": bytes.hex,
    "json": _json_text,
    "json_text": _json_text,
}


def _text_of_type(kind: FieldType, written: Callable[[Any], str]) -> Callable[[Any], str]:
    """`written` for values of this type, and for no others."""

    def text(value: Any) -> str:
        if value is None:
            return NULL
        try:
            return written(value if kind in ("json", "json_text") else convert(value, kind))
        except _UNWRITABLE:
            # A value of another type equals no value of the field's type.
            return f"!{type(value).__name__}:{_sized(repr(value))}"

    return text


def _text_as_json(text: str) -> str:
    try:
        return _json_text(decode_for_bson(text))
    except (InexactNumberError, msgspec.DecodeError):
        return _sized(text)


def _timestamp_text(text: str) -> str:
    """In a snapshot, Debezium leaves out zeros at the end of the fraction."""
    return _sized(f"{text.removesuffix('Z').rstrip('0').rstrip('.')}Z" if "." in text else text)


def _vector_text(numbers: Any) -> str:
    return ",".join([single_text(number) for number in numbers]) if isinstance(numbers, list) else _json_text(numbers)


# Texts of values from columns of MySQL's that Debezium writes in several ways.
_COLUMN_TEXTS: Mapping[tuple[str, FieldType], Callable[[Any], str]] = {
    ("float", "number"): _text_of_type("number", single_text),
    ("float", "decimal"): _text_of_type("decimal", single_text),
    ("timestamp", "string"): _text_of_type("string", _timestamp_text),
    ("timestamp", "text"): _text_of_type("text", _timestamp_text),
    ("json", "string"): _text_of_type("string", _text_as_json),
    ("json", "text"): _text_of_type("text", _text_as_json),
    ("json", "json"): _text_of_type("json", _text_as_json),
    ("vector", "json"): _text_of_type("json", _vector_text),
}

_TEXT_SQL = "CONCAT(CHAR_LENGTH({0}), ':', CONVERT({0} USING utf8mb4))"
# Zeros are trimmed after the point only; 10 stays 10.
_DECIMAL_SQL = (
    "IF(LOCATE('.', CAST({0} AS CHAR)), TRIM(TRAILING '.' FROM TRIM(TRAILING '0' FROM CAST({0} AS CHAR))), "
    "CAST({0} AS CHAR))"
)
_BOOLEAN_SQL = "CASE WHEN {0} = 0 THEN '0' WHEN {0} = 1 THEN '1' WHEN {0} IS NOT NULL THEN '?' END"
# The copy has NULL for a JSON null.
_JSON_SQL = "CONCAT(CHAR_LENGTH(CAST({0} AS CHAR)), ':', NULLIF(CAST({0} AS CHAR), 'null'))"

# The columns for which a type has an SQL expression, and the expression; `{0}` is the column.
_EXPRESSIONS: Mapping[FieldType, tuple[frozenset[str], str]] = {
    "string": (_TEXTS, _TEXT_SQL),
    "text": (_TEXTS, _TEXT_SQL),
    "integer": (_INTEGERS, "CAST({0} AS CHAR)"),
    "unsigned": (_INTEGERS, "CAST({0} AS CHAR)"),
    # (Without JSON, how many zeros MySQL writes before it takes an exponent depends on how many digits there are.)
    "number": (frozenset({"double"}), "CAST(CAST({0} AS JSON) AS CHAR)"),
    "decimal": (frozenset({"decimal"}), _DECIMAL_SQL),
    "boolean": (frozenset({"tinyint"}), _BOOLEAN_SQL),
    "date": (frozenset({"date"}), "CONCAT('10:', CAST({0} AS CHAR))"),
    "binary": (_BINARIES, "LOWER(HEX({0}))"),
    "json": (frozenset({"json"}), _JSON_SQL),
    "json_text": (frozenset({"json"}), _JSON_SQL),
}


def _expression(kind: FieldType, column: Column, digits: int, *, of_source: bool) -> str | None:
    """None where MySQL can't compute the same text."""
    if kind == "datetime" and column.data_type in _MOMENTS:
        return f"LEFT(CAST(CAST({{0}} AS DATETIME(6)) AS CHAR), {_moment_length(digits)})"
    if kind == "json" and of_source:
        # JSON of the source that the route does not declare as JSON is copied as a string.
        return None
    data_types, expression = _EXPRESSIONS.get(kind, (frozenset(), ""))
    return expression if column.data_type in data_types else None


def _literal(text: str) -> str:
    """An SQL string with any content."""
    return f"CONVERT(0x{text.encode().hex()} USING utf8mb4)"
