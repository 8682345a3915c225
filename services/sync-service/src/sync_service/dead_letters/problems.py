"""Problems of requests about dead letters."""

from service_kit.problems import NotFound, Problem


class DeadLetterNotFound(NotFound):
    code, title = "dead-letter-not-found", "Dead letter not found. Dead letters are kept for 30 days."


class DeadLetterAlreadyResolved(Problem):
    status, code, title = 409, "dead-letter-resolved", "Dead letter already resolved."
