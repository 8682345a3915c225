"""Generates P-256 keys as JWK (RFC 7517). The id is the thumbprint (RFC 7638)."""

import base64
import hashlib
import json
from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from jose import jwk

from auth_service.keys.encryption import KeyCipher
from auth_service.keys.models import SigningKey
from service_kit.tokens import ALGORITHM


def new_signing_key(cipher: KeyCipher, *, now: datetime, signs_from: datetime) -> SigningKey:
    private = ec.generate_private_key(ec.SECP256R1())
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    kid, public = _public_jwk(pem.decode())
    encrypted = cipher.encrypt(pem, kid)
    return SigningKey(kid=kid, public_jwk=public, private_key=encrypted, created_at=now, signs_from=signs_from)


def _public_jwk(pem: str) -> tuple[str, dict[str, Any]]:
    parts = jwk.construct(pem, ALGORITHM).public_key().to_dict()
    public = {name: parts[name].decode() if isinstance(parts[name], bytes) else parts[name] for name in parts}
    kid = _thumbprint(public)
    return kid, {**public, "kid": kid, "use": "sig", "alg": ALGORITHM}


def _thumbprint(public: dict[str, Any]) -> str:
    members = json.dumps({name: public[name] for name in ("crv", "kty", "x", "y")}, separators=(",", ":"))
    return base64.urlsafe_b64encode(hashlib.sha256(members.encode()).digest()).decode().rstrip("=")
