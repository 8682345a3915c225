"""Problems of confirming and restoring an address."""

from service_kit.problems import ValidationFailed


class InvalidEmailToken(ValidationFailed):
    code, title = "invalid-email-token", "The token is unknown, used or older than a day. Request a new one."
    pointer = "#/token"


class InvalidUndoToken(ValidationFailed):
    code, title = "invalid-undo-token", "The token is unknown, used or older than 72 hours."
    pointer = "#/token"
