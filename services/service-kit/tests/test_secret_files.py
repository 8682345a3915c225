"""Secrets in files."""

from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from service_kit.kafka_settings import KafkaSettings
from service_kit.mysql import MysqlAddress
from service_kit.settings import ServiceSettings, format_settings_error, value_or_file

ADDRESS = "mysql://a:correct-horse@host:3306/auth"


class WithSecrets(ServiceSettings):
    port: int = 1
    name: str = "its default"
    mysql_url: MysqlAddress
    token: SecretStr | None = None


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("MYSQL_URL", "TOKEN"):
        monkeypatch.delenv(name, raising=False)
    file = tmp_path / "secret"
    file.write_text(f"{ADDRESS}\n")
    return file


def test_secret_is_read_from_its_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MYSQL_URL_FILE", str(file))
    monkeypatch.setenv("TOKEN_FILE", str(file))
    monkeypatch.setenv("TOKEN", "")
    settings = WithSecrets()
    assert settings.mysql_url.get_secret_value() == ADDRESS
    assert settings.token == SecretStr(ADDRESS)


def test_setting_that_is_not_a_secret_has_no_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MYSQL_URL", ADDRESS)
    monkeypatch.setenv("NAME_FILE", str(file))
    assert WithSecrets().name == "its default"


def test_secret_with_value_and_file_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MYSQL_URL", ADDRESS)
    monkeypatch.setenv("MYSQL_URL_FILE", str(file))
    assert refusal() == "MYSQL_URL and MYSQL_URL_FILE are both set; set one of them"


def test_unreadable_file_is_named(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MYSQL_URL_FILE", f"{file}.lost")
    monkeypatch.setenv("TOKEN_FILE", str(file.parent))
    assert refusal() == (
        f"MYSQL_URL_FILE: {file}.lost: No such file or directory; TOKEN_FILE: {file.parent}: Is a directory"
    )


def test_value_from_a_file_is_validated(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text("postgres://a:correct-horse@host/auth")
    monkeypatch.setenv("MYSQL_URL_FILE", str(file))
    assert refusal().startswith("MYSQL_URL: ")
    file.write_text("mysql://a:local-only-x@host:3306/auth")
    monkeypatch.setenv("ENVIRONMENT", "production")
    assert refusal() == "MYSQL_URL has its default value: set your own secret"


def test_password_of_kafka_is_read_from_a_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    variables = {
        "BOOTSTRAP_SERVERS": "h:1",
        "SECURITY_PROTOCOL": "SASL_PLAINTEXT",
        "SASL_MECHANISM": "PLAIN",
        "SASL_USERNAME": "ada",
        "SASL_PASSWORD_FILE": str(file),
    }
    for name, value in variables.items():
        monkeypatch.setenv(f"KAFKA_{name}", value)
    assert KafkaSettings().kafka_variables()["KAFKA_SASL_PASSWORD"] == ADDRESS


def test_only_the_last_line_break_of_a_file_is_removed(file: Path) -> None:
    file.write_text(" a secret \r\n")
    assert value_or_file("X", {"X_FILE": str(file)}) == " a secret "


def refusal() -> str:
    with pytest.raises(ValidationError) as refused:
        WithSecrets()
    said = format_settings_error(refused.value)
    assert "correct-horse" not in said + str(refused.value)
    return said.removeprefix("error: the configuration is not valid: ")
