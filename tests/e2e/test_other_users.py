"""What other users of the machine, and other machines, can reach of an embedded stack."""

import json
from collections.abc import Iterator

import psutil
import pytest

from embedded_stack import Stack
from embedded_stack.configuration import PORTS

LOOPBACK = {"127.0.0.1", "::ffff:127.0.0.1"}


@pytest.fixture
def processes(running_stack: Stack) -> dict[str, list[psutil.Process]]:
    """The processes of each component."""

    def family(name: str) -> Iterator[psutil.Process]:
        leader = running_stack.processes[name].running()
        assert leader is not None
        yield leader
        yield from leader.children(recursive=True)

    return {name: list(family(name)) for name in running_stack.components}


def test_every_server_listens_on_loopback_and_on_its_own_ports_only(
    running_stack: Stack, processes: dict[str, list[psutil.Process]]
) -> None:
    for name, family in processes.items():
        sockets = [each for process in family for each in process.net_connections("inet")]
        listening = {(each.laddr.ip, each.laddr.port) for each in sockets if each.status == psutil.CONN_LISTEN}
        assert listening, name
        assert {address for address, _ in listening} <= LOOPBACK, name
        # Neither MySQL's X protocol and administrative interface nor Java's remote management.
        declared = {running_stack.configuration.port(port) for port in running_stack.components[name].ports}
        assert {port for _, port in listening} == declared, name
        assert not [each for each in sockets if each.type.name == "SOCK_DGRAM"], name


def test_every_port_of_the_configuration_belongs_to_a_component(running_stack: Stack) -> None:
    declared = [port for component in running_stack.components.values() for port in component.ports]
    assert sorted(declared) == sorted(PORTS)


def test_only_mysql_has_a_socket_in_the_file_system(processes: dict[str, list[psutil.Process]]) -> None:
    with_sockets = {
        name
        for name, family in processes.items()
        for process in family
        for each in process.net_connections("unix")
        if each.status == psutil.CONN_NONE and each.laddr and not each.laddr.startswith("@")
    }
    # Its clients need a password there, too.
    assert with_sockets <= {"mysql"}


def test_no_secret_is_on_a_command_line(running_stack: Stack, processes: dict[str, list[psutil.Process]]) -> None:
    secrets = json.loads((running_stack.configuration.state / "credentials.json").read_text()).values()
    lines = [" ".join(process.cmdline()) for family in processes.values() for process in family]
    assert len(lines) >= len(processes)
    assert all(secret not in line for secret in secrets for line in lines)


def test_state_is_closed_to_other_users(running_stack: Stack) -> None:
    state = running_stack.configuration.state
    for entry in state.iterdir():
        assert entry.stat().st_mode & 0o077 == 0, entry
    (state / "log").chmod(0o755)
    # As after an upgrade.
    running_stack.start("mail")
    assert (state / "log").stat().st_mode & 0o777 == 0o700
