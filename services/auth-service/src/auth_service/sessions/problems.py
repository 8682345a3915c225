"""What can be wrong with a login or a token."""

from typing import ClassVar

from service_kit.problems import Unauthorized


class InvalidCredentials(Unauthorized):
    """The same for an unknown user, a wrong password and an inactive account."""

    code, title = "invalid-credentials", "Username, email or password is wrong."


class InvalidRefreshToken(Unauthorized):
    code, title = "invalid-refresh-token", "The refresh token is unknown, expired or revoked."
    challenge: ClassVar[str] = 'Bearer error="invalid_token"'


class RefreshTokenReused(InvalidRefreshToken):
    code, title = "refresh-token-reused", "The refresh token was used before; its session has been ended."
