"""Problems of a login."""

from service_kit.problems import Forbidden, ServiceUnavailable, TooManyRequests, Unauthorized, ValidationFailed


class InvalidCredentials(Unauthorized):
    """The same for an unknown user, a wrong password and an inactive account."""

    code, title = "invalid-credentials", "Username, email or password is wrong."
    commits_transaction = True


class EmailNotVerified(Forbidden):
    """Raised only if the password is correct."""

    code, title = "email-not-verified", "Confirm your email address first; a mail with a link was sent to it."
    commits_transaction = True


# Of every endpoint that logs in.
LOGIN_PROBLEMS = (InvalidCredentials, EmailNotVerified, ValidationFailed, TooManyRequests, ServiceUnavailable)
