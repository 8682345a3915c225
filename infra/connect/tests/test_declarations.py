"""Declared connectors get their passwords and the security settings of Kafka."""

import json
import re
from pathlib import Path

import pytest
import trustme

from registrar.connectors import Connector, InvalidDeclaration, connector, read_connectors
from registrar.generation import with_statements
from registrar.redaction import redact
from service_kit.kafka_java import java_properties, properties_file
from service_kit.kafka_settings import KafkaSecurity

PASSWORD = 'correct "horse" \\battery'
HISTORY = {"topic.prefix": "cdc", "schema.history.internal.kafka.bootstrap.servers": "kafka:9092"}
JAAS = (
    "org.apache.kafka.common.security.scram.ScramLoginModule required "
    r'username="ada" password="correct \"horse\" \\battery";'
)


def security(protocol: str = "SASL_PLAINTEXT", mechanism: str = "SCRAM-SHA-512", **files: Path) -> KafkaSecurity:
    sasl = {"sasl_mechanism": mechanism, "sasl_username": "ada", "sasl_password": PASSWORD}
    values = {"security_protocol": protocol, **(sasl if protocol.startswith("SASL") else {}), **files}
    return KafkaSecurity.model_validate({f"kafka_{name}": value for name, value in values.items()})


@pytest.fixture
def declared(tmp_path: Path) -> Path:
    (tmp_path / "mysql.json").write_text(
        json.dumps({"connector.class": "x", "topic.prefix": "cdc", "database.password": "${CDC_PASSWORD}"})
    )
    return tmp_path


def read(folder: Path, environment: dict[str, str]) -> Connector:
    ((name, config),) = read_connectors(folder).items()
    return connector(name, config, environment)


def test_value_of_a_declaration_may_be_in_a_file(declared: Path) -> None:
    file = declared / "password"
    file.write_text(f"{PASSWORD}\n")
    assert read(declared, {"CDC_PASSWORD_FILE": str(file)}).config["database.password"] == PASSWORD


def test_error_names_a_value_that_is_given_twice_or_can_not_be_read(declared: Path) -> None:
    with pytest.raises(InvalidDeclaration, match="CDC_PASSWORD and CDC_PASSWORD_FILE are both set"):
        read(declared, {"CDC_PASSWORD_FILE": str(declared / "x"), "CDC_PASSWORD": "x"})
    with pytest.raises(InvalidDeclaration, match=r"CDC_PASSWORD_FILE: .*/x: No such file or directory"):
        read(declared, {"CDC_PASSWORD_FILE": str(declared / "x")})
    with pytest.raises(InvalidDeclaration, match="the environment variable CDC_PASSWORD is not set"):
        read(declared, {})


def test_connector_of_mysql_reports_statements_although_an_earlier_release_declared_otherwise() -> None:
    released = {"topic.prefix": "cdc", "include.schema.changes": "false"}
    mysql = {**released, "connector.class": "io.debezium.connector.mysql.MySqlConnector"}
    assert with_statements(mysql) == {**mysql, "include.schema.changes": "true"}
    other = {**released, "connector.class": "x"}
    assert with_statements(other) == other


def test_connector_of_ones_own_may_name_its_heartbeats_otherwise() -> None:
    own = {"connector.class": "x", "topic.prefix": "cdc"}
    assert Connector("own", own).heartbeat_topic == "__debezium-heartbeat.cdc"
    assert Connector("own", {**own, "topic.heartbeat.prefix": "alive"}).heartbeat_topic == "alive.cdc"


def test_mark_of_a_generated_connector_is_its_own(tmp_path: Path) -> None:
    """Settings that were copied from Kafka Connect are none of a generated connector."""
    generated = Connector("shop", {"connector.class": "x", "topic.prefix": "cdc"}).generated_by("a")
    assert generated.is_generated_by("a")
    assert not generated.is_generated_by("b")
    assert not Connector("copied", generated.config).is_generated_by("a")
    (tmp_path / "shop.json").write_text(json.dumps(dict(generated.config)))
    assert not read(tmp_path, {}).is_generated_by("a")


def test_file_that_can_not_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "mysql.json").mkdir()
    with pytest.raises(InvalidDeclaration, match=r"mysql\.json: .*Is a directory"):
        read_connectors(tmp_path)


def test_schema_history_gets_the_security_settings_of_kafka() -> None:
    secured = Connector("mysql", HISTORY).secured(security()).config
    for client in ("producer", "consumer"):
        prefix = f"schema.history.internal.{client}."
        own = {name.removeprefix(prefix): value for name, value in secured.items() if name.startswith(prefix)}
        assert own == {
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.jaas.config": JAAS,
        }


def test_producer_accepts_the_largest_record_unless_the_declaration_limits_it() -> None:
    own = {"connector.class": "x", "topic.prefix": "cdc", "producer.override.buffer.memory": "5"}
    assert Connector("mysql", own).sized(2**20).config == {
        **own,
        "producer.override.max.request.size": "1048576",
        "max.queue.size.in.bytes": "1048576",
    }


def test_exactly_once_needs_a_worker_that_supports_it() -> None:
    own = {"connector.class": "x", "topic.prefix": "cdc", "transaction.boundary": "interval", "max.batch.size": "1"}
    transactional = {"exactly.once.support": "required", "max.batch.size": "2048", "poll.interval.ms": "10"}
    assert Connector("mysql", own).exactly_once().config == {**own, **transactional}


def test_events_of_mongodb_are_without_what_makes_them_larger_than_mongodb_delivers() -> None:
    own = {"connector.class": "io.debezium.connector.mongodb.MongoDbConnector", "topic.prefix": "cdc"}
    sized = Connector("mongodb", own).sized(2**20).config
    assert json.loads(sized["cursor.pipeline"]) == [{"$unset": "updateDescription"}]
    assert sized["cursor.pipeline.order"] == "user_first"
    kept = {**own, "cursor.pipeline": "[]", "cursor.pipeline.order": "internal_first"}
    assert Connector("mongodb", kept).sized(2**20).config.items() >= kept.items()


def test_nothing_is_added_for_plain_text_or_without_a_schema_history() -> None:
    assert Connector("mysql", HISTORY).secured(security("PLAINTEXT")).config == HISTORY
    without = {"topic.prefix": "cdc"}
    assert Connector("mongodb", without).secured(security()).config == without


def test_settings_of_the_declaration_take_precedence() -> None:
    own = {**HISTORY, "schema.history.internal.producer.sasl.mechanism": "PLAIN"}
    secured = Connector("mysql", own).secured(security()).config
    assert secured["schema.history.internal.producer.sasl.mechanism"] == "PLAIN"
    assert secured["schema.history.internal.consumer.sasl.mechanism"] == "SCRAM-SHA-512"


def test_client_certificate_is_passed_on_in_the_form_that_java_reads(tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("client.example")
    files = {name: tmp_path / f"{name}.pem" for name in ("ssl_ca", "ssl_cert", "ssl_key")}
    authority.cert_pem.write_to_path(str(files["ssl_ca"]))
    issued.cert_chain_pems[0].write_to_path(str(files["ssl_cert"]))
    issued.private_key_pem.write_to_path(str(files["ssl_key"]))
    secured = Connector("mysql", HISTORY).secured(security("SSL", **files)).config
    producer = "schema.history.internal.producer."
    assert secured[f"{producer}ssl.truststore.certificates"] == files["ssl_ca"].read_text()
    assert secured[f"{producer}ssl.keystore.certificate.chain"] == files["ssl_cert"].read_text()
    assert secured[f"{producer}ssl.keystore.key"].startswith("-----BEGIN PRIVATE KEY-----\n")
    # Debezium logs its settings in three places, and each has a pattern of what to hide.
    for prefix in ("", producer, "schema.history.internal.consumer."):
        assert re.fullmatch(secured[f"{prefix}custom.sanitize.pattern"], f"{producer}ssl.keystore.key")


def test_security_settings_are_redacted_in_messages_of_connect() -> None:
    secured = Connector("mysql", HISTORY).secured(security()).config
    for repeated in (JAAS, r"correct \"horse\" \\battery", PASSWORD):
        assert "battery" not in redact(f"Invalid value {repeated} for configuration x", secured)


def test_properties_are_escaped_for_java() -> None:
    assert properties_file({"a": "x\\y", "b": "1\n2", "c": " z"}) == "a=x\\\\y\nb=1\\u000a2\nc=\\ z\n"


def test_plain_uses_its_own_login_module() -> None:
    assert "plain.PlainLoginModule required" in java_properties(security(mechanism="PLAIN"))["sasl.jaas.config"]
