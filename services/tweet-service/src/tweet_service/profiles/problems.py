"""Problems of usernames."""

from service_kit.problems import NotFound


class UserNotFound(NotFound):
    code, title = "user-not-found", "User not found."
