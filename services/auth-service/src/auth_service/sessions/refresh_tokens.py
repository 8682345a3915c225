"""Refresh tokens as text, as hashes, and sealed. Pure."""

import hashlib
import secrets

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_BYTES = 32
_SEAL = b"tandem auth-service: successor of a refresh token"
# A key is used once, for one token's one successor, so that the nonce needs no chance.
_NONCE = bytes(12)


def new_refresh_token() -> str:
    """256 random bits."""
    return secrets.token_urlsafe(_BYTES)


def refresh_token_hash(token: str) -> bytes:
    """SHA-256 suffices: a token has 256 random bits, which nobody can guess from a list."""
    return hashlib.sha256(token.encode()).digest()


def seal_successor(token: str, successor: str) -> bytes:
    """Only who presents `token` can get at its successor again: the database can't, nor whoever reads it."""
    return _cipher(token).encrypt(_NONCE, successor.encode(), _SEAL)


def unseal_successor(token: str, sealed: bytes) -> str:
    return _cipher(token).decrypt(_NONCE, sealed, _SEAL).decode()


def _cipher(token: str) -> AESGCM:
    return AESGCM(hashlib.sha256(_SEAL + token.encode()).digest())
