"""Authentication of callers: access tokens of auth-service, and their revocation.

The sync carries revocations: a changed password, a logout, a deactivated or deleted account reaches the copy of the
users, and from then on older tokens are refused here, without a call to auth-service.

The claims of a token and the result of the revocation check are cached. A revoked token is refused at most
`REVOCATION_SECONDS` after the change event has arrived, and a token of a withdrawn key as soon as the key set lacks
that key, whether or not the token was seen before.
"""

import hashlib
import time
from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from cachetools import TLRUCache, TTLCache

from service_kit.problems import ServiceUnavailable
from service_kit.tokens import AccessToken, InvalidToken, TokenVerifier

REVOCATION_SECONDS = 2.0
_CACHED_TOKENS = 10_000


class TokenRevoked(InvalidToken):
    code, title = "token-revoked", "The access token was revoked. Log in again."


def accepts_token(
    token: AccessToken, *, is_active: bool, tokens_valid_after: datetime | None, ended_sessions: str | None
) -> bool:
    """Whether an account accepts a valid token. `ended_sessions` are the ids of sessions, separated by spaces."""
    if not is_active or (tokens_valid_after is not None and token.iat < tokens_valid_after.timestamp()):
        return False
    return ended_sessions is None or token.sid not in ended_sessions.split()


class Account(Protocol):
    """An account of the copy, which may be deleted."""

    def accepts(self, token: AccessToken) -> bool:
        """As `accepts_token`; False for a deleted account."""


class Accounts(Protocol):
    """A copy of the accounts."""

    async def get_by_id(self, user_id: str) -> Account | None:
        """None if the account has not arrived in the copy yet."""


class CallerAuthenticator(Protocol):
    """`app.state.authenticator` of a service."""

    async def authenticate(self, bearer: str) -> AccessToken:
        """The claims of a valid token. Raises `InvalidToken`, `TokenRevoked`, `ServiceUnavailable`."""

    async def require_not_revoked(self, token: AccessToken) -> None:
        """Check a token that was valid before. Raises as `authenticate`."""

    def seconds_left(self, token: AccessToken) -> float:
        """Until the token expires."""


class Authenticator:
    """`clock` gives seconds since the epoch."""

    def __init__(
        self,
        tokens: TokenVerifier,
        accounts: Accounts,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._tokens = tokens
        self._accounts = accounts
        self._clock = clock
        # By the digest of the token. `_verified` forgets a token when it expires.
        self._verified: TLRUCache[bytes, AccessToken] = TLRUCache(
            _CACHED_TOKENS, ttu=lambda _digest, token, _now: token.exp, timer=clock
        )
        self._not_revoked: TTLCache[bytes, bool] = TTLCache(_CACHED_TOKENS, ttl=REVOCATION_SECONDS, timer=clock)

    async def authenticate(self, bearer: str) -> AccessToken:
        """The claims of a valid token. Raises `InvalidToken`, `TokenRevoked`, `ServiceUnavailable`.

        A token is accepted if the account has not arrived in the copy yet. The tombstone of a deleted account refuses
        every token.
        """
        digest = hashlib.sha256(bearer.encode(errors="surrogateescape")).digest()
        token = self._verified.get(digest)
        if token is None:
            token = await self._tokens.verify(bearer)
            self._verified[digest] = token
        else:
            await self._tokens.require_known_key(token)
        if digest not in self._not_revoked:
            await self._require_account(token)
            self._not_revoked[digest] = True
        return token

    async def require_not_revoked(self, token: AccessToken) -> None:
        """Check a token that was valid before, for a stream that is still open.

        Raises `TokenRevoked`, or `InvalidToken` if its key was withdrawn.
        """
        await self._tokens.require_known_key(token)
        await self._require_account(token)

    async def _require_account(self, token: AccessToken) -> None:
        """Raises `TokenRevoked` if the account does not accept the token."""
        account = await self._accounts.get_by_id(token.sub)
        if account is not None and not account.accepts(token):
            raise TokenRevoked

    def seconds_left(self, token: AccessToken) -> float:
        """Until the token expires."""
        return token.exp - self._clock()

    async def try_authenticate(self, bearer: str) -> AccessToken | None:
        """As `authenticate`, for public routes: None, instead of an error, while no public keys can be fetched.

        An invalid token is still an error, so that the client notices it.
        """
        try:
            return await self.authenticate(bearer)
        except ServiceUnavailable:
            return None
