"""What can be wrong with an account."""

from service_kit.problems import FieldError, NotFound, Problem, ValidationFailed


class Conflict(Problem):
    status, code, title = 409, "conflict", "This is taken already."


class UsernameTaken(Conflict):
    code, title = "username-taken", "Somebody else has this username."

    def __init__(self) -> None:
        super().__init__(errors=[FieldError(pointer="#/username", code=self.code, detail=self.title)])


class EmailTaken(Conflict):
    code, title = "email-taken", "There is an account with this email address."

    def __init__(self) -> None:
        super().__init__(errors=[FieldError(pointer="#/email", code=self.code, detail=self.title)])


class UsernameReserved(ValidationFailed):
    code, title = "username-reserved", "This username is reserved."

    def __init__(self) -> None:
        super().__init__(errors=[FieldError(pointer="#/username", code=self.code, detail=self.title)])


class PasswordsDoNotMatch(ValidationFailed):
    code, title = "passwords-do-not-match", "The two passwords are not the same."

    def __init__(self) -> None:
        super().__init__(errors=[FieldError(pointer="#/password_confirm", code=self.code, detail=self.title)])


class UserNotFound(NotFound):
    code, title = "user-not-found", "There is no such user."


class LastAdmin(Conflict):
    code, title = "last-admin", "This is the last active admin: make somebody else an admin first."
