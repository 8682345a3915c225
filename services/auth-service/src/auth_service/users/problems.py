"""Problems of accounts."""

from service_kit.problems import FieldError, NotFound, Problem, ValidationFailed


class Conflict(Problem):
    status, code, title = 409, "conflict", "The value is already taken."


class UsernameTaken(Conflict):
    code, title = "username-taken", "This username is already taken."

    def __init__(self) -> None:
        super().__init__(errors=[FieldError(pointer="#/username", code=self.code, detail=self.title)])


class EmailTaken(Conflict):
    code, title = "email-taken", "An account with this email address already exists."

    def __init__(self) -> None:
        super().__init__(errors=[FieldError(pointer="#/email", code=self.code, detail=self.title)])


class UsernameReserved(ValidationFailed):
    code, title = "username-reserved", "This username is reserved."

    def __init__(self) -> None:
        super().__init__(errors=[FieldError(pointer="#/username", code=self.code, detail=self.title)])


class UserNotFound(NotFound):
    code, title = "user-not-found", "User not found."


class LastAdmin(Conflict):
    code, title = "last-admin", "This is the last active admin. Make another user an admin first."
