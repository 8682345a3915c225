"""Access tokens (RFC 9068) and refresh tokens."""

import hashlib
import secrets
from datetime import datetime, timedelta

from jose import jwt

from auth_service.accounts.models import Role, User
from auth_service.database import new_id
from auth_service.keys.service import KeyRing
from service_kit.tokens import ALGORITHM, TOKEN_TYPE

REFRESH_TOKEN_BYTES = 32

SCOPES = {
    Role.CUSTOMER: "tweets:write",
    Role.TECHNICAL_WORKER: "tweets:write sync:read",
    Role.SENIOR_MANAGER: "tweets:write users:read",
    Role.ADMIN: "tweets:write tweets:moderate sync:read sync:write users:read users:write",
}


class AccessTokenIssuer:
    def __init__(self, keys: KeyRing, *, issuer: str, audience: str, lifetime: timedelta) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self.lifetime = lifetime

    def issue(self, user: User, session_id: str, moment: datetime) -> str:
        """Times have fractions of a second: a revocation must not spare a token of the same second."""
        kid, private_key = self._keys.signing_key()
        issued = moment.timestamp()
        claims = {
            "iss": self._issuer,
            "aud": self._audience,
            "sub": user.id,
            "iat": issued,
            "nbf": int(issued),
            "exp": int(issued + self.lifetime.total_seconds()),
            "jti": new_id(),
            "sid": session_id,
            "username": user.username,
            "name": user.name,
            "role": user.role,
            "scope": SCOPES[Role(user.role)],
        }
        token: str = jwt.encode(claims, private_key, ALGORITHM, headers={"kid": kid, "typ": TOKEN_TYPE})
        return token


def new_refresh_token() -> str:
    return secrets.token_urlsafe(REFRESH_TOKEN_BYTES)


def refresh_token_hash(token: str) -> bytes:
    """SHA-256 suffices: a token has 256 random bits, which nobody can guess from a list."""
    return hashlib.sha256(token.encode()).digest()
