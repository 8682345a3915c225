"""Ports for processes that a test starts."""

import itertools
import os

from embedded_stack.configuration import port_is_free

# No port of an embedded stack, which may start a component later, and none that Linux gives to outgoing connections.
PORTS_OF_TESTS = range(24_700, 27_100)
_PROCESSES = 4
_EACH = len(PORTS_OF_TESTS) // _PROCESSES
_first = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % _PROCESSES * _EACH
# Each test process has some for itself, and another test run begins to look elsewhere.
_ports = (PORTS_OF_TESTS[_first + (os.getpid() + number) % _EACH] for number in itertools.count())


def free_port() -> int:
    """A port that no other call of this test run returns soon."""
    return next(port for port in _ports if port_is_free(port))
