"""Problems of a registration."""

from service_kit.problems import ValidationFailed


class PasswordsDoNotMatch(ValidationFailed):
    code, title = "passwords-do-not-match", "The two passwords are not the same."
    pointer = "#/password_confirm"
