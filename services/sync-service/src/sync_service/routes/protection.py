"""Hides what a copied text says: `hash` and `mask` of a field. Pure."""

import hashlib
import hmac
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import AfterValidator, Field, SecretStr, model_validator

from sync_service.routes.converters import Conversion
from sync_service.routes.declaration import Declaration

_SHORTEST_SECRET = 16


def _checked(secret: SecretStr | None) -> SecretStr | None:
    """An empty variable counts as not set."""
    if secret is None or not secret.get_secret_value():
        return None
    if len(secret.get_secret_value()) < _SHORTEST_SECRET:
        raise ValueError(f"must have at least {_SHORTEST_SECRET} characters")
    return secret


# `SYNC_HASH_SECRET`.
HashSecret = Annotated[SecretStr | None, AfterValidator(_checked)]

# The length of a hash: HMAC-SHA-256 in hexadecimal digits.
HASH_LENGTH = 64
_MASKED = "***"


class Mask(Declaration):
    """The number of characters that stay readable at the beginning and at the end."""

    first: int = Field(default=0, ge=0, le=100)
    last: int = Field(default=0, ge=0, le=100)

    @model_validator(mode="before")
    @classmethod
    def _of_all(cls, declared: Any) -> Any:
        """`mask: true` is short for one of all characters."""
        return {} if declared is True else declared

    def __call__(self, text: str) -> str:
        """The mask has the same length for each text. One that would be readable in whole is masked in whole."""
        if len(text) <= self.first + self.last:
            return _MASKED
        return f"{text[: self.first]}{_MASKED}{text[len(text) - self.last :]}"


def hashing(secret: str) -> Callable[[str], str]:
    """HMAC-SHA-256 (RFC 2104): without the secret, no text can be tried against a hash."""
    key = secret.encode()
    return lambda text: hmac.new(key, text.encode(errors="surrogatepass"), hashlib.sha256).hexdigest()


def protected(conversion: Conversion, hide: Callable[[str], str]) -> Conversion:
    """A conversion to text whose result is hidden."""

    def convert(value: Any) -> str | None:
        text = conversion.convert(value)
        return None if text is None else hide(text)

    return Conversion(conversion.field_type, convert)
