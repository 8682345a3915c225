"""Encryption of private keys at rest: AES-256-GCM under a key derived from a secret by scrypt (RFC 7914).

The key's id is authenticated with it, so that rows can't be exchanged.
"""

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

_NONCE_BYTES = 12
# Not per key: the secret is one of its kind, and deriving it once is what makes starting quick.
_SALT = b"tandem auth-service signing keys"


class WrongSecret(Exception):  # noqa: N818 - a state of the configuration
    """The secret is not the one that the keys were encrypted under."""


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
                "AUTH_KEY_ENCRYPTION_SECRET is not the secret that the signing keys in MySQL were encrypted under"
            ) from error
