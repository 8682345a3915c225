"""Who is calling: access tokens of auth-service, and their revocation.

The sync is the revocation feed: changing a password, logging out everywhere, deactivating or deleting an account
reaches the copy of the users, and from then on older tokens are refused here, without a call to auth-service.

Both what a token says and whether it is revoked is remembered for a moment: a refusal follows the arrival of the
change event by no more than `REVOCATION_SECONDS`.
"""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime
from typing import Generic, Protocol, TypeVar

from service_kit.problems import ServiceUnavailable
from service_kit.tokens import AccessToken, InvalidToken, TokenVerifier

TECHNICAL_WORKER, ADMIN = "technical_worker", "admin"

REVOCATION_SECONDS = 2.0
# Of tokens and of people: the latest.
_REMEMBERED = 10_000

ValueT = TypeVar("ValueT")


class TokenRevoked(InvalidToken):
    code, title = "token-revoked", "The access token was revoked. Log in again."


def accepts_token(issued_at: float, *, is_active: bool, tokens_valid_after: datetime | None) -> bool:
    """May a token of this account, issued at this moment (seconds since the epoch), be used?"""
    return is_active and (tokens_valid_after is None or issued_at >= tokens_valid_after.timestamp())


class Account(Protocol):
    """What is known of somebody who may be deleted by now."""

    def accepts_token_of(self, issued_at: float) -> bool:
        """As `accepts_token`; never, if the account was deleted."""


class Accounts(Protocol):
    """A copy of the accounts."""

    async def get_by_id(self, user_id: str) -> Account | None:
        """None: the copy has not arrived."""


class Remembered(Generic[ValueT]):
    """Values that are good until a moment of a clock; of too many the oldest are forgotten."""

    def __init__(self, clock: Callable[[], float], capacity: int = _REMEMBERED) -> None:
        self._clock = clock
        self._capacity = capacity
        self._values: OrderedDict[bytes, tuple[float, ValueT]] = OrderedDict()

    def get(self, key: bytes) -> ValueT | None:
        until, value = self._values.get(key, (0.0, None))
        return value if self._clock() < until else None

    def put(self, key: bytes, value: ValueT, until: float) -> None:
        self._values[key] = (until, value)
        self._values.move_to_end(key)
        while len(self._values) > self._capacity:
            self._values.popitem(last=False)


class Authenticator:
    """`clock` gives seconds since the epoch."""

    def __init__(
        self,
        tokens: TokenVerifier,
        accounts: Accounts,
        *,
        revocation_seconds: float = REVOCATION_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._tokens = tokens
        self._accounts = accounts
        self._revocation_seconds = revocation_seconds
        self._clock = clock
        self._verified: Remembered[AccessToken] = Remembered(clock)
        self._unrevoked: Remembered[bool] = Remembered(clock)

    async def authenticate(self, bearer: str) -> AccessToken:
        """The caller of a route that needs one. Raises `InvalidToken`, `TokenRevoked`, `ServiceUnavailable`.

        A person whose copy has not arrived yet is believed; a tombstone is no absence: it refuses every token.
        """
        digest = hashlib.sha256(bearer.encode(errors="surrogateescape")).digest()
        token = self._verified.get(digest)
        if token is None:
            token = await self._tokens.verify(bearer)
            self._verified.put(digest, token, token.exp)
        if self._unrevoked.get(digest) is None:
            known = await self._accounts.get_by_id(token.sub)
            if known is not None and not known.accepts_token_of(token.iat):
                raise TokenRevoked
            self._unrevoked.put(digest, value=True, until=self._clock() + self._revocation_seconds)
        return token

    async def try_authenticate(self, bearer: str) -> AccessToken | None:
        """The caller of a public route, if he says who he is.

        A token that isn't valid is still a 401, so that a client learns of it; but while no keys can be had, reading
        goes on, anonymously.
        """
        try:
            return await self.authenticate(bearer)
        except ServiceUnavailable:
            return None
