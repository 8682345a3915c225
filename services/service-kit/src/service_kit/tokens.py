"""Verification of access tokens (RFC 9068) against a key set (RFC 7517).

Only ES256 is ever accepted, only keys of the key set are ever used, and the header's `typ` must be `at+jwt`:
this excludes `alg: none`, HMAC with the public key, embedded keys and other kinds of token.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Protocol

import httpx
import structlog
from fastapi.security import OAuth2PasswordBearer
from jose import JOSEError, jwk, jwt
from jose.backends.base import Key
from pydantic import BaseModel, ConfigDict, ValidationError

from service_kit.problems import ServiceUnavailable, Unauthorized
from service_kit.roles import SCOPE_MEANINGS, Scope, granted_scopes

log = structlog.get_logger(__name__)

ALGORITHM = "ES256"
TOKEN_TYPE = "at+jwt"  # noqa: S105 - RFC 9068 §2.1, not a password
_OPTIONS = {
    **{f"require_{claim}": True for claim in ("aud", "iss", "sub", "jti")},
    # `_is_current` checks the times, by a clock that tests replace. `AccessToken` requires all three.
    **dict.fromkeys(("verify_exp", "verify_nbf", "verify_iat"), False),
}
_FOREIGN_KEY_HEADERS = frozenset({"jwk", "jku", "x5u", "x5c", "crit"})

# How far the clocks of two machines may differ.
CLOCK_LEEWAY_SECONDS = 30
# The longest lifetime of an access token: a thief of a signing key can't issue one that outlives it.
MAX_TOKEN_SECONDS = 3600


def public_key(public_jwk: Mapping[str, Any]) -> Key:
    """Parse a JWK for verification. Keep the result: parsing costs as much as verifying a token."""
    return jwk.construct(dict(public_jwk), ALGORITHM)


def bearer_scheme(token_url: str) -> OAuth2PasswordBearer:
    """The OAuth2 scheme of the Authorize button. `Unauthorized` reports a missing token, not FastAPI."""
    scopes = {str(scope): meaning for scope, meaning in SCOPE_MEANINGS.items()}
    return OAuth2PasswordBearer(tokenUrl=token_url, scopes=scopes, auto_error=False)


class InvalidToken(Unauthorized):
    """RFC 6750 §3.1 `invalid_token`: expired, revoked, malformed or for another audience."""

    code, title = "invalid-token", "The access token is invalid."
    challenge: ClassVar[str] = 'Bearer error="invalid_token"'


class AccessToken(BaseModel):
    """Claims of a verified access token, and `kid`, the id of the key that signed it.

    `iat`, `nbf` and `exp` are seconds since the epoch. NaN, which Python's JSON parser accepts, is refused: it is
    neither before nor after a revocation.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, allow_inf_nan=False)

    iss: str
    aud: str
    sub: str
    iat: float
    nbf: float
    exp: float
    jti: str
    sid: str
    username: str
    name: str
    role: str
    scope: str
    kid: str

    @property
    def scopes(self) -> frozenset[Scope]:
        """What the token permits."""
        return granted_scopes(self.scope, self.role)


class KeySource(Protocol):
    """A source of public keys."""

    async def key(self, kid: str) -> Key | None:
        """The public key with this id, or None. Raises `ServiceUnavailable` if no key is known yet."""


class TokenVerifier:
    """`clock` gives seconds since the epoch."""

    def __init__(self, keys: KeySource, *, issuer: str, audience: str, clock: Callable[[], float] = time.time) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._clock = clock

    async def verify(self, token: str) -> AccessToken:
        """Check signature, type, issuer, audience and times. Raises `InvalidToken`, `ServiceUnavailable`."""
        try:
            header = jwt.get_unverified_header(token)
        except JOSEError as error:
            raise InvalidToken from error
        kid = header.get("kid")
        if (
            header.get("alg") != ALGORITHM
            or str(header.get("typ", "")).lower() != TOKEN_TYPE
            or not isinstance(kid, str)
            or _FOREIGN_KEY_HEADERS & header.keys()
        ):
            raise InvalidToken
        key = await self._keys.key(kid)
        if key is None:
            raise InvalidToken
        try:
            claims = jwt.decode(
                token,
                key,
                algorithms=[ALGORITHM],
                audience=self._audience,
                issuer=self._issuer,
                options=_OPTIONS,
            )
            access_token = AccessToken.model_validate({**claims, "kid": kid})
        except (JOSEError, ValidationError, RecursionError) as error:
            raise InvalidToken from error
        if not self._is_current(access_token):
            raise InvalidToken
        return access_token

    async def require_known_key(self, token: AccessToken) -> None:
        """Check that the key of a token that was verified before was not withdrawn since.

        A `kid` never names another key: it is the thumbprint of the key (RFC 7638).

        Raises `InvalidToken`, `ServiceUnavailable`.
        """
        if await self._keys.key(token.kid) is None:
            raise InvalidToken

    def _is_current(self, token: AccessToken) -> bool:
        now = self._clock()
        begun = max(token.nbf, token.iat) <= now + CLOCK_LEEWAY_SECONDS
        return begun and now < token.exp <= token.iat + MAX_TOKEN_SECONDS


class RemoteKeySet:
    """The key set of an issuer, fetched over HTTP and cached.

    It is fetched again when it is older than `max_age`, and for an unknown `kid`, but at most every `cooldown` seconds,
    so that forged `kid`s cause no load on the issuer. With the default a withdrawn key is refused within five minutes:
    a replica of the issuer may publish it for another minute.

    While the issuer is down, the known keys stay in use until they are older than `max_outage`. By then every token
    that the issuer had issued before has expired. All times are in seconds.
    """

    def __init__(
        self,
        url: str,
        client: httpx.AsyncClient,
        *,
        max_age: float = 180.0,
        max_outage: float = MAX_TOKEN_SECONDS,
        cooldown: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = url
        self._client = client
        self._max_age = max_age
        self._max_outage = max_outage
        self._cooldown = cooldown
        self._clock = clock
        self._keys: dict[str, Key] = {}
        self._fetched_at = float("-inf")
        self._tried_at = float("-inf")
        self._has_failed = False
        self._fetching = asyncio.Lock()

    async def key(self, kid: str) -> Key | None:
        age = self._clock() - self._fetched_at
        # While the issuer does not answer, one request waits for each attempt, and the others use the known keys.
        must_wait = not (self._has_failed and self._fetching.locked())
        if kid not in self._keys or (age > self._max_age and must_wait):
            await self.refresh(kid)
        if not self._keys or self._clock() - self._fetched_at > self._max_outage:
            raise ServiceUnavailable("The public keys of access tokens can't be fetched. Try again shortly.")
        return self._keys.get(kid)

    async def refresh(self, kid: str | None = None) -> None:
        """Fetch the key set, unless the last attempt was within `cooldown` or another task has fetched `kid`."""
        async with self._fetching:
            now = self._clock()
            fresh = now - self._fetched_at <= self._max_age
            if (kid in self._keys and fresh) or now - self._tried_at < self._cooldown:
                return
            self._tried_at = now
            try:
                response = await self._client.get(self._url)
                response.raise_for_status()
                offered = [key for key in response.json()["keys"] if key.get("alg", ALGORITHM) == ALGORITHM]
                keys = {key["kid"]: public_key(key) for key in offered}
            except (httpx.HTTPError, JOSEError, ValueError, KeyError, TypeError, AttributeError) as error:
                self._has_failed = True
                log.warning(
                    "fetching the key set failed", url=self._url, error=repr(error), cached_keys=len(self._keys)
                )
                return
            self._has_failed = False
            self._keys = keys
            self._fetched_at = now
