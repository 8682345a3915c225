"""What can be wrong with a follow."""

from service_kit.problems import Problem


class OwnFollower(Problem):
    status, code, title = 409, "own-follower", "Nobody follows himself."
