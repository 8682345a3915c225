"""Where a request comes from, as the audit trail and the list of sessions show it."""

import ipaddress
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from service_kit.request_context import current_request_id

MAX_CLIENT_LENGTH = 200


@dataclass(frozen=True)
class Origin:
    """`address` is an IP address (empty if there is none), `client` the User-Agent, cut and printable."""

    address: str
    client: str
    request_id: str

    @property
    def network(self) -> str:
        """What one party holds: an IPv4 address, or an IPv6 network of 64 bits (RFC 6177)."""
        if ":" not in self.address:
            return self.address
        return str(ipaddress.ip_network((self.address, 64), strict=False))


# Of a command line, say.
NOWHERE = Origin(address="", client="auth-service", request_id="")


async def _origin(request: Request) -> Origin:
    agent = request.headers.get("user-agent", "")
    printable = "".join(character for character in agent if character.isprintable())
    return Origin(_address(request), printable[:MAX_CLIENT_LENGTH], current_request_id())


def _address(request: Request) -> str:
    if request.client is None:
        return ""
    try:
        address = ipaddress.ip_address(request.client.host)
    except ValueError:  # a proxy's words
        return ""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


OriginDep = Annotated[Origin, Depends(_origin)]
