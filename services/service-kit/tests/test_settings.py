"""Secrets and addresses in settings."""

import pytest
from pydantic import SecretStr, ValidationError

from service_kit.mongodb import MongodbAddress
from service_kit.mysql import MysqlAddress
from service_kit.settings import ServiceSettings, format_settings_error


class WithSecret(ServiceSettings):
    database_url: SecretStr = SecretStr("mysql://a:local-only-x@host/db")


def test_default_secrets_are_refused_outside_local() -> None:
    WithSecret(port=1, environment="local")
    with pytest.raises(ValidationError) as refused:
        WithSecret(port=1, environment="production")
    sentence = format_settings_error(refused.value)
    assert "DATABASE_URL has its default value" in sentence
    assert "\n" not in sentence
    assert "local-only-x" not in sentence
    WithSecret(port=1, environment="production", database_url=SecretStr("mysql://a:own@host/db"))


class WithAddresses(ServiceSettings):
    mysql_url: MysqlAddress = SecretStr("mysql://a:b@host:3306/auth")
    mongodb_url: MongodbAddress = SecretStr("mongodb://host/tweets?w=1")


@pytest.mark.parametrize(
    ("name", "address"),
    [
        *(("mysql_url", address) for address in ("", "nonsense", "mysql://a:b@host:x/auth", "mysql://a:b@host")),
        *(("mysql_url", address) for address in ("mysql:///auth", "postgres://a:b@host/auth")),
        *(
            ("mongodb_url", address)
            for address in ("", "nonsense", "mongodb://a:b@host:x/tweets", "mongodb://a:b@host")
        ),
    ],
)
def test_invalid_address_is_refused_without_its_password(name: str, address: str) -> None:
    with pytest.raises(ValidationError) as raised:
        WithAddresses.model_validate({"port": 1, name: address})
    assert name.upper() in format_settings_error(raised.value)
    assert "a:b" not in format_settings_error(raised.value) + str(raised.value)


def test_complete_addresses_are_accepted() -> None:
    settings = WithAddresses.model_validate(
        {"port": 1, "mysql_url": "mysql://a:b@h/auth", "mongodb_url": "mongodb://h/t"}
    )
    assert settings.mysql_url.get_secret_value() == "mysql://a:b@h/auth"
    assert settings.mongodb_url.get_secret_value() == "mongodb://h/t"
