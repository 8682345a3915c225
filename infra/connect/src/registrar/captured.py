"""What a connector captures, and what a changed declaration adds to it. Pure."""

from collections.abc import Collection, Mapping, Sequence

SIGNALS, NOTIFICATIONS = "signal.kafka.topic", "notification.sink.topic.name"
_TABLES, _COLLECTIONS, _DATABASES = "table.include.list", "collection.include.list", "database.include.list"


def captured(config: Mapping[str, str]) -> Sequence[str]:
    """`<database>.<table>` of each, or regular expressions, if the connector is in a file of one's own."""
    listed = config.get(_TABLES) or config.get(_COLLECTIONS) or ""
    return [name.strip() for name in listed.split(",") if name.strip()]


def added(registered: Mapping[str, str], declared: Mapping[str, str]) -> Sequence[str]:
    """The tables that a registered connector does not capture yet.

    None for a connector without signals, which can't be asked for their rows.
    """
    before = set(captured(registered))
    return [name for name in captured(declared) if name not in before] if SIGNALS in declared else []


def without(config: Mapping[str, str], tables: Collection[str]) -> Mapping[str, str]:
    """The settings without these tables."""
    kept = [name for name in captured(config) if name not in tables]
    changed = {name: ",".join(kept) for name in (_TABLES, _COLLECTIONS) if name in config}
    if _DATABASES in config:
        changed[_DATABASES] = ",".join(dict.fromkeys(name.partition(".")[0] for name in kept))
    return {**config, **changed}
