"""The client of a request, as the audit trail and the list of sessions show it."""

import ipaddress
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from service_kit.request_context import current_request_id

MAX_USER_AGENT_LENGTH = 200


@dataclass(frozen=True)
class ClientInfo:
    """`address` is an IP address, or empty if unknown. `user_agent` is truncated and printable."""

    address: str
    user_agent: str
    request_id: str

    @property
    def network(self) -> str:
        """The addresses that one party usually owns: an IPv4 address, or an IPv6 network of 64 bits (RFC 6177)."""
        if ":" not in self.address:
            return self.address
        return str(ipaddress.ip_network((self.address, 64), strict=False))


# This service itself, for actions that no request caused: commands and key rotation.
INTERNAL = ClientInfo(address="", user_agent="auth-service", request_id="")


async def _client_info(request: Request) -> ClientInfo:
    user_agent = request.headers.get("user-agent", "")
    printable = "".join(character for character in user_agent if character.isprintable())
    return ClientInfo(_address(request), printable[:MAX_USER_AGENT_LENGTH], current_request_id())


def _address(request: Request) -> str:
    if request.client is None:
        return ""
    try:
        address = ipaddress.ip_address(request.client.host)
    except ValueError:  # a proxy may send any text
        return ""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


ClientInfoDep = Annotated[ClientInfo, Depends(_client_info)]
