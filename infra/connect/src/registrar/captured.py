"""What a connector captures, and what a changed declaration adds to it. Pure."""

import re
from collections.abc import Collection, Mapping, Sequence

SIGNALS, NOTIFICATIONS = "signal.kafka.topic", "notification.sink.topic.name"
_TABLES, _COLLECTIONS, _DATABASES = "table.include.list", "collection.include.list", "database.include.list"
# Whether a connector reads signals from Kafka and writes notifications to it, and Debezium's defaults.
_CHANNELS = (("signal.enabled.channels", "source", "kafka"), ("notification.enabled.channels", "", "sink"))
# A name, in a list whose entries may be any regular expressions.
TABLE, COLLECTION = re.compile(r"[\w$-]+\.[\w$-]+"), re.compile(r"[\w-]+\.[\w.-]+")


def captured(config: Mapping[str, str]) -> Sequence[str]:
    """`<database>.<table>` of each, or regular expressions, if the connector is in a file of one's own."""
    listed = config.get(_TABLES) or config.get(_COLLECTIONS) or ""
    return [name.strip() for name in listed.split(",") if name.strip()]


def takes_signals(config: Mapping[str, str]) -> bool:
    """Can the connector be asked for rows, and does it report when it has copied them?"""
    has_channels = all(
        channel in [each.strip() for each in config.get(setting, default).split(",")]
        for setting, default, channel in _CHANNELS
    )
    return has_channels and bool(config.get(SIGNALS)) and bool(config.get(NOTIFICATIONS))


def added(registered: Mapping[str, str], declared: Mapping[str, str]) -> Sequence[str]:
    """The tables that a registered connector does not capture yet.

    None for a connector that does not take signals, which can't be asked for their rows.
    """
    before = set(captured(registered))
    return [name for name in captured(declared) if name not in before] if takes_signals(declared) else []


def without(config: Mapping[str, str], tables: Collection[str]) -> Mapping[str, str]:
    """The settings without these tables, and without the databases that only they are in."""
    kept = [name for name in captured(config) if name not in tables]
    changed = {name: ",".join(kept) for name in (_TABLES, _COLLECTIONS) if name in config}
    # The database of an expression is unknown.
    if _DATABASES in config and all(TABLE.fullmatch(name) for name in kept):
        left = {_database(name) for name in kept}
        gone = {_database(name) for name in tables} - left
        databases = [name.strip() for name in config[_DATABASES].split(",")]
        changed[_DATABASES] = ",".join(name for name in databases if name not in gone)
    return {**config, **changed}


def _database(table: str) -> str:
    return table.partition(".")[0]
