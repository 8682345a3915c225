"""The script that starts Kafka Connect in its container."""

import os
import subprocess
from pathlib import Path

import pytest
import trustme

from registrar.connectors import declarations_folder
from service_kit.kafka_java import java_properties, pkcs8, prefixed, properties_file
from service_kit.kafka_settings import KafkaSecurity
from service_kit.settings import value_or_file

pytestmark = pytest.mark.integration

PASSWORD = 'correct "horse" \\b@ttery, clé 🔑'
WORKER_SETTINGS = dict(
    line.split("=", maxsplit=1)
    for line in (declarations_folder() / "worker.properties").read_text().splitlines()
    if line and not line.startswith("#")
)


@pytest.fixture
def entrypoint(tmp_path: Path) -> Path:
    """Replaces the image's entrypoint, which turns each variable CONNECT_… into a line of a properties file."""
    script = tmp_path / "entrypoint.sh"
    script.write_text("#!/bin/bash\n[[ $* == start ]] && env -0\n")
    script.chmod(0o755)
    return script


def run(entrypoint: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", str(declarations_folder() / "start.sh")],
        env={
            "PATH": os.environ["PATH"],
            "CONNECT_ENTRYPOINT": str(entrypoint),
            "CONNECT_KEYSTORE": str(entrypoint.with_name("keystore.pem")),
            "KAFKA_HOME": str(entrypoint.parent),
            **variables,
        },
        capture_output=True,
        text=True,
        check=False,
    )


def start(entrypoint: Path, **variables: str) -> dict[str, str]:
    """The properties that Kafka Connect is started with, as they stand in their file, without the worker's own."""
    done = run(entrypoint, **variables)
    assert done.returncode == 0, done.stderr
    found = dict(line.split("=", 1) for line in done.stdout.split("\0") if line)
    assert "KAFKA_SASL_PASSWORD" not in found
    own = ("CONNECT_ENTRYPOINT", "CONNECT_KEYSTORE")
    properties = {name: value for name, value in found.items() if name.startswith("CONNECT_") and name not in own}
    hidden = found.get("SENSITIVE_PROPERTIES", "").split(",")
    assert {name for name in properties if name.endswith("JAAS_CONFIG")} <= set(hidden)
    settings = {name.removeprefix("CONNECT_").lower().replace("_", "."): value for name, value in properties.items()}
    assert {name: settings.pop(name) for name in WORKER_SETTINGS} == WORKER_SETTINGS
    return settings


def as_file(security: KafkaSecurity) -> dict[str, str]:
    wanted = prefixed(java_properties(security), "", "producer.", "consumer.", "admin.")
    return dict(line.split("=", 1) for line in properties_file(wanted).splitlines())


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256"])
@pytest.mark.parametrize("is_in_file", [False, True])
def test_connect_authenticates_as_the_services_do(entrypoint: Path, mechanism: str, *, is_in_file: bool) -> None:
    security = KafkaSecurity.model_validate(
        {
            "kafka_security_protocol": "SASL_PLAINTEXT",
            "kafka_sasl_mechanism": mechanism,
            "kafka_sasl_username": "ada",
            "kafka_sasl_password": PASSWORD,
        }
    )
    variables = security.kafka_variables()
    if is_in_file:
        file = entrypoint.with_name("password")
        file.write_text(f"{PASSWORD}\n")
        variables |= {"KAFKA_SASL_PASSWORD": "", "KAFKA_SASL_PASSWORD_FILE": str(file)}
    assert start(entrypoint, **variables) == as_file(security)


def test_password_given_twice_has_the_same_error_as_in_the_services(entrypoint: Path) -> None:
    file = entrypoint.with_name("password")
    file.write_text(PASSWORD)
    variables = {
        "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
        "KAFKA_SASL_MECHANISM": "PLAIN",
        "KAFKA_SASL_USERNAME": "ada",
        "KAFKA_SASL_PASSWORD": "another",
        "KAFKA_SASL_PASSWORD_FILE": str(file),
    }
    done = run(entrypoint, **variables)
    assert done.returncode == 1
    with pytest.raises(ValueError, match="both set") as refused:
        value_or_file("KAFKA_SASL_PASSWORD", variables)
    assert done.stderr.strip() == str(refused.value)


def test_certificates_are_passed_as_files(entrypoint: Path) -> None:
    issued = trustme.CA().issue_cert("client.example")
    files = {name: entrypoint.with_name(f"{name}.pem") for name in ("CA", "CERT", "KEY")}
    files["CERT"].write_bytes(issued.cert_chain_pems[0].bytes())
    files["KEY"].write_text(pkcs8(issued.private_key_pem.bytes()))
    variables = {f"KAFKA_SSL_{name}": str(file) for name, file in files.items()}
    found = start(entrypoint, KAFKA_SECURITY_PROTOCOL="SSL", **variables)
    for client in ("", "producer.", "consumer.", "admin."):
        assert found[f"{client}security.protocol"] == "SSL"
        assert found[f"{client}ssl.truststore.location"] == str(files["CA"])
        keystore = Path(found[f"{client}ssl.keystore.location"])
        assert keystore.read_text() == files["KEY"].read_text() + files["CERT"].read_text()
        assert keystore.stat().st_mode & 0o077 == 0


def test_plain_text_adds_no_setting(entrypoint: Path) -> None:
    empty = KafkaSecurity.model_construct().kafka_variables()
    assert start(entrypoint, **empty) == start(entrypoint) == {}


@pytest.mark.parametrize(("value", "settings"), [("true", {"exactly.once.source.support": "enabled"}), ("false", {})])
def test_exactly_once_is_a_setting_of_the_worker(entrypoint: Path, value: str, settings: dict[str, str]) -> None:
    assert start(entrypoint, CONNECT_EXACTLY_ONCE=value) == settings


def test_worker_settings_are_set_by_both_names_that_the_image_reads(entrypoint: Path) -> None:
    found = run(entrypoint).stdout.split("\0")
    assert {"GROUP_ID=tandem-connect", "CONNECT_GROUP_ID=tandem-connect"} <= set(found)


@pytest.mark.parametrize("name", ["OFFSET_FLUSH_INTERVAL_MS", "CONNECT_OFFSET_FLUSH_INTERVAL_MS"])
def test_variable_of_the_container_overrides_a_worker_setting(entrypoint: Path, name: str) -> None:
    found = run(entrypoint, **{name: "5000"}).stdout.split("\0")
    assert {"OFFSET_FLUSH_INTERVAL_MS=5000", "CONNECT_OFFSET_FLUSH_INTERVAL_MS=5000"} <= set(found)
