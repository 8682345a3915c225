"""Problems of refresh tokens and sessions."""

from typing import ClassVar

from service_kit.problems import NotFound, Unauthorized


class InvalidRefreshToken(Unauthorized):
    code, title = "invalid-refresh-token", "The refresh token is unknown, expired or revoked."
    challenge: ClassVar[str] = 'Bearer error="invalid_token"'


class RefreshTokenReused(InvalidRefreshToken):
    """RFC 9700 §4.14.2: the token may have been stolen."""

    code, title = "refresh-token-reused", "The refresh token was already used, so its session was ended."
    commits_transaction = True


class SessionNotFound(NotFound):
    code, title = "session-not-found", "Session not found."
