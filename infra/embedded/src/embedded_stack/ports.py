"""Which ports of a stack other programs have, and which programs those are."""

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import psutil

from embedded_stack.configuration import StackConfiguration, port_is_free
from embedded_stack.errors import StackError
from embedded_stack.process import output_of


@dataclass(frozen=True)
class PortOwner:
    """A process that has a port; `stack` is the state folder of the stack that it belongs to, if it does."""

    text: str
    stack: str | None = None


def require_free_ports(configuration: StackConfiguration, ports_of: Mapping[str, Iterable[str]]) -> None:
    """Raise a `StackError` that names every port of these components that is taken, and who has it if that is known.

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
    remedies = [
        f"`TANDEM_STATE_DIR={stack} make down`" for stack in sorted({o.stack for o in owners.values() if o.stack})
    ]
    end = f"end what has them ({', '.join(remedies)})" if remedies else "end what has them"
    noun = "1 port of the stack is" if len(taken) == 1 else f"{len(taken)} ports of the stack are"
    raise StackError(
        f"{noun} taken:\n" + "\n".join(lines) + f"\nTo start, {end}, or set TANDEM_PORT_OFFSET to move all ports."
    )


def _owners(ports: Iterable[int]) -> dict[int, PortOwner]:
    """By port. Who has a port of another user's program is not known without root."""
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
        stack = str(output.state)
        return PortOwner(f"{output.component} of the stack in {stack} (process {pid})", stack)
    return PortOwner(f"{psutil.Process(pid).name()} (process {pid})")
