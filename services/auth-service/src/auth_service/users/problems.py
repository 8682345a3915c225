"""Problems of accounts."""

from service_kit.problems import NotFound, Problem, ValidationFailed


class Conflict(Problem):
    status, code, title = 409, "conflict", "The value is already taken."


class UsernameTaken(Conflict):
    code, title = "username-taken", "This username is already taken."
    pointer = "#/username"


class EmailTaken(Conflict):
    code, title = "email-taken", "An account with this email address already exists."
    pointer = "#/email"


class UsernameReserved(ValidationFailed):
    code, title = "username-reserved", "This username is reserved."
    pointer = "#/username"


class UserNotFound(NotFound):
    code, title = "user-not-found", "User not found."


class LastAdmin(Conflict):
    code, title = "last-admin", "This is the last active admin. Make another user an admin first."
