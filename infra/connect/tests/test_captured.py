"""What a changed declaration adds to a connector that is registered."""

from pathlib import Path

import pytest

from registrar.captured import NOTIFICATIONS, SIGNALS, added, captured, takes_signals, without
from registrar.declared import DeclarationError, DeclaredFile
from registrar.settings import Settings
from sync_service.routes.loader import default_routes_file

CHANNELS = {"signal.enabled.channels": "kafka,source", "notification.enabled.channels": "log, sink"}
TAKES_SIGNALS = {**CHANNELS, SIGNALS: "x.signals", NOTIFICATIONS: "x.notifications"}
MYSQL = {"table.include.list": "shop.a,auth.users", "database.include.list": "shop,auth", **TAKES_SIGNALS}


def test_only_tables_that_are_not_captured_are_added() -> None:
    registered = {**MYSQL, "table.include.list": "auth.users, shop.old"}
    assert added(registered, MYSQL) == ["shop.a"]
    assert added(MYSQL, MYSQL) == []
    assert captured({"collection.include.list": "tweets.likes"}) == ["tweets.likes"]
    assert captured({}) == []


@pytest.mark.parametrize("missing", TAKES_SIGNALS)
def test_connector_without_signals_can_not_be_asked_for_rows(missing: str) -> None:
    """One of one's own may have a part of the settings."""
    own = {name: value for name, value in MYSQL.items() if name != missing}
    assert not takes_signals(own)
    assert added({"table.include.list": "auth.users"}, own) == []
    assert takes_signals(MYSQL)


def test_databases_are_those_of_the_tables_that_are_left() -> None:
    kept = without(MYSQL, {"shop.a"})
    assert kept == {**MYSQL, "table.include.list": "auth.users", "database.include.list": "auth"}
    expressions = {"table.include.list": "shop[.]a.*,shop.b", "database.include.list": "shop"}
    assert without(expressions, {"shop.b"}) == {**expressions, "table.include.list": "shop[.]a.*"}
    assert without({"collection.include.list": "a.b,a.c"}, {"a.b"}) == {"collection.include.list": "a.c"}


def test_changed_file_is_read_once_and_a_wrong_one_is_refused_with_its_line_until_it_is_right(tmp_path: Path) -> None:
    file = tmp_path / "routes.yaml"
    text = default_routes_file().read_text()
    file.write_text(text)
    settings = Settings(kafka_bootstrap_servers="127.0.0.1:1", connect_url="http://127.0.0.1:1", sync_routes_file=file)
    names = ("CDC_MYSQL_HOST", "CDC_MYSQL_PORT", "CDC_MYSQL_USER", "CDC_MYSQL_PASSWORD", "CDC_MONGODB_URL")
    environment = {**dict.fromkeys(names, "x"), "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}
    routes = DeclaredFile(settings, environment)
    assert routes.changed() is None
    file.write_text(text.replace("cdc.mongo.tweets.likes", "cdc.mongo.tweets.hearts"))
    assert routes.changed() is None, "it may be incomplete"
    changed = routes.changed()
    assert changed is not None
    assert "cdc.mongo.tweets.hearts" in changed.topics
    assert routes.changed() is None
    file.write_text(text.replace("store: mysql, table: likes", "store: oracle, table: likes"))
    line = 1 + text[: text.index("table: likes")].count("\n")
    assert routes.changed() is None
    for _ in range(2):
        with pytest.raises(DeclarationError, match=f"routes.yaml:{line}: route likes: target"):
            routes.changed()
    file.write_text(text.replace("kind: mysql,", "kind: mysql, environment: SHOP,"))
    assert routes.changed() is None
    with pytest.raises(DeclarationError, match="connector mysql-users: the environment variable SHOP_HOST is not set"):
        routes.changed()
    # What is missing may come without a change of the file.
    environment.update({f"SHOP_{part}": "x" for part in ("HOST", "PORT", "USER", "PASSWORD")})
    assert routes.changed() is not None
    assert routes.changed() is None
    file.unlink()
    assert routes.changed() is None
    with pytest.raises(DeclarationError, match="No such file"):
        routes.changed()
