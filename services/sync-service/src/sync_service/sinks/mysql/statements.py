"""What a DDL statement of MySQL changes in the rows of a table without events of rows. Pure.

Debezium reports the statements on captured tables with `include.schema.changes` (Debezium docs, "MySQL connector",
"Schema change topic"). It has parsed them, so they are valid.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from sync_service.debezium.errors import InvalidEvent, without_values
from sync_service.kafka.gaps import Cause


class _Source(msgspec.Struct):
    db: str | None = None
    snapshot: str | bool | None = None


class _TableChange(msgspec.Struct):
    id: str


class _Statement(msgspec.Struct):
    source: _Source
    ddl: str | None = None
    databaseName: str | None = None  # noqa: N815 - Debezium's name
    tableChanges: list[_TableChange] = msgspec.field(default_factory=list)  # noqa: N815 - Debezium's name


_statements = msgspec.json.Decoder(_Statement)
# MySQL executes what `/*! … */` has (MySQL manual, "Comments"), perhaps from a version on: only the signs are left out.
_TOKEN = re.compile(
    r"/\*!(?:\d{5,6})?|\*/|/\*.*?\*/|--\s[^\n]*|#[^\n]*"
    r"|(?P<text>'(?:[^'\\]|\\.|'')*'|\"(?:[^\"\\]|\\.|\"\")*\")"
    r"|(?P<quoted>`(?:[^`]|``)*`)|(?P<word>[\w$@]+)|(?P<sign>\S)",
    re.DOTALL,
)
# What ADD and DROP may name that is no column.
_NO_COLUMNS = {
    "INDEX",
    "KEY",
    "UNIQUE",
    "FULLTEXT",
    "SPATIAL",
    "CONSTRAINT",
    "CHECK",
    "FOREIGN",
    "PRIMARY",
    "PARTITION",
}


class _Token(NamedTuple):
    """A word, a sign, or a `quoted` name or text without its quotes."""

    text: str
    quoted: bool = False

    @property
    def keyword(self) -> str:
        """In upper case; empty if it is quoted, which is never a keyword or a sign."""
        return "" if self.quoted else self.text.upper()


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement on `tables`, or without any one on the `database`; names in lower case."""

    text: str
    database: str
    tables: Collection[tuple[str, str]]

    def concerns(self, database: str, table: str) -> bool:
        place = (database.lower(), table.lower())
        if self.tables:
            return place in self.tables
        return self.database == place[0] and _keywords(_tokens(self.text))[:2] in (
            ["DROP", "DATABASE"],
            ["DROP", "SCHEMA"],
        )


def read_statement(value: bytes | None) -> Statement | None:
    """A record of the topic of schema changes. None of one that a snapshot has written. Raises `InvalidEvent`."""
    if value is None:
        return None
    try:
        found = _statements.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidEvent(f"not a schema change: {without_values(error)}") from error
    if str(found.source.snapshot or "false").lower() != "false" or not found.ddl:
        return None
    parts = [each.id.strip('"').lower().split('"."') for each in found.tableChanges]
    tables = {(part[-2], part[-1]) for part in parts if len(part) > 1}
    return Statement(found.ddl, (found.databaseName or found.source.db or "").lower(), tables)


def change_of_rows(statement: str, copied: Collection[str]) -> tuple[Cause, str] | None:
    """Why rows of the table differ from what their events say; None if they don't. `copied` are the copied columns."""
    tokens = list(_tokens(statement))
    match _keywords(tokens[:2]):
        case ["DROP", "TABLE" | "TABLES" | "DATABASE" | "SCHEMA" as kind]:
            return "dropped", f"DROP {kind.removesuffix('S')}: the copy keeps the rows of the dropped table"
        case ["RENAME", "TABLE" | "TABLES"]:
            return _RENAMED
        case ["ALTER", "TABLE"]:
            return _alteration(tokens[2:], {column.lower() for column in copied})
    return None


_RENAMED: tuple[Cause, str] = ("renamed", "RENAME TABLE: a table with other rows may have the name now")


def _alteration(tokens: Sequence[_Token], copied: Collection[str]) -> tuple[Cause, str] | None:
    # The name of the table may have two parts.
    start = 3 if _keywords(tokens[1:2]) == ["."] else 1
    columns: list[str] = []
    for specification in _split(tokens[start:]):
        if (change := _change_of_table(specification)) is not None:
            return change
        columns += _columns(specification)
    changed = list(dict.fromkeys(column for column in columns if column.lower() in copied))
    if not changed:
        return None
    return "altered", f"ALTER TABLE: it changes {', '.join(changed)} in all rows without events"


def _change_of_table(specification: Sequence[_Token]) -> tuple[Cause, str] | None:
    match _keywords(specification[:2]):
        case ["RENAME", kind] if kind not in {"COLUMN", "INDEX", "KEY"}:
            return _RENAMED
        case ["TRUNCATE" | "EXCHANGE" | "DROP" as verb, "PARTITION"]:
            return "altered", f"ALTER TABLE … {verb} PARTITION: the copy keeps the rows that it removes"
        case ["DISCARD" | "IMPORT" as verb, _]:
            return "altered", f"ALTER TABLE … {verb} TABLESPACE: it replaces rows without events"
        case ["CONVERT", "TO"]:
            return "altered", "ALTER TABLE … CONVERT TO CHARACTER SET: it may change text without events"
    return None


def _columns(specification: Sequence[_Token]) -> Sequence[str]:
    """The columns whose values a part of ALTER TABLE changes."""
    match _keywords(specification[:2]):
        case ["RENAME", "COLUMN"]:
            return [each.text for each in specification[2:5:2]]
        case ["ADD" | "DROP", second] if second in _NO_COLUMNS:
            return []
        case ["ADD" | "DROP" | "MODIFY" | "CHANGE" as verb, _]:
            return _named_columns(verb, specification[1:])
    return []


def _named_columns(verb: str, tokens: Sequence[_Token]) -> Sequence[str]:
    if _keywords(tokens[:1]) == ["COLUMN"]:
        tokens = tokens[1:]
    if _keywords(tokens[:1]) == ["("]:
        return [part[0].text for part in _split(tokens[1:-1]) if part]
    return [each.text for each in tokens[: 2 if verb == "CHANGE" else 1]]


def _split(tokens: Sequence[_Token]) -> Sequence[Sequence[_Token]]:
    """At the commas outside of parentheses."""
    parts: list[list[_Token]] = [[]]
    depth = 0
    for each in tokens:
        depth += (each.keyword == "(") - (each.keyword == ")")
        if each.keyword == "," and depth == 0:
            parts.append([])
        else:
            parts[-1].append(each)
    return parts


def _keywords(tokens: Iterable[_Token]) -> list[str]:
    return [each.keyword for each in tokens]


def _tokens(statement: str) -> Iterator[_Token]:
    """Without comments. Quoted texts are empty texts."""
    for found in _TOKEN.finditer(statement):
        groups: Mapping[str, str | None] = found.groupdict()
        if (quoted := groups["quoted"]) is not None:
            yield _Token(quoted[1:-1].replace("``", "`"), quoted=True)
        elif groups["text"] is not None:
            yield _Token("", quoted=True)
        elif (each := groups["word"] or groups["sign"]) is not None:
            yield _Token(each)
