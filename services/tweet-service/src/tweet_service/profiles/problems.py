"""What can be wrong with a name."""

from service_kit.problems import NotFound


class UserNotFound(NotFound):
    code, title = "user-not-found", "There is nobody of this name."
