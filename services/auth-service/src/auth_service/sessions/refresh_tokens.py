"""Encrypts the successor of a refresh token with the token that it replaces. Pure."""

import hashlib

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_SEAL = b"tandem auth-service: successor of a refresh token"
# Each key encrypts one successor only, so that the nonce may be constant.
_NONCE = bytes(12)


def seal_successor(token: str, successor: str) -> bytes:
    """Only a client that presents `token` gets the successor again. The database alone can't decrypt it."""
    return _cipher(token).encrypt(_NONCE, successor.encode(), _SEAL)


def unseal_successor(token: str, sealed: bytes) -> str:
    return _cipher(token).decrypt(_NONCE, sealed, _SEAL).decode()


def _cipher(token: str) -> AESGCM:
    return AESGCM(hashlib.sha256(_SEAL + token.encode()).digest())
