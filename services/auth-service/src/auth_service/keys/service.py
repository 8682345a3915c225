"""The key ring: the key that signs, and the published keys."""

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
from auth_service.client_info import INTERNAL
from auth_service.database import Clock, Database
from auth_service.keys.encryption import KeyCipher
from auth_service.keys.generation import new_signing_key
from auth_service.keys.models import SigningKey
from auth_service.keys.repository import SigningKeyRepository
from auth_service.keys.schedule import LEAD, is_rotation_due, published, signing
from service_kit.mysql import server_lock
from service_kit.tokens import ALGORITHM, public_key

_LOCK_SECONDS = 30
# An unknown `kid` reloads the keys from MySQL, at most once in this time, so that forged ones cause no load.
_RELOAD_SECONDS = 5.0
# Housekeeping reads the keys every minute. If it can't for this time, the next request does.
_MAX_AGE_SECONDS = 120.0


@dataclass(frozen=True)
class LoadedKey:
    """A decrypted key."""

    kid: str
    public_jwk: dict[str, Any]
    public: Key
    private: Key
    signs_from: datetime


class KeyRing:
    """The signing keys of all replicas, from MySQL.

    Each replica reads them periodically (`load`) and decides by the clock and the schedule, so that all replicas sign
    with the same key and publish the same keys.
    """

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
        """Read the keys. Create the first key if none exists; of concurrent replicas one creates it.

        Raises `WrongSecret`.
        """
        stored = await self.all()
        if not stored:
            await self._create_first()
            stored = await self.all()
        known = {key.kid: key for key in self._keys}
        self._keys = [known.get(key.kid) or await self._loaded(key) for key in published(stored, self._clock())]
        self._loaded_at = self._monotonic()

    async def key(self, kid: str) -> Key | None:
        """The public key with this id. Implements `service_kit.tokens.KeySource`."""
        # Requests with a known key do not queue for a database that does not answer.
        if self._is_due(kid) and not (self._find(kid) and self._loading.locked()):
            async with self._loading:
                if self._is_due(kid) and self._age() > _RELOAD_SECONDS:
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
        """Create the next key shortly before the newest one has signed for `interval`. Delete keys whose last tokens
        have expired. Only one replica does this at a time."""
        async with self._exclusive_transaction() as session:
            keys = await SigningKeyRepository(session).all()
            if is_rotation_due(keys, self._clock(), interval):
                await self._create(session, keys, immediately=False)
            kept = {key.kid for key in published(keys, self._clock())}
            await SigningKeyRepository(session).delete([key.kid for key in keys if key.kid not in kept])
        await self.load()

    async def rotate(self, *, withdraw_others: bool = False) -> SigningKey:
        """Create the next key now. It signs after `LEAD`, when all verifiers have fetched it.

        `withdraw_others` is for a stolen key. The new key signs immediately, and tokens of all other keys are refused,
        seen before or not, as soon as a verifier reads the keys again: other replicas do when they see the new key or
        with their next housekeeping, tweet-service and sync-service when they see the new key or when their key set is
        too old (`RemoteKeySet`), within five minutes.
        """
        async with self._exclusive_transaction() as session:
            keys = await SigningKeyRepository(session).all()
            if withdraw_others:
                await SigningKeyRepository(session).delete([key.kid for key in keys])
                keys = []
            created = await self._create(session, keys, immediately=withdraw_others)
        await self.load()
        return created

    async def all(self) -> Sequence[SigningKey]:
        async with self._database.reading() as session:
            return await SigningKeyRepository(session).all()

    async def _create_first(self) -> None:
        async with self._exclusive_transaction() as session:
            if not await SigningKeyRepository(session).all():
                await self._create(session, [], immediately=True)

    @asynccontextmanager
    async def _exclusive_transaction(self) -> AsyncIterator[AsyncSession]:
        """A transaction that only one replica has at a time."""
        async with (
            server_lock(self._database.engine, "signing keys", _LOCK_SECONDS),
            self._database.transaction() as session,
        ):
            yield session

    async def _create(self, session: AsyncSession, keys: Sequence[SigningKey], *, immediately: bool) -> SigningKey:
        now = self._clock()
        signs_from = now if immediately else now + LEAD
        # A planned key has not signed yet, and the new key replaces it.
        await SigningKeyRepository(session).delete([key.kid for key in keys if key.signs_from > now])
        key = await asyncio.to_thread(new_signing_key, self._cipher, now=now, signs_from=signs_from)
        SigningKeyRepository(session).create(key)
        await AuditTrail(self._clock).record(session, Event.SENSITIVE_CREATE, INTERNAL, signing_key=key.kid)
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

    def _is_due(self, kid: str) -> bool:
        return self._find(kid) is None or self._age() > _MAX_AGE_SECONDS

    def _age(self) -> float:
        """Seconds since the keys were read."""
        return self._monotonic() - self._loaded_at

    def _find(self, kid: str) -> LoadedKey | None:
        return next((key for key in published(self._keys, self._clock()) if key.kid == kid), None)
