"""Opaque tokens: 256 random bits for the client, and a hash for the database. Pure."""

import hashlib
import secrets

_BYTES = 32


def new_token() -> str:
    return secrets.token_urlsafe(_BYTES)


def token_hash(token: str) -> bytes:
    """SHA-256 without a salt is enough: no list can contain tokens of 256 random bits."""
    return hashlib.sha256(token.encode()).digest()
