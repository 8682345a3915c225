"""Problems of confirming an address."""

from service_kit.problems import FieldError, ValidationFailed


class InvalidEmailToken(ValidationFailed):
    code, title = "invalid-email-token", "The token is unknown, used or older than a day. Request a new one."

    def __init__(self) -> None:
        super().__init__(errors=[FieldError(pointer="#/token", code=self.code, detail=self.title)])
