"""A pytest plugin that marks every test as `unit` or `integration`, and keeps unit tests to their own process.

A test is an integration test if one of its fixtures needs the embedded stack, or if it is marked
`@pytest.mark.integration`, because it starts programs by itself. All other tests are unit tests. A unit test that
starts a program or connects to another machine fails, in every run, so the mark cannot become wrong unnoticed.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

# Nothing can be made in a folder below a device.
_NO_CACHE = "/dev/null/unit-tests-download-nothing"
# They read files and end: `kubectl kustomize`, and the check of the import layers.
_PERMITTED_PROGRAMS = {"kubectl", "lint-imports"}
# The names of CPython's audit events, https://docs.python.org/3/library/audit_events.html
_PROGRAM_EVENTS = {"subprocess.Popen", "os.posix_spawn", "os.exec", "os.fork", "os.forkpty", "os.system"}


class _Guard:
    """Refuses what a unit test must not do while `active`, and remembers it: the tested code may catch the error."""

    def __init__(self) -> None:
        self.active = False
        self.violations: list[str] = []
        # Audit hooks stay until the process ends.
        sys.addaudithook(self._audit)

    def _audit(self, event: str, arguments: tuple[object, ...]) -> None:
        if not self.active:
            return
        if event in _PROGRAM_EVENTS:
            program = Path(str(arguments[0])).name if arguments else event
            if program not in _PERMITTED_PROGRAMS:
                self._refuse(f"started a program ({program})")
        elif event == "socket.connect" and (host := _remote_host(arguments[1])) is not None:
            self._refuse(f"connected to {host}")

    def _refuse(self, violation: str) -> None:
        self.violations.append(violation)
        raise PermissionError(f"A unit test {violation}: mark it with @pytest.mark.integration")

    @contextmanager
    def watching(self, item: pytest.Item) -> Iterator[None]:
        """Nothing that was downloaded is found either. Fails the test if it was refused anything."""
        if item.get_closest_marker("unit") is None:
            yield
            return
        self.violations.clear()
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("TANDEM_CACHE_DIR", _NO_CACHE)
            self.active = True
            try:
                yield
            finally:
                self.active = False
        if self.violations:
            pytest.fail(
                f"A unit test {', '.join(dict.fromkeys(self.violations))}: mark it with @pytest.mark.integration",
                pytrace=False,
            )


def _remote_host(address: object) -> str | None:
    """The host of an address that is not this machine's; Unix sockets, which have no host, are this machine's."""
    if not isinstance(address, tuple):
        return None
    host = str(address[0])
    return None if host in ("localhost", "::1") or host.startswith("127.") else host


_guard = _Guard()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Before pytest selects by `-m`."""
    for item in items:
        if "stack" in getattr(item, "fixturenames", ()):
            item.add_marker("integration")
        elif item.get_closest_marker("integration") is None:
            item.add_marker("unit")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    with _guard.watching(item):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    with _guard.watching(item):
        return (yield)
