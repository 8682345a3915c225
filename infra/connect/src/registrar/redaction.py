"""Removes secrets from the texts of Kafka Connect and its connectors, for logs and responses."""

import re
from collections.abc import Iterator, Mapping
from urllib.parse import unquote

LONGEST_TEXT = 500
# Accounts in addresses, and in MySQL's message about a denied account.
_ACCOUNT = re.compile(r"(?<=//)[^/@\s]*(?=@)|(?<=')[^'\s]*'@'[^'\s]*(?=')")
# Suffixes of the names of settings whose values are secret.
_SECRET_SETTINGS = ("password", "connection.string", "jaas.config", "secret", "token", "credentials", "keystore.key")
# The password in an address, and in `sasl.jaas.config`.
_PASSWORD_IN_VALUE = re.compile(r"://[^:@\s]*:([^@\s]+)@|password\s*=\s*\"((?:[^\"\\]|\\.)+)\"")
_ESCAPED = re.compile(r"\\(.)")


def redact(text: str, *configs: Mapping[str, str]) -> str:
    """The text in one line of at most `LONGEST_TEXT` characters, without accounts in addresses and without the secrets
    of the connectors' configurations.
    """
    secrets = {secret for config in configs for secret in _secrets(config)}
    # The longest first, because one secret may be part of another.
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "…")
    return _ACCOUNT.sub("…", " ".join(text.split()))[:LONGEST_TEXT]


def _secrets(config: Mapping[str, str]) -> Iterator[str]:
    for name, value in config.items():
        if value and name.endswith(_SECRET_SETTINGS):
            yield value
            for match in _PASSWORD_IN_VALUE.finditer(value):
                password = match[1] or match[2]
                yield password
                # The password itself: it is escaped in a login module's text and quoted in an address.
                yield _ESCAPED.sub(r"\1", password) if match[2] else unquote(password)
