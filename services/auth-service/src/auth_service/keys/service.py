"""The key ring: which key signs, and which ones are published."""

import asyncio
import base64
import hashlib
import json
import time
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from jose import jwk
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from auth_service.keys.encryption import KeyCipher
from auth_service.keys.models import SigningKey
from service_kit.tokens import ALGORITHM, PublicKey

_LOCK_SECONDS = 30
_RELOAD_SECONDS = 5.0


class KeyRing:
    """Signing keys of all replicas, from MySQL. The newest one signs; every one is published.

    An unknown `kid` makes it look into MySQL again, at most every `_RELOAD_SECONDS`: another replica may have
    made a key. Made-up `kid`s cost no more than that.
    """

    def __init__(self, engine: AsyncEngine, cipher: KeyCipher, clock: Callable[[], float] = time.monotonic) -> None:
        self._engine = engine
        self._cipher = cipher
        self._clock = clock
        self._public: dict[str, PublicKey] = {}
        self._signing_kid = ""
        self._signing_pem = ""
        self._loaded_at = float("-inf")
        self._loading = asyncio.Lock()

    async def load(self) -> None:
        """Read the keys, and make the first one if there is none; of replicas that start at once, one makes it.

        Raises `WrongSecret`.
        """
        # One connection throughout: the lock belongs to it.
        async with self._engine.connect() as connection, AsyncSession(connection, expire_on_commit=False) as session:
            keys = await _all_keys(session)
            if not keys:
                await self._create_first(session)
                keys = await _all_keys(session)
        newest = keys[-1]
        pem = await asyncio.to_thread(self._cipher.decrypt, newest.private_key, newest.kid)
        self._public = {key.kid: key.public_jwk for key in keys}
        self._signing_kid, self._signing_pem = newest.kid, pem.decode()
        self._loaded_at = self._clock()

    async def key(self, kid: str) -> PublicKey | None:
        """The public key of this id: what makes this a `service_kit.tokens.KeySource`."""
        if kid not in self._public:
            async with self._loading:
                if kid not in self._public and self._clock() - self._loaded_at > _RELOAD_SECONDS:
                    await self.load()
        return self._public.get(kid)

    def public_keys(self) -> list[PublicKey]:
        return list(self._public.values())

    def signing_key(self) -> tuple[str, str]:
        """The id of the key that signs, and its private part as PEM."""
        return self._signing_kid, self._signing_pem

    async def _create_first(self, session: AsyncSession) -> None:
        lock = {"name": "first signing key", "seconds": _LOCK_SECONDS}
        if not await session.scalar(text("SELECT GET_LOCK(:name, :seconds)"), lock):
            raise TimeoutError(f"another replica has been making the first signing key for {_LOCK_SECONDS} s")
        try:
            if not await _all_keys(session):
                session.add(await asyncio.to_thread(self._new_key))
            await session.commit()
        finally:
            await session.execute(text("SELECT RELEASE_LOCK(:name)"), lock)

    def _new_key(self) -> SigningKey:
        private = ec.generate_private_key(ec.SECP256R1())
        pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        kid, public = _public_jwk(pem.decode())
        return SigningKey(kid=kid, public_jwk=public, private_key=self._cipher.encrypt(pem, kid))


async def _all_keys(session: AsyncSession) -> list[SigningKey]:
    """Oldest first."""
    query = select(SigningKey).order_by(SigningKey.created_at, SigningKey.kid)
    return list(await session.scalars(query))


def _public_jwk(pem: str) -> tuple[str, dict[str, Any]]:
    """The public part as a JWK (RFC 7517), and its thumbprint (RFC 7638) for an id."""
    parts = jwk.construct(pem, ALGORITHM).public_key().to_dict()
    public = {name: parts[name].decode() if isinstance(parts[name], bytes) else parts[name] for name in parts}
    kid = _thumbprint(public)
    return kid, {**public, "kid": kid, "use": "sig", "alg": ALGORITHM}


def _thumbprint(public: dict[str, Any]) -> str:
    members = json.dumps({name: public[name] for name in ("crv", "kty", "x", "y")}, separators=(",", ":"))
    return base64.urlsafe_b64encode(hashlib.sha256(members.encode()).digest()).decode().rstrip("=")
