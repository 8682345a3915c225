"""The successor of a refresh token, sealed under the token it replaces. Pure."""

import hashlib

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_SEAL = b"tandem auth-service: successor of a refresh token"
# A key is used once, for one token's one successor, so that the nonce needs no chance.
_NONCE = bytes(12)


def seal_successor(token: str, successor: str) -> bytes:
    """Only who presents `token` can get at its successor again: the database can't, nor whoever reads it."""
    return _cipher(token).encrypt(_NONCE, successor.encode(), _SEAL)


def unseal_successor(token: str, sealed: bytes) -> str:
    return _cipher(token).decrypt(_NONCE, sealed, _SEAL).decode()


def _cipher(token: str) -> AESGCM:
    return AESGCM(hashlib.sha256(_SEAL + token.encode()).digest())
