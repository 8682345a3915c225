"""The base of every service's `Settings`."""

import os
from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import InitErrorDetails, PydanticCustomError
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

LOCAL_ONLY_PREFIX = "local-only-"


def _split(value: Any) -> Any:
    """Split `a, b` of an environment variable."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


Networks = Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode, BeforeValidator(_split)]


def value_or_file(name: str, environment: Mapping[str, str]) -> str | None:
    """The variable `name`, or the content of the file in `name`_FILE without its last line break. None: neither is set.

    An empty variable counts as not set. Raises `ValueError` if both are set, or if the file can't be read.
    """
    value, file = environment.get(name), environment.get(f"{name}_FILE")
    if not file:
        return value
    if value:
        raise ValueError(f"{name} and {name}_FILE are both set; set one of them")
    try:
        return Path(file).read_text().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text in UTF-8"
        raise ValueError(f"{name}_FILE: {file}: {reason}") from error


class SecretFiles(PydanticBaseSettingsSource):
    """A secret may be in a file: `MYSQL_URL_FILE=/run/secrets/mysql-url` is `MYSQL_URL`."""

    def __call__(self) -> dict[str, Any]:
        environment = {name.upper(): value for name, value in os.environ.items()}
        found: dict[str, Any] = {}
        wrong = []
        for name, field in self.settings_cls.model_fields.items():
            if not _is_secret(field):
                continue
            alias = field.validation_alias if isinstance(field.validation_alias, str) else None
            variable = alias or name.upper()
            try:
                value = value_or_file(variable, environment)
            except ValueError as error:
                kind = PydanticCustomError("secret_file", "{why}", {"why": str(error)})
                wrong.append(InitErrorDetails(type=kind, input=None))
                continue
            if value is not None and environment.get(f"{variable}_FILE"):
                # The alias is the name that the source of variables uses: the file replaces an empty variable.
                found[alias or name] = value
        if wrong:
            raise ValidationError.from_exception_data(self.settings_cls.__name__, wrong, hide_input=True)
        return found

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Unused: pydantic-settings calls it only for sources that read one field at a time."""
        raise NotImplementedError


def _is_secret(field: FieldInfo) -> bool:
    return SecretStr in (field.annotation, *get_args(field.annotation))


class EnvironmentSettings(BaseSettings):
    """Settings from environment variables; secrets also from files, see `SecretFiles`."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", populate_by_name=True, hide_input_in_errors=True)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        # Files before variables, because an empty variable counts as not set.
        return (init_settings, SecretFiles(settings_cls), env_settings, dotenv_settings, file_secret_settings)


class ServiceSettings(EnvironmentSettings):
    """Settings read from environment variables; an unset one takes its default, a missing one is an error.

    A secret that contains `local-only-` (alone, or as the password in an address) is a public default from the source
    code, so it is refused outside `ENVIRONMENT=local`.
    """

    environment: Literal["local", "production"] = Field(
        default="local", description="`production` refuses default secrets."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="Lowest level that is logged."
    )
    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(ge=1, le=65535, description="Port to listen on.")
    metrics_port: int | None = Field(
        default=None,
        ge=1,
        le=65535,
        description="A second port, which serves `/metrics` alone: a network policy can admit Prometheus to it and to "
        "nothing else. `/metrics` stays on `PORT`, too.",
    )
    gateway_prefix: str = Field(
        default="", description="Path under which the gateway publishes the service, for OpenAPI's `servers`."
    )
    trusted_proxies: Networks = Field(
        default=(),
        description="Addresses or networks, separated by commas, whose `X-Forwarded-For` is trusted.",
    )

    @model_validator(mode="after")
    def _refuse_default_secrets(self) -> Self:
        if self.environment != "local":
            for name, value in self:
                if isinstance(value, SecretStr) and LOCAL_ONLY_PREFIX in value.get_secret_value():
                    raise ValueError(f"{name.upper()} has its default value: set your own secret")
        return self


def format_settings_error(error: ValidationError) -> str:
    """One line for the command line: the name of each invalid variable, and what is wrong with it."""
    wrong = "; ".join(_describe(each["loc"], each["msg"].removeprefix("Value error, ")) for each in error.errors())
    return f"error: the configuration is not valid: {wrong}"


def _describe(place: tuple[int | str, ...], message: str) -> str:
    """An error about several variables together has no place; its message names them."""
    return f"{'.'.join(map(str, place)).upper()}: {message}" if place else message
