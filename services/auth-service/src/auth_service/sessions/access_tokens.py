"""Access tokens (RFC 9068)."""

from datetime import datetime, timedelta

from jose import jwt

from auth_service.database import new_id
from auth_service.keys.service import KeyRing
from auth_service.users.models import User
from service_kit.roles import SCOPES, Role
from service_kit.tokens import ALGORITHM, TOKEN_TYPE


def scope_of(user: User) -> str:
    """The scopes of a user's access tokens, separated by spaces (RFC 6749 §3.3)."""
    return " ".join(SCOPES[Role(user.role)])


class AccessTokenIssuer:
    def __init__(self, keys: KeyRing, *, issuer: str, audience: str, lifetime: timedelta) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self.lifetime = lifetime

    def issue(self, user: User, session_id: str, now: datetime, lifetime: timedelta) -> str:
        """`iat` has fractions of a second, so that a revocation includes tokens of the same second."""
        signing_key = self._keys.signing_key()
        issued = now.timestamp()
        claims = {
            "iss": self._issuer,
            "aud": self._audience,
            "sub": user.id,
            "iat": issued,
            "nbf": int(issued),
            "exp": int(issued + lifetime.total_seconds()),
            "jti": new_id(),
            "sid": session_id,
            "username": user.username,
            "name": user.name,
            "role": user.role,
            "scope": scope_of(user),
        }
        headers = {"kid": signing_key.kid, "typ": TOKEN_TYPE}
        token: str = jwt.encode(claims, signing_key.private, ALGORITHM, headers=headers)
        return token
