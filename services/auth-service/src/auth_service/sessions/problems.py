"""What can be wrong with a login, a refresh token or a session."""

from typing import ClassVar

from service_kit.problems import Forbidden, NotFound, Unauthorized


class InvalidCredentials(Unauthorized):
    """The same for an unknown user, a wrong password and an inactive account."""

    code, title = "invalid-credentials", "Username, email or password is wrong."
    commits_transaction = True


class EmailNotVerified(Forbidden):
    """Told only to who knows the password."""

    code, title = "email-not-verified", "Confirm your email address first; a mail with a link was sent to it."
    commits_transaction = True


class InvalidRefreshToken(Unauthorized):
    code, title = "invalid-refresh-token", "The refresh token is unknown, expired or revoked."
    challenge: ClassVar[str] = 'Bearer error="invalid_token"'


class RefreshTokenReused(InvalidRefreshToken):
    """RFC 9700 §4.14.2: one of its two users has stolen it."""

    code, title = "refresh-token-reused", "The refresh token was used before; its session has been ended."
    commits_transaction = True


class SessionNotFound(NotFound):
    code, title = "session-not-found", "You have no such session."
