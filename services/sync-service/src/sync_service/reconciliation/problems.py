"""What can be wrong with a request for a comparison."""

from service_kit.problems import NotFound, Problem


class ReconciliationNotFound(NotFound):
    code, title = "reconciliation-not-found", "There is no such comparison, or it was too long ago."


class ReconciliationRunning(Problem):
    status, code, title = 409, "reconciliation-running", "A comparison is going on; this process does one at a time."
