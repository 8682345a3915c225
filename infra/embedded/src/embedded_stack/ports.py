"""Finds the programs that use the ports of a stack."""

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from embedded_stack.configuration import StackConfiguration, command, port_is_free, port_offset_used
from embedded_stack.errors import StackError
from embedded_stack.process import output_of


@dataclass(frozen=True)
class PortOwner:
    """A process that uses a port. `stack` is the state folder of its stack, if it belongs to one."""

    text: str
    stack: Path | None = None


def require_free_ports(configuration: StackConfiguration, ports_of: Mapping[str, Iterable[str]]) -> None:
    """Raise `StackError` if ports are in use; it names all of them, and the programs if they are known.

    `ports_of` has the names of the ports (of `PORTS`) by component.
    """
    taken = {
        configuration.port(port): component
        for component, ports in ports_of.items()
        for port in ports
        if not port_is_free(configuration.port(port))
    }
    if not taken:
        return
    owners = _owners(taken)
    unknown = PortOwner("another program")
    lines = [f"  {port}, which {taken[port]} needs, by {owners.get(port, unknown).text}" for port in sorted(taken)]
    stacks = sorted({owner.stack for owner in owners.values() if owner.stack is not None})
    remedies = [f"`{command(stack, port_offset_used(stack) or 0, 'make down')}`" for stack in stacks]
    end = f"end what has them ({', '.join(remedies)})" if remedies else "end what has them"
    noun = "1 port of the stack is" if len(taken) == 1 else f"{len(taken)} ports of the stack are"
    raise StackError(
        f"{noun} taken:\n" + "\n".join(lines) + f"\nTo start, {end}, or set TANDEM_PORT_OFFSET to move all ports."
    )


def _owners(ports: Iterable[int]) -> dict[int, PortOwner]:
    """The owners by port. Programs of other users are known to root only."""
    wanted, owners = set(ports), dict[int, PortOwner]()
    with contextlib.suppress(psutil.AccessDenied):
        for connection in psutil.net_connections("tcp"):
            port = connection.laddr.port if connection.laddr else None
            if port in wanted and port not in owners and connection.pid is not None:
                with contextlib.suppress(psutil.NoSuchProcess):
                    owners[port] = _owner(connection.pid)
    return owners


def _owner(pid: int) -> PortOwner:
    if output := output_of(pid):
        return PortOwner(f"{output.component} of the stack in {output.state} (process {pid})", output.state)
    return PortOwner(f"{psutil.Process(pid).name()} (process {pid})")
