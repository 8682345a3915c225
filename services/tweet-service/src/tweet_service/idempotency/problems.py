"""Problems of idempotency keys."""

from service_kit.problems import Problem


class IdempotencyKeyReused(Problem):
    status, code, title = 409, "idempotency-key-reused", "This Idempotency-Key was used for another request."
