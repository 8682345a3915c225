"""Which statements of MySQL change rows without events."""

import json

import pytest

from sync_service.debezium.errors import InvalidEvent
from sync_service.sinks.mysql.statements import Statement, change_of_rows, read_statement

COPIED = {"id", "name", "Price", "key", "check", "partition", "column"}


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("DROP TABLE `shop`.`ddl`", "DROP TABLE"),
        ("drop /* why */ table if exists shop.ddl", "DROP TABLE"),
        ("DROP SCHEMA shop", "DROP SCHEMA"),
        ("RENAME TABLE shop._ddl_gho TO shop.ddl", "RENAME TABLE"),
        ("ALTER TABLE other RENAME TO ddl", "RENAME TABLE"),
        ("ALTER TABLE shop.other RENAME ddl", "RENAME TABLE"),
        ("ALTER TABLE ddl RENAME AS ddl_old, ADD COLUMN x INT", "RENAME TABLE"),
        ("ALTER TABLE ddl DROP COLUMN name", "it changes name in all rows"),
        ("ALTER TABLE `shop`.`ddl` DROP `name`, DROP price", "it changes name, price in all rows"),
        ("ALTER TABLE ddl RENAME COLUMN name TO title", "it changes name in all rows"),
        ("ALTER TABLE ddl RENAME COLUMN title TO name", "it changes name in all rows"),
        ("ALTER TABLE ddl CHANGE title name VARCHAR(9) COMMENT 'x, DROP id'", "it changes name in all rows"),
        (
            "ALTER TABLE ddl MODIFY COLUMN price DECIMAL(20,6) AFTER id, ADD INDEX (name)",
            "it changes price in all rows",
        ),
        ("ALTER TABLE ddl ADD name VARCHAR(10) DEFAULT 'new' FIRST", "it changes name in all rows"),
        ("ALTER TABLE ddl ADD COLUMN (a INT DEFAULT (1 + 2), price DECIMAL(2,1))", "it changes price in all rows"),
        ("ALTER TABLE ddl CONVERT TO CHARACTER SET latin1", "CONVERT TO CHARACTER SET"),
        ("ALTER TABLE ddl TRUNCATE PARTITION p0", "TRUNCATE PARTITION"),
        ("ALTER TABLE ddl DROP PARTITION p0, p1", "DROP PARTITION"),
        ("ALTER TABLE ddl EXCHANGE PARTITION p0 WITH TABLE other", "EXCHANGE PARTITION"),
        ("ALTER TABLE ddl IMPORT TABLESPACE", "IMPORT TABLESPACE"),
        ("ALTER TABLE ddl DISCARD PARTITION p0 TABLESPACE", "DISCARD TABLESPACE"),
        # A quoted name is no keyword.
        ("ALTER TABLE ddl DROP `key`", "it changes key in all rows"),
        ("ALTER TABLE ddl ADD `check` INT", "it changes check in all rows"),
        ("ALTER TABLE ddl DROP `partition`, DROP `column`", "it changes partition, column in all rows"),
        ("ALTER TABLE ddl RENAME `key`", "RENAME TABLE"),
        ("ALTER TABLE ddl ADD COLUMN (`)` INT, `check` INT), ADD `,` INT, DROP name", "it changes check, name in"),
        # MySQL executes these comments.
        ("ALTER TABLE ddl /*!50100 DROP PARTITION p0 */", "DROP PARTITION"),
        ("ALTER TABLE ddl /*! DROP /* why */ COLUMN name */", "it changes name in all rows"),
        ("/*!080013 DROP TABLE ddl */", "DROP TABLE"),
    ],
)
def test_statement_that_changes_rows_is_named(statement: str, reason: str) -> None:
    change = change_of_rows(statement, COPIED)
    assert change is not None
    assert reason in change[1]


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE ddl (id INT PRIMARY KEY, name VARCHAR(50))",
        "ALTER TABLE ddl ADD COLUMN added VARCHAR(10) DEFAULT 'name' AFTER name",
        "ALTER TABLE ddl ADD INDEX i (name), DROP INDEX j, RENAME INDEX k TO name",
        "ALTER TABLE ddl ADD CONSTRAINT name UNIQUE (price), DROP FOREIGN KEY price",
        "ALTER TABLE ddl DROP COLUMN other -- name\n, DROP PRIMARY KEY",
        "ALTER TABLE ddl ALTER COLUMN name SET DEFAULT 'x', COMMENT = 'DROP name', ENGINE = InnoDB",
        "ALTER TABLE ddl ADD PARTITION (PARTITION p3 VALUES LESS THAN (30))",
        "ALTER TABLE ddl REORGANIZE PARTITION p3 INTO (PARTITION name VALUES LESS THAN (30))",
        "ALTER TABLE `a`.`b` COMMENT 'it''s, DROP `name`'",
        "ALTER TABLE ddl /*!50100 ADD INDEX `name` (price) */ /* , DROP name */ /*+ x */",
        "ALTER DATABASE shop CHARACTER SET utf8mb4",
        "SET character_set_server=utf8mb4",
        "TRUNCATE TABLE ddl",  # it has an event of its own
    ],
)
def test_statement_that_changes_no_copied_value_is_none(statement: str) -> None:
    assert change_of_rows(statement, COPIED) is None


def record(ddl: str, *tables: str, snapshot: str | None = None) -> bytes:
    changes = [{"type": "ALTER", "id": f'"{each}"'.replace(".", '"."')} for each in tables]
    source = {"connector": "mysql", "db": "shop", "snapshot": snapshot}
    return json.dumps({"source": source, "databaseName": "shop", "ddl": ddl, "tableChanges": changes}).encode()


def test_statement_of_a_record_concerns_its_tables() -> None:
    statement = read_statement(record("DROP TABLE `shop`.`Ddl`", "shop.Ddl"))
    assert statement == Statement("DROP TABLE `shop`.`Ddl`", "shop", {("shop", "ddl")})
    assert statement.concerns("shop", "Ddl")
    assert not statement.concerns("shop", "other")


def test_statement_on_a_database_concerns_all_of_its_tables() -> None:
    statement = read_statement(record("DROP DATABASE shop"))
    assert statement is not None
    assert statement.concerns("shop", "ddl")
    assert not statement.concerns("other", "ddl")
    # Debezium names no table if a table gets a name that it does not know.
    unknown = read_statement(record("RENAME TABLE shop.x TO shop.y"))
    assert unknown is not None
    assert not unknown.concerns("shop", "ddl")


def test_statements_of_a_snapshot_change_nothing() -> None:
    assert read_statement(record("DROP TABLE IF EXISTS `shop`.`ddl`", "shop.ddl", snapshot="true")) is None
    assert read_statement(None) is None


def test_record_of_another_kind_is_refused() -> None:
    with pytest.raises(InvalidEvent):
        read_statement(b"[]")
