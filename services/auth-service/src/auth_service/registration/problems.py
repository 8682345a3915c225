"""Problems of a registration."""

from service_kit.problems import FieldError, ValidationFailed


class PasswordsDoNotMatch(ValidationFailed):
    code, title = "passwords-do-not-match", "The two passwords are not the same."

    def __init__(self) -> None:
        super().__init__(errors=[FieldError(pointer="#/password_confirm", code=self.code, detail=self.title)])
