"""Values in Java properties files."""

import pytest

from service_kit.kafka_java import escaped_property, java_properties
from service_kit.kafka_settings import KafkaSecurity


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("/srv/plain path=#!:x", "/srv/plain path=#!:x"),
        ("back\\slash", "back\\\\slash"),
        ("  blanks ", "\\  blanks "),
        ("\ttab", "\\u0009tab"),
        ("\flines\r\nend", "\\u000clines\\u000d\\u000aend"),
        ("jürgen", "j\\u00fcrgen"),
        ("€", "\\u20ac"),
        ("🔑", "\\ud83d\\udd11"),
        ("\x7f\x85", "\\u007f\\u0085"),
    ],
)
def test_value_is_escaped_for_java(value: str, written: str) -> None:
    assert escaped_property(value) == written


def test_line_breaks_in_a_password_are_escaped() -> None:
    security = KafkaSecurity.model_validate(
        {
            "kafka_security_protocol": "SASL_PLAINTEXT",
            "kafka_sasl_mechanism": "PLAIN",
            "kafka_sasl_username": "ada",
            "kafka_sasl_password": 'a"b\\c\r\nd',
        }
    )
    assert java_properties(security)["sasl.jaas.config"].endswith(' password="a\\"b\\\\c\\r\\nd";')
