"""How tests are shared out among test processes."""

from itertools import chain

import pytest

from embedded_stack.configuration import REPOSITORY
from support.distribution import GROUPS, OWN_SYSTEM, group_of


@pytest.mark.parametrize("path", [*OWN_SYSTEM, *chain.from_iterable(GROUPS.values())])
def test_named_files_and_folders_exist(path: str) -> None:
    assert (REPOSITORY / path).exists()


def test_file_that_starts_its_own_system_is_in_no_group() -> None:
    assert group_of("tests/e2e/test_whole_path.py::test_tweet") == "the whole system"
    assert group_of("tests/e2e/test_secured_kafka.py::test_start") is None
    assert group_of("infra/connect/tests/test_repairs.py::test_reset") == "the whole system"
    assert group_of("infra/connect/tests/test_sources.py::test_rights") == "Kafka Connect"
    assert group_of("services/auth-service/tests/test_sessions.py::test_refresh") is None
