"""What can be wrong with a request about dead letters."""

from service_kit.problems import NotFound, Problem


class DeadLetterNotFound(NotFound):
    code, title = "dead-letter-not-found", "There is no such dead letter, or it was older than 30 days."


class DeadLetterAlreadyResolved(Problem):
    status, code, title = 409, "dead-letter-resolved", "Somebody has retried or discarded this dead letter already."
