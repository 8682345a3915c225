"""Tokens that say nothing: 256 random bits for whoever holds one, and a hash for the database. Pure."""

import hashlib
import secrets

_BYTES = 32


def new_token() -> str:
    return secrets.token_urlsafe(_BYTES)


def token_hash(token: str) -> bytes:
    """SHA-256 suffices: a token has 256 random bits, which nobody can guess from a list."""
    return hashlib.sha256(token.encode()).digest()
