"""Encrypts private keys with AES-256-GCM. The encryption key is derived from a secret with scrypt (RFC 7914).

The key's id is authenticated data, so that rows can't be swapped.
"""

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

_NONCE_BYTES = 12
# One salt for all keys: one secret is derived once, which keeps the start fast.
_SALT = b"tandem auth-service signing keys"


class WrongSecret(Exception):  # noqa: N818 - a state of the configuration
    """The secret is not the one that the keys were encrypted with."""


class KeyCipher:
    def __init__(self, secret: str) -> None:
        self._aead = AESGCM(Scrypt(salt=_SALT, length=32, n=2**14, r=8, p=1).derive(secret.encode()))

    def encrypt(self, private_key: bytes, kid: str) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._aead.encrypt(nonce, private_key, kid.encode())

    def decrypt(self, stored: bytes, kid: str) -> bytes:
        """Raises `WrongSecret`."""
        try:
            return self._aead.decrypt(stored[:_NONCE_BYTES], stored[_NONCE_BYTES:], kid.encode())
        except InvalidTag as error:
            raise WrongSecret(
                "AUTH_KEY_ENCRYPTION_SECRET is not the secret that the signing keys in MySQL were encrypted with"
            ) from error
