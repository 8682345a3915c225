"""Refresh tokens: their form, and the encryption of a token with its predecessor. Pure.

A token is the family, which is the same for all tokens of a session, and a part of its own. Both are secret.
"""

import hashlib

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from auth_service.opaque_tokens import new_token

_FAMILY_LENGTH = len(new_token())
_SEAL = b"tandem auth-service: successor of a refresh token"
# Each key encrypts one successor only, so that the nonce may be constant.
_NONCE = bytes(12)


def new_family() -> str:
    return new_token()


def new_refresh_token(family: str) -> str:
    return family + new_token()


def family_of(token: str) -> str | None:
    """None for a token of an earlier release, which has no family."""
    return token[:_FAMILY_LENGTH] if len(token) > _FAMILY_LENGTH else None


def seal_successor(token: str, successor: str) -> bytes:
    """Only a client that presents `token` gets the successor again. The database alone can't decrypt it."""
    return _cipher(token).encrypt(_NONCE, successor.encode(), _SEAL)


def unseal_successor(token: str, sealed: bytes) -> str:
    return _cipher(token).decrypt(_NONCE, sealed, _SEAL).decode()


def _cipher(token: str) -> AESGCM:
    return AESGCM(hashlib.sha256(_SEAL + token.encode()).digest())
