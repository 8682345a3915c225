"""A pytest plugin that shares the tests out among the processes of `pytest --numprocesses N --dist loadfile`.

Each file is run by one process, in the order in which pytest collects them. With few processes one of them runs all
tests of the whole system: the others then need no Kafka Connect and no services of their own.
"""

from typing import Any

import pytest

FEW_PROCESSES = 4
WHOLE_SYSTEM = ("tests/browser/", "tests/documents/", "tests/e2e/", "tests/observability/", "infra/connect/")
OWN_SYSTEM = ("tests/e2e/test_secured_kafka.py", "tests/documents/test_your_own_databases.py")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Replace the scheduler of `--dist loadfile`."""
    from xdist.scheduler import LoadFileScheduling  # noqa: PLC0415 - the tests run with `-p no:xdist`, too

    if config.getoption("dist") != "loadfile":
        return None

    class SharedSystemScheduling(LoadFileScheduling):  # type: ignore[misc]  # pytest-xdist has no types
        def _split_scope(self, nodeid: str) -> Any:
            shares_system = nodeid.startswith(WHOLE_SYSTEM) and not nodeid.startswith(OWN_SYSTEM)
            if shares_system and (config.getoption("numprocesses") or 0) <= FEW_PROCESSES:
                return "the whole system"
            return super()._split_scope(nodeid)

    # The number of tests in a file says nothing about the time they take.
    config.option.loadscopereorder = False
    return SharedSystemScheduling(config, log)
