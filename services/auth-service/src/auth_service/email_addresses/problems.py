"""Problems of confirming an address."""

from service_kit.problems import ValidationFailed


class InvalidEmailToken(ValidationFailed):
    code, title = "invalid-email-token", "The token is unknown, used or older than a day. Request a new one."
    pointer = "#/token"
