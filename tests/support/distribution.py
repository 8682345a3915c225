"""A pytest plugin that shares the tests out among the processes of `pytest --numprocesses N --dist loadfile`.

Each file is run by one process, in the order in which pytest collects them. With few processes one of them runs all
tests of the whole system, and one all other tests with Kafka Connect: the others then start neither.
"""

from typing import Any

import pytest

FEW_PROCESSES = 4
# Each of these files starts what it needs.
OWN_SYSTEM = (
    "tests/documents/test_your_own_databases.py",
    "tests/e2e/test_awaited_table.py",
    "tests/e2e/test_exactly_once.py",
    "tests/e2e/test_secured_kafka.py",
)
# The beginnings of the paths of each group. A path belongs to the first group that has one of them.
GROUPS = {
    "the whole system": (
        "tests/browser/",
        "tests/documents/",
        "tests/e2e/",
        "tests/observability/",
        "infra/connect/tests/test_reconcile_loop.py",
        "infra/connect/tests/test_repairs.py",
    ),
    "Kafka Connect": (
        "infra/connect/",
        "infra/tests/test_captured_tables.py",
        "services/sync-service/tests/reconciliation/test_live_copies.py",
        "services/sync-service/tests/routes/test_conversions.py",
        "services/sync-service/tests/source_watch/",
    ),
}


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Replace the scheduler of `--dist loadfile`."""
    from xdist.scheduler import LoadFileScheduling  # noqa: PLC0415 - the tests run with `-p no:xdist`, too

    if config.getoption("dist") != "loadfile":
        return None
    has_few = (config.getoption("numprocesses") or 0) <= FEW_PROCESSES

    class GroupScheduling(LoadFileScheduling):  # type: ignore[misc]  # pytest-xdist has no types
        def _split_scope(self, nodeid: str) -> Any:
            return (group_of(nodeid) if has_few else None) or super()._split_scope(nodeid)

    # The number of tests in a file says nothing about the time they take.
    config.option.loadscopereorder = False
    return GroupScheduling(config, log)


def group_of(nodeid: str) -> str | None:
    """The group of a test, or None if its file is run by any process."""
    if nodeid.startswith(OWN_SYSTEM):
        return None
    return next((group for group, paths in GROUPS.items() if nodeid.startswith(paths)), None)
