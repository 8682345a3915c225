"""A pytest plugin by which a failed test makes no other test fail.

A test that fails leaves open what it would have closed later. The garbage collector finds that while another test runs,
which pytest would blame.
"""

import warnings
from collections.abc import Generator

import pytest

_has_failed = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        item.config.stash[_has_failed] = True
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """The filters are those of this test: pytest sets them for each one."""
    if item.config.stash.get(_has_failed, False):
        warnings.filterwarnings("ignore", category=pytest.PytestUnraisableExceptionWarning)
