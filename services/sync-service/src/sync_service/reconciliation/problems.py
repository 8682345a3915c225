"""Problems of requests for comparisons."""

from service_kit.problems import NotFound, Problem


class ReconciliationNotFound(NotFound):
    code, title = "reconciliation-not-found", "Comparison not found. Only the latest 20 of a process are kept."


class ReconciliationRunning(Problem):
    status, code, title = 409, "reconciliation-running", "A comparison is running. A process runs one at a time."
