"""The operator: the only caller of a sync-service without auth-service (`SYNC_OPERATOR_TOKEN`)."""

import hashlib
import hmac
import re
from typing import Annotated

from pydantic import AfterValidator, SecretStr

from service_kit.roles import Scope
from service_kit.tokens import AccessToken, InvalidToken

_NAME = "operator"
_SCOPES = (Scope.SYNC_READ, Scope.SYNC_WRITE)
# RFC 6750 §2.1: other characters can't be in the header.
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]{32,}=*")
# The token is valid until the service starts with another one.
_FOR_EVER_SECONDS = 10 * 365 * 24 * 3600.0


def _checked(token: SecretStr | None) -> SecretStr | None:
    if token is None or not token.get_secret_value():
        return None
    if not _TOKEN.fullmatch(token.get_secret_value()):
        raise ValueError("write at least 32 letters, digits or characters of ._~+/-, for example: openssl rand -hex 24")
    return token


# `SYNC_OPERATOR_TOKEN`. An empty variable counts as not set.
OperatorToken = Annotated[SecretStr | None, AfterValidator(_checked)]


class OperatorAuthenticator:
    """Accepts one token, with the scopes `sync:read` and `sync:write`."""

    def __init__(self, token: str) -> None:
        self._digest = _digest_of(token)
        self._caller = AccessToken(
            iss=_NAME,
            aud=_NAME,
            sub=_NAME,
            iat=0.0,
            nbf=0.0,
            exp=_FOR_EVER_SECONDS,
            jti=_NAME,
            sid=_NAME,
            username=_NAME,
            name="Operator",
            role=_NAME,
            scope=" ".join(_SCOPES),
            kid=_NAME,
        )

    async def authenticate(self, bearer: str) -> AccessToken:
        """The operator. Raises `InvalidToken`. The time of the comparison says nothing about the token."""
        if not hmac.compare_digest(_digest_of(bearer), self._digest):
            raise InvalidToken
        return self._caller

    async def require_not_revoked(self, token: AccessToken) -> None:
        """The token can't be revoked."""

    def seconds_left(self, _token: AccessToken) -> float:
        """Until a stream that was opened with the token ends."""
        return _FOR_EVER_SECONDS


def _digest_of(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="surrogateescape")).digest()
