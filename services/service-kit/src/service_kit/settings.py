"""The base of every service's `Settings`."""

from ipaddress import IPv4Network, IPv6Network
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

LOCAL_ONLY_PREFIX = "local-only-"


def _listed(value: Any) -> Any:
    """`a, b` of an environment variable as a list."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


Networks = Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode, BeforeValidator(_listed)]


class ServiceSettings(BaseSettings):
    """Settings read from environment variables; an unset one takes its default, a missing one is an error.

    A secret with `local-only-` in it (alone, or as the password in an address) is a default that anybody can read
    in the source, so it is refused outside `ENVIRONMENT=local`.
    """

    model_config = SettingsConfigDict(frozen=True, extra="ignore", populate_by_name=True, hide_input_in_errors=True)

    environment: Literal["local", "production"] = Field(
        default="local", description="`production` refuses default secrets."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(default="INFO", description="What is logged.")
    host: str = Field(default="127.0.0.1", description="Where to listen.")
    port: int = Field(ge=1, le=65535, description="At which port.")
    gateway_prefix: str = Field(
        default="", description="Path under which the gateway publishes the service, for OpenAPI's `servers`."
    )
    trusted_proxies: Networks = Field(
        default=(),
        description="Addresses or networks, separated by commas, whose `X-Forwarded-For` is believed.",
    )

    @model_validator(mode="after")
    def _refuse_default_secrets(self) -> Self:
        if self.environment != "local":
            for name, value in self:
                if isinstance(value, SecretStr) and LOCAL_ONLY_PREFIX in value.get_secret_value():
                    raise ValueError(f"{name.upper()} has its default value: set a secret of your own")
        return self


def explain(error: ValidationError) -> str:
    """A settings error in one line, for the command line: which variables, and what is wrong with them."""
    wrong = "; ".join(_explained(each["loc"], each["msg"].removeprefix("Value error, ")) for each in error.errors())
    return f"error: the configuration is not valid: {wrong}"


def _explained(place: tuple[int | str, ...], message: str) -> str:
    """What is wrong with several variables together has no place, and names them itself."""
    return f"{'.'.join(map(str, place)).upper()}: {message}" if place else message
