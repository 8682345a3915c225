"""Problems of a registration."""

from auth_service.passwords.problems import PasswordTooWeak
from auth_service.users.problems import EmailTaken, UsernameReserved, UsernameTaken
from service_kit.problems import Forbidden, ServiceUnavailable, TooManyRequests, ValidationFailed


class PasswordsDoNotMatch(ValidationFailed):
    code, title = "passwords-do-not-match", "The two passwords are not the same."
    pointer = "#/password_confirm"


# Of every endpoint that registers.
REGISTRATION_PROBLEMS = (
    Forbidden,
    UsernameTaken,
    EmailTaken,
    ValidationFailed,
    PasswordsDoNotMatch,
    PasswordTooWeak,
    UsernameReserved,
    TooManyRequests,
    ServiceUnavailable,
)
