"""The key ring: which key signs, and which ones are published."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from jose import jwk
from jose.backends.base import Key
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.audit.models import Event
from auth_service.audit.service import AuditTrail
from auth_service.database import Clock, Database
from auth_service.keys.encryption import KeyCipher
from auth_service.keys.generation import new_signing_key
from auth_service.keys.models import SigningKey
from auth_service.keys.repository import SigningKeyRepository
from auth_service.keys.schedule import LEAD, is_rotation_due, published, signing
from auth_service.origin import NOWHERE
from service_kit.mysql import server_lock
from service_kit.tokens import ALGORITHM, public_key

_LOCK_SECONDS = 30
# An unknown `kid` makes us look into MySQL, but made-up ones cost no more than a look in so many seconds.
_RELOAD_SECONDS = 5.0


@dataclass(frozen=True)
class LoadedKey:
    """A key ready for use; `private` signs."""

    kid: str
    public_jwk: dict[str, Any]
    public: Key
    private: Key
    signs_from: datetime


class KeyRing:
    """Signing keys of all replicas, from MySQL. Each replica looks there now and then (`load`), and decides by the
    clock and the schedule, so that all of them sign with the same key and publish the same ones."""

    def __init__(
        self,
        database: Database,
        cipher: KeyCipher,
        clock: Clock,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._cipher = cipher
        self._clock = clock
        self._monotonic = monotonic
        self._keys: list[LoadedKey] = []
        self._loaded_at = float("-inf")
        self._loading = asyncio.Lock()

    async def load(self) -> None:
        """Read the keys, and make the first one if there is none; of replicas that start at once, one makes it.

        Raises `WrongSecret`.
        """
        stored = await self.all()
        if not stored:
            await self._make_first()
            stored = await self.all()
        known = {key.kid: key for key in self._keys}
        self._keys = [known.get(key.kid) or await self._loaded(key) for key in published(stored, self._clock())]
        self._loaded_at = self._monotonic()

    async def key(self, kid: str) -> Key | None:
        """The public key of this id: what makes this a `service_kit.tokens.KeySource`."""
        if self._find(kid) is None:
            async with self._loading:
                if self._find(kid) is None and self._monotonic() - self._loaded_at > _RELOAD_SECONDS:
                    await self.load()
        found = self._find(kid)
        return found.public if found else None

    def public_keys(self) -> list[dict[str, Any]]:
        return [key.public_jwk for key in published(self._keys, self._clock())]

    def signing_key(self) -> LoadedKey:
        return signing(self._keys, self._clock())

    def signing_key_age(self) -> timedelta:
        return self._clock() - self.signing_key().signs_from

    async def keep_schedule(self, interval: timedelta) -> None:
        """Make the next key if the newest one has nearly signed for `interval`, and forget those whose last tokens
        have expired. Of several replicas one does it."""
        async with self._alone() as session:
            keys = await SigningKeyRepository(session).all()
            if is_rotation_due(keys, self._clock(), interval):
                await self._make(session, keys, at_once=False)
            kept = {key.kid for key in published(keys, self._clock())}
            await SigningKeyRepository(session).delete([key.kid for key in keys if key.kid not in kept])
        await self.load()

    async def rotate(self, *, withdraw_others: bool = False) -> SigningKey:
        """Make the next key now. It signs after `LEAD`, when every verifier has had time to learn of it.

        `withdraw_others` is for a key that may have been stolen: the new one signs at once, and what the others have
        signed is refused by whoever reads the keys again: other replicas when they meet the new one or with their next
        housekeeping, tweet-service when it meets the new one or when its key set is old.
        """
        async with self._alone() as session:
            keys = await SigningKeyRepository(session).all()
            if withdraw_others:
                await SigningKeyRepository(session).delete([key.kid for key in keys])
                keys = []
            made = await self._make(session, keys, at_once=withdraw_others)
        await self.load()
        return made

    async def all(self) -> Sequence[SigningKey]:
        async with self._database.reading() as session:
            return await SigningKeyRepository(session).all()

    async def _make_first(self) -> None:
        async with self._alone() as session:
            if not await SigningKeyRepository(session).all():
                await self._make(session, [], at_once=True)

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[AsyncSession]:
        """A transaction that no other replica has at the same time."""
        async with (
            server_lock(self._database.engine, "signing keys", _LOCK_SECONDS),
            self._database.transaction() as session,
        ):
            yield session

    async def _make(self, session: AsyncSession, keys: Sequence[SigningKey], *, at_once: bool) -> SigningKey:
        now = self._clock()
        signs_from = now if at_once else now + LEAD
        # One that is planned has signed nothing: the one that is made now takes its place.
        await SigningKeyRepository(session).delete([key.kid for key in keys if key.signs_from > now])
        key = await asyncio.to_thread(new_signing_key, self._cipher, now=now, signs_from=signs_from)
        SigningKeyRepository(session).create(key)
        await AuditTrail(self._clock).record(session, Event.SENSITIVE_CREATE, NOWHERE, signing_key=key.kid)
        return key

    async def _loaded(self, key: SigningKey) -> LoadedKey:
        pem = await asyncio.to_thread(self._cipher.decrypt, key.private_key, key.kid)
        return LoadedKey(
            kid=key.kid,
            public_jwk=key.public_jwk,
            public=public_key(key.public_jwk),
            private=jwk.construct(pem.decode(), ALGORITHM),
            signs_from=key.signs_from,
        )

    def _find(self, kid: str) -> LoadedKey | None:
        return next((key for key in published(self._keys, self._clock()) if key.kid == kid), None)
