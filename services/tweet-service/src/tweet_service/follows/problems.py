"""Problems of follows."""

from service_kit.problems import Problem


class CannotFollowSelf(Problem):
    status, code, title = 409, "own-follower", "You can't follow yourself."
