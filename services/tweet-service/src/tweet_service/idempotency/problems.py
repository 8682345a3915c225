"""What can be wrong with an idempotency key."""

from service_kit.problems import Problem


class IdempotencyKeyReused(Problem):
    status, code, title = 409, "idempotency-key-reused", "This Idempotency-Key came with another request before."
