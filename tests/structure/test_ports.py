"""Ports of tests' processes are taken by nothing else before they listen."""

from pathlib import Path

from embedded_stack.configuration import MEMBER_PORTS, PORT_OFFSETS, PORTS, RESERVATION
from support.ports import PORTS_OF_TESTS, free_port


def test_ports_of_tests_are_those_of_no_stack_and_of_no_outgoing_connection() -> None:
    used = (RESERVATION, *PORTS.values(), *MEMBER_PORTS.values())
    stacks = {port + offset for offset in (0, *PORT_OFFSETS) for port in used}
    outgoing = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert stacks & {*PORTS_OF_TESTS} == set()
    assert PORTS_OF_TESTS.stop <= outgoing


def test_each_call_returns_another_port() -> None:
    assert len({free_port() for _ in range(100)}) == 100
