"""Problems of passwords."""

from service_kit.problems import FieldError, Forbidden, ValidationFailed


class PasswordTooWeak(ValidationFailed):
    """`field` is the field of the body: `password` or `new_password`."""

    code, title = "password-too-weak", "The password is too easy to guess."

    def __init__(self, reason: str | None = None, field: str = "password") -> None:
        detail = reason or self.title
        super().__init__(detail, errors=[FieldError(pointer=f"#/{field}", code=self.code, detail=detail)])


class WrongCurrentPassword(Forbidden):
    """Not a 401: the access token is valid, and the client must keep it."""

    code, title = "wrong-current-password", "The current password is wrong."
    pointer = "#/current_password"


class ReauthenticationRequired(Forbidden):
    """The current password is missing or wrong. Not a 401: the access token is valid, and the client must keep it."""

    code, title = "reauthentication-required", "Enter your current password."
    pointer = "#/current_password"

    def __init__(self, detail: str | None = None) -> None:
        detail = detail or self.title
        super().__init__(detail, errors=[FieldError(pointer=self.pointer, code=self.code, detail=detail)])


class InvalidResetToken(ValidationFailed):
    code, title = "invalid-reset-token", "The token is unknown, used or older than ten minutes. Request a new one."
    pointer = "#/token"
